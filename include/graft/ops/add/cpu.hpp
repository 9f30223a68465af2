#pragma once
#include <algorithm>

#include "graft/core/parallel.hpp"
#include "graft/ops/add.hpp"

namespace graft {

template <> struct kernel<AddOp, Cpu> {
    using Stream = memory<Cpu>::Stream;

    template <class T> static void forward(View<T> y, View<const T> a, View<const T> b, Stream)
    {
        parallel_rows(y.rows, 64, y.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                for (std::int64_t j = 0; j < y.cols(); ++j) {
                    y.row(i)[j] = T(acc<T>(a.row(i)[j]) + acc<T>(b.row(i)[j]));
                }
            }
        });
    }
    template <class T> static void accumulate(Sink<T> to, View<const T> from, Stream = {})
    {
        parallel_rows(from.rows, 64, from.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                for (std::int64_t j = 0; j < from.cols(); ++j) { to.put(i, j, acc<T>(from.row(i)[j])); }
            }
        });
    }
    template <class T> static void add_row(View<T> y, const T* bias, Stream)
    {
        parallel_rows(y.rows, 64, y.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                for (std::int64_t j = 0; j < y.cols(); ++j) { y.row(i)[j] = T(acc<T>(y.row(i)[j]) + acc<T>(bias[j])); }
            }
        });
    }
    // Columns are cut among threads, rows summed in order.
    template <class T> static void sum_rows(Sink<acc<T>> db, View<const T> dy, Stream)
    {
        parallel_rows(dy.cols(), 64, dy.rows, [&](std::int64_t begin, std::int64_t end) {
            acc<T> sum[64] = {};
            for (std::int64_t i = 0; i < dy.rows; ++i) {
                for (std::int64_t j = begin; j < end; ++j) { sum[j - begin] += acc<T>(dy.row(i)[j]); }
            }
            for (std::int64_t j = begin; j < end; ++j) { db.put(0, j, sum[j - begin]); }
        });
    }
};

}  // namespace graft
