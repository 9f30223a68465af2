#pragma once
#include "graft/core/parallel.hpp"
#include "graft/ops/silu_mul.hpp"
#include "graft/ops/vector_math.hpp"

namespace graft {

template <> struct kernel<SiluMulOp, Cpu> {
    using Stream = memory<Cpu>::Stream;

    template <class T> static void forward(View<T> h, View<const T> g, View<const T> u, Stream)
    {
        cpu::row_loops(machine().target, [&](auto loops) {
            parallel_rows(h.rows, 16, 4 * h.cols(), [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t i = begin; i < end; ++i) { loops.silu_mul(h.row(i), g.row(i), u.row(i), h.cols()); }
            });
        });
    }
    template <class T>
    static void backward(Sink<T> dg, Sink<T> du, View<const T> dh, View<const T> g, View<const T> u, Stream)
    {
        cpu::row_loops(machine().target, [&](auto loops) {
            parallel_rows(dh.rows, 16, 4 * dh.cols(), [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t i = begin; i < end; ++i) {
                    loops.silu_mul_backward(dg ? dg.view.row(i) : nullptr, dg.add, du ? du.view.row(i) : nullptr,
                                            du.add, dh.row(i), g.row(i), u.row(i), dh.cols());
                }
            });
        });
    }
};

}  // namespace graft
