#pragma once
#include <cmath>

#include "graft/core/parallel.hpp"
#include "graft/ops/cross_entropy.hpp"
#include "graft/ops/vector_math.hpp"

namespace graft {

template <> struct kernel<CrossEntropyOp, Cpu> {
    using Stream = memory<Cpu>::Stream;

    template <class T, class A>
    static void forward(A* loss, A* lse, double* each, View<const T> z, const std::int32_t* labels, double scale,
                        Stream)
    {
        parallel_rows(z.rows, 8, 8 * z.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                each[i] = 0, lse[i] = 0;
                if (labels[i] == ignore) { continue; }
                const T* row = z.row(i);
                A top = A(row[0]), sum = 0;
                for (std::int64_t j = 1; j < z.cols(); ++j) { top = A(row[j]) > top ? A(row[j]) : top; }
                for (std::int64_t j = 0; j < z.cols(); ++j) { sum += cpu::exp_of(A(row[j]) - top); }
                lse[i] = top + std::log(sum);
                each[i] = double(lse[i]) - double(row[labels[i]]);
            }
        });
        double total = 0;
        for (std::int64_t i = 0; i < z.rows; ++i) { total += each[i]; }
        *loss = A(total * scale);
    }

    template <class T, class A>
    static void backward(Sink<T> dz, const A* dloss, View<const T> z, const A* lse, const std::int32_t* labels,
                         double scale, Stream)
    {
        const A weight = A(double(*dloss) * scale);
        parallel_rows(z.rows, 8, 8 * z.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                for (std::int64_t j = 0; j < z.cols(); ++j) {
                    // The label's p - 1 is formed in A before any rounding: near 1 it would lose everything after.
                    const A p = labels[i] == ignore ? A(0) : cpu::exp_of(A(z.row(i)[j]) - lse[i]) - A(labels[i] == j);
                    dz.put(i, j, weight * p);
                }
            }
        });
    }
};

}  // namespace graft
