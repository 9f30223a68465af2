#pragma once
#include <algorithm>

#include "graft/core/parallel.hpp"
#include "graft/ops/gather_rows.hpp"

namespace graft {

template <> struct kernel<GatherRowsOp, Cpu> {
    using Stream = memory<Cpu>::Stream;

    template <class T> static void forward(View<T> y, View<const T> x, const std::int32_t* rows, Stream)
    {
        parallel_rows(y.rows, 64, y.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) { std::copy_n(x.row(rows[i]), x.cols(), y.row(i)); }
        });
    }

    // Rows may meet, so threads take columns: each sums its own in the order of dy.
    template <class T> static void backward(Sink<T> dx, View<const T> dy, const std::int32_t* rows, Stream)
    {
        parallel_rows(dy.cols(), 64, dy.rows, [&](std::int64_t begin, std::int64_t end) {
            if (!dx.add) {
                for (std::int64_t r = 0; r < dx.view.rows; ++r) {
                    std::fill(dx.view.row(r) + begin, dx.view.row(r) + end, T(0.0f));
                }
            }
            const Sink<T> sum{dx.view, true};
            for (std::int64_t i = 0; i < dy.rows; ++i) {
                for (std::int64_t j = begin; j < end; ++j) { sum.put(rows[i], j, acc<T>(dy.row(i)[j])); }
            }
        });
    }
};

}  // namespace graft
