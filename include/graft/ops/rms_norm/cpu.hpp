#pragma once
#include <algorithm>
#include <cmath>

#include "graft/core/parallel.hpp"
#include "graft/ops/add/cpu.hpp"
#include "graft/ops/rms_norm.hpp"
#include "graft/ops/vector_math.hpp"

namespace graft {

template <> struct kernel<RmsNormOp, Cpu> {
    using Stream = memory<Cpu>::Stream;

    template <class T, class A> static void forward(View<T> y, A* r, View<const T> x, const T* w, A eps, Stream)
    {
        const std::int64_t d = x.cols();
        cpu::row_loops(machine().target, [&](auto loops) {
            parallel_rows(x.rows, 32, 2 * d, [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t i = begin; i < end; ++i) {
                    const T* in = x.row(i);
                    T* out = y.row(i);
                    r[i] = A(1) / std::sqrt(loops.dot(in, in, d) / A(d) + eps);
                    for (std::int64_t j = 0; j < d; ++j) { out[j] = T(A(T(A(in[j]) * r[i])) * A(w[j])); }
                }
            });
        });
    }

    template <class T, class A>
    static void backward(Sink<T> dx, Sink<A> dw, View<const T> dy, const A* r, View<const T> x, const T* w, Stream)
    {
        const std::int64_t d = x.cols();
        if (dx) {
            parallel_rows(x.rows, 32, 2 * d, [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t i = begin; i < end; ++i) {
                    const T* in = x.row(i);
                    const T* up = dy.row(i);
                    A part[16] = {};
                    std::int64_t j = 0;
                    for (; j + 16 <= d; j += 16) {
                        for (int q = 0; q < 16; ++q) { part[q] += A(up[j + q]) * A(w[j + q]) * A(in[j + q]); }
                    }
                    for (; j < d; ++j) { part[j % 16] += A(up[j]) * A(w[j]) * A(in[j]); }
                    A c = 0;
                    for (A p : part) { c += p; }
                    c *= r[i] * r[i] / A(d);
                    T* out = dx.view.row(i);
                    if (dx.add) {
                        for (j = 0; j < d; ++j) { out[j] = T(A(out[j]) + r[i] * (A(up[j]) * A(w[j]) - A(in[j]) * c)); }
                    } else {
                        for (j = 0; j < d; ++j) { out[j] = T(r[i] * (A(up[j]) * A(w[j]) - A(in[j]) * c)); }
                    }
                }
            });
        }
        if (dw) {
            // Columns are cut among threads, rows summed in order.
            parallel_rows(d, 64, x.rows, [&](std::int64_t begin, std::int64_t end) {
                A sum[64] = {};
                for (std::int64_t i = 0; i < x.rows; ++i) {
                    for (std::int64_t j = begin; j < end; ++j) {
                        sum[j - begin] += A(dy.row(i)[j]) * A(T(A(x.row(i)[j]) * r[i]));
                    }
                }
                for (std::int64_t j = begin; j < end; ++j) { dw.put(0, j, sum[j - begin]); }
            });
        }
    }
};

}  // namespace graft
