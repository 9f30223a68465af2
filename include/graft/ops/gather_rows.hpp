#pragma once
#include <string>

#include "graft/autograd/tape.hpp"

// Rows of x in another order, some of them more than once.
//
//   forward    y_i = x_{rows[i]}
//   backward   dx_r += sum of dy_i over all i with rows[i] = r, in the order of i
//
//   x (N, D)   rows (M), each in [0, N)   y (M, D)
//   saved      the rows
//
// Throws: Error where a row is outside x (on the CPU; on CUDA where batches are made).
namespace graft {

struct GatherRowsOp {};

template <Float T, class S, Device Dev>
Tensor<T, S, Dev> gather_rows(const Tensor<T, S, Dev>& x, const Buffer<std::int32_t, Dev>& rows)
{
    using Kernel = kernel<GatherRowsOp, Dev>;
    if constexpr (std::same_as<Dev, Cpu>) {
        for (std::int64_t i = 0; i < rows.size() && !x.pool()->counting(); ++i) {
            const std::int32_t row = rows.data()[i];
            require(row >= 0 && row < x.rows(), [&] {
                return "gather_rows: row " + std::to_string(row) + " is wanted of " + std::to_string(x.rows());
            });
        }
    }
    auto y = Tensor<T, S, Dev>(rows.size(), x.cols(), x.pool());
    compute(x.pool(),
            [&] { Kernel::forward(View<T>(y.view()), View<const T>(x.view()), rows.data(), x.pool()->stream()); });
    y.on(x.tape());
    if (Tape* tape = x.tape(); tape != nullptr && x.needs_grad()) {
        y.want_grad();
        tape->record("gather_rows", y, [rows, dx = x.grad(), dy = y.grad()] {
            const auto sink = dx.sink();
            compute(dy.pool(), [&] { Kernel::backward(sink, dy.view(), rows.data(), dy.pool()->stream()); });
        });
    }
    return y;
}

}  // namespace graft
