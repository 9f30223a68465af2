#pragma once
#include <algorithm>

#include "graft/core/parallel.hpp"
#include "graft/ops/embedding.hpp"

namespace graft {

template <> struct kernel<EmbeddingOp, Cpu> {
    using Stream = memory<Cpu>::Stream;

    template <class T> static void forward(View<T> y, const std::int32_t* ids, View<const T> e, Stream)
    {
        parallel_rows(y.rows, 64, y.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) { std::copy_n(e.row(ids[i]), y.cols(), y.row(i)); }
        });
    }
    // Columns are cut among threads; within one, rows of the batch are added in order.
    template <class T>
    static void backward(Sink<acc<T>> de, bool fresh, const std::int32_t* ids, View<const T> dy, Stream)
    {
        parallel_rows(dy.cols(), 64, dy.rows + (fresh ? de.view.rows : 0), [&](std::int64_t begin, std::int64_t end) {
            if (fresh) {
                for (std::int64_t v = 0; v < de.view.rows; ++v) {
                    std::fill(de.view.row(v) + begin, de.view.row(v) + end, acc<T>(0));
                }
            }
            for (std::int64_t i = 0; i < dy.rows; ++i) {
                acc<T>* to = de.view.row(ids[i]);
                for (std::int64_t j = begin; j < end; ++j) { to[j] += acc<T>(dy.row(i)[j]); }
            }
        });
    }
};

}  // namespace graft
