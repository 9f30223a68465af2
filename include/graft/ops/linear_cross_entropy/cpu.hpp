#pragma once
#include <algorithm>
#include <cmath>

#include "graft/ops/linear_cross_entropy.hpp"
#include "graft/ops/matmul/cpu.hpp"
#include "graft/ops/vector_math.hpp"

namespace graft {

template <> struct kernel<LinearCrossEntropyOp, Cpu> {
    using Stream = memory<Cpu>::Stream;

    template <class T> static std::size_t workspace(const LinearCrossEntropyProblem& p)
    {
        using G = cpu::Gemm<acc<T>>;
        return std::max({G{p.chunk(), p.vocab, p.dim}.workspace(), G{p.chunk(), p.dim, p.vocab}.workspace(),
                         G{p.vocab, p.dim, p.chunk()}.workspace()});
    }

    template <class T, class A>
    static void forward(A* loss, double* each, View<T> dh, View<A> dw, View<T> gathered, View<A> z, View<const T> h,
                        View<const T> w, const std::int32_t* live, const std::int32_t* targets, double scale,
                        const LinearCrossEntropyProblem& p, void* scratch, Stream)
    {
        rows(each, dh, Sink<A>{dw, false}, gathered, z, h, w, live, targets, scale, nullptr, p, scratch);
        double total = 0;
        for (std::int64_t n = 0; n < p.live; ++n) { total += each[n]; }
        *loss = A(total * scale);
    }

    // What each live row costs, unscaled; dh and dw where they are wanted, of row n times scale and, where there are
    // weights, times its own.
    template <class T, class A>
    static void rows(double* each, View<T> dh, Sink<A> dw, View<T> gathered, View<A> z, View<const T> h,
                     View<const T> w, const std::int32_t* live, const std::int32_t* targets, double scale,
                     const double* weights, const LinearCrossEntropyProblem& p, void* scratch)
    {
        const std::int64_t chunk = p.chunk();
        for (std::int64_t begin = 0; begin < p.live; begin += chunk) {
            const std::int64_t m = std::min(chunk, p.live - begin);
            for (std::int64_t r = 0; r < m; ++r) {
                std::copy_n(h.row(live[begin + r]), p.dim, gathered.row(r));
            }
            const View<const T> some{gathered.data, m, gathered.stride, p.dim};
            const View<A>       logits{z.data, m, z.stride, p.vocab};
            cpu::product<A>(m, p.vocab, p.dim, some, false, w, true, scratch, cpu::store_to(Sink<A>{logits, false}));
            const bool back = dh.data != nullptr || dw;
            cpu::row_loops(machine().target, [&](auto loops) {
                parallel_rows(m, 1, 4 * p.vocab, [&](std::int64_t first, std::int64_t end) {
                    for (std::int64_t r = first; r < end; ++r) {
                        A* const row = logits.row(r);
                        const std::int32_t label = targets[begin + r];
                        const A scored = row[label], top = loops.largest(row, p.vocab);
                        const A sum = loops.exp_sum(row, p.vocab, A(1), top);
                        each[begin + r] = double(top + std::log(sum)) - double(scored);
                        if (back) {
                            const A slope = A(weights == nullptr ? scale : scale * weights[begin + r]);
                            const A weight = slope / sum;
                            for (std::int64_t j = 0; j < p.vocab; ++j) { row[j] *= weight; }
                            row[label] -= slope;
                        }
                    }
                });
            });
            const View<const A> dz{logits.data, m, logits.stride, p.vocab};
            if (dh.data != nullptr) {
                const View<T> to{dh.row(begin), m, dh.stride, p.dim};
                cpu::product<A>(m, p.dim, p.vocab, dz, false, w, false, scratch, cpu::store_to(Sink<T>{to, false}));
            }
            if (dw) {
                cpu::product<A>(p.vocab, p.dim, m, dz, true, some, false, scratch,
                                cpu::store_to(Sink<A>{dw.view, dw.add || begin != 0}));
            }
        }
    }

    template <class T, class A>
    static void scatter(Sink<T> to, View<const T> dh, const std::int32_t* live, const A* dloss, Stream)
    {
        if (!to.add) {
            parallel_rows(to.view.rows, 64, to.view.cols(), [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t i = begin; i < end; ++i) {
                    std::fill(to.view.row(i), to.view.row(i) + to.view.cols(), T(0.0f));
                }
            });
        }
        parallel_rows(dh.rows, 64, dh.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                for (std::int64_t j = 0; j < dh.cols(); ++j) { to.put(live[i], j, *dloss * A(dh.row(i)[j])); }
            }
        });
    }

    template <class A> static void add_scaled(Sink<A> to, View<const A> dw, const A* dloss, Stream)
    {
        if (!to.add && *dloss == A(1)) { return; }    // dw's memory itself was taken over
        parallel_rows(dw.rows, 64, dw.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                for (std::int64_t j = 0; j < dw.cols(); ++j) { to.put(i, j, *dloss * dw.row(i)[j]); }
            }
        });
    }
};

}  // namespace graft
