#pragma once
#include <cmath>

#include "graft/core/parallel.hpp"
#include "graft/optim/adamw.hpp"

namespace graft {

template <> struct kernel<AdamWOp, Cpu> {
    template <class A>
    static void step(View<A> p, View<A> m, View<A> v, View<const A> g, bool fresh, double clip, double lr, double decay,
                     const AdamWOptions& o, std::int64_t t, memory<Cpu>::Stream)
    {
        // 1 - b is formed in f64: 1 - 0.999f is off by 1.3e-5 of itself.
        const A keep = A(1 - lr * decay), b2 = A(o.beta2), new1 = A(1 - o.beta1), new2 = A(1 - o.beta2);
        const A eps = A(o.eps), factor = A(clip);
        const A rate = A(lr / (1 - std::pow(o.beta1, double(t)))),
                root = A(std::sqrt(1 - std::pow(o.beta2, double(t))));
        parallel_rows(p.rows, 16, 4 * p.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                A *pi = p.row(i), *mi = m.row(i), *vi = v.row(i);
                const A* gi = g.row(i);
                for (std::int64_t j = 0; j < p.cols(); ++j) {
                    const A grad = gi[j] * factor, m0 = fresh ? A(0) : mi[j], v0 = fresh ? A(0) : vi[j];
                    mi[j] = m0 + new1 * (grad - m0);
                    vi[j] = b2 * v0 + new2 * grad * grad;
                    pi[j] = pi[j] * keep - rate * mi[j] / (std::sqrt(vi[j]) / root + eps);
                }
            }
        });
    }
};

}  // namespace graft
