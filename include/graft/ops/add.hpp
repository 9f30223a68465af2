#pragma once
#include "graft/autograd/param.hpp"
#include "graft/autograd/tape.hpp"

// Sums: of two tensors, of a bias to every row, of a gradient into another.
//
//   add        y = a + b             backward  da += dy, db += dy
//   add_bias   y_nj = x_nj + b_j     backward  db_j += sum_n dy_nj; dx is dy itself, nothing is copied
//
//   a, b, y    (N, D), same type; sums formed in acc<T>, rounded once
//   saved      nothing
//   add_bias works in place: x is given away, and its gradient is that of y.
//
// Does not compile: last extents, element types or devices differ.
// Throws: Error where the numbers of rows or dyn extents differ.
namespace graft {

struct AddOp {};

template <Float T, class SA, Float TB, class SB, Device Dev>
Tensor<T, SA, Dev> operator+(const Tensor<T, SA, Dev>& a, const Tensor<TB, SB, Dev>& b)
{
    using Kernel = kernel<AddOp, Dev>;
    static_assert(same_element<TB, T>, "add: both tensors must have the same element type.");
    static_assert(same_extent<SB::last, SA::last>, "add: the last extents of both tensors must be equal.");
    require(a.rows() == b.rows() && a.cols() == b.cols(), [&] {
        return "add: shapes differ: (" + std::to_string(a.rows()) + ", " + std::to_string(a.cols()) + ") and ("
               + std::to_string(b.rows()) + ", " + std::to_string(b.cols()) + ")";
    });
    auto y = empty_like(a);
    compute(a.pool(), [&] {
        Kernel::forward(View<T>(y.view()), View<const T>(a.view()), View<const T>(b.view()), a.pool()->stream());
    });

    Tape* tape = tape_of("add", a, b);
    y.on(tape);
    if (tape != nullptr && (a.needs_grad() || b.needs_grad())) {
        y.want_grad();
        tape->record("add", y, [da = a.grad(), db = b.grad(), dy = y.grad()] {
            if (da) {
                const auto sink = da.sink();
                compute(dy.pool(), [&] { Kernel::accumulate(sink, dy.view(), dy.pool()->stream()); });
            }
            // dy is read for the last time here: b may take its memory, unless a was b (x + x) and is written now.
            if (db && !db.written()) {
                db.adopt(dy.release());
            } else if (db) {
                const auto sink = db.sink();
                compute(dy.pool(), [&] { Kernel::accumulate(sink, dy.view(), dy.pool()->stream()); });
            }
        });
    }
    return y;
}

template <Float T, class S, Device Dev, Weight W> Tensor<T, S, Dev> add_bias(Tensor<T, S, Dev> y, const W& bias)
{
    using Kernel = kernel<AddOp, Dev>;
    static_assert(weight_for<W, T, Dev>, "add_bias: rows and bias must have the same element type and device.");
    static_assert(same_extent<S::last, W::Extents::last>, "add_bias: the bias must have one value for each column.");
    require(y.cols() == bias.working().cols(), "add_bias: the bias must have one value for each column");
    compute(y.pool(), [&] { Kernel::add_row(View<T>(y.view()), bias.working().data(), y.pool()->stream()); });
    if constexpr (W::trainable) {
        if (Tape* tape = y.tape()) {
            y.want_grad();
            tape->record("add_bias", y, [db = bias.grad(), dy = y.grad()] {
                const auto sink = db.sink();
                compute(dy.pool(), [&] { Kernel::sum_rows(sink, dy.view(), dy.pool()->stream()); });
            });
        }
    }
    return y;
}

}  // namespace graft
