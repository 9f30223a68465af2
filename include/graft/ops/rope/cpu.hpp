#pragma once
#include "graft/core/parallel.hpp"
#include "graft/ops/rope.hpp"

namespace graft {

template <> struct kernel<RopeOp, Cpu> {
    template <class T, class A>
    static void rotate(View<T> x, const std::int32_t* positions, View<const A> cos, View<const A> sin, bool back,
                       memory<Cpu>::Stream)
    {
        const std::int64_t half = cos.cols(), heads = x.cols() / (2 * half);
        parallel_rows(x.rows, 32, 2 * x.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                const A* c = cos.row(positions[i]);
                const A* s = sin.row(positions[i]);
                const A sign = back ? A(-1) : A(1);
                for (std::int64_t h = 0; h < heads; ++h) {
                    T* lo = x.row(i) + h * 2 * half;
                    T* hi = lo + half;
                    for (std::int64_t j = 0; j < half; ++j) {
                        const A a = A(lo[j]), b = A(hi[j]), t = s[j] * sign;
                        lo[j] = T(a * c[j] - b * t);
                        hi[j] = T(b * c[j] + a * t);
                    }
                }
            }
        });
    }
};

}  // namespace graft
