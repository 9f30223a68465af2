#pragma once
#include <string>
#include <utility>

#include "graft/autograd/tape.hpp"
#include "graft/ops/context.hpp"

// Rotary position embedding, half-rotation form: pairs elements i and i + K/2 of each head.
//
//   forward    x'_i       = x_i cos(p f_i) - x_{i+K/2} sin(p f_i)
//              x'_{i+K/2} = x_{i+K/2} cos(p f_i) + x_i sin(p f_i)         p: the row's position, f_i: inverse frequency
//   backward   the rotation by -p: dx += R(-p) dx' (a factor in cos and sin stays)
//
//   x       (N, H K)   H heads of K; works in place: x is given away, dx takes the memory of dx'
//   table   cos, sin (positions, K/2) in acc<T>
//   saved   the table's handle and the positions
//
// Throws: Error where x is not whole heads, or a position has no row in the table (on the CPU; on CUDA positions are
// checked where batches are made).
// Source: Su et al. 2021, arXiv:2104.09864; the half-rotation layout is that of the published Llama checkpoints.
namespace graft {

struct RopeOp {};

template <Float T, class S, Device Dev> Tensor<T, S, Dev> rope(Tensor<T, S, Dev> x, const Context<T, Dev>& context)
{
    using Kernel = kernel<RopeOp, Dev>;
    const auto& table = context.rope;
    require(table != nullptr, "rope: the context has no table of cos and sin: make one with rope_table");
    const std::int64_t half = table->cos.cols();
    require(half > 0 && x.cols() % (2 * half) == 0, "rope: the rows of x are not whole heads of the table's size");
    require(context.positions.size() == x.rows(), "rope: the context has not one position for each row");
    if constexpr (std::same_as<Dev, Cpu>) {
        for (std::int64_t n = 0; n < x.rows() && !x.pool()->counting(); ++n) {
            const std::int32_t p = context.positions.data()[n];
            require(p >= 0 && p < table->cos.rows(), [&] {
                return "rope: row " + std::to_string(n) + " stands at position " + std::to_string(p)
                       + ", the table has " + std::to_string(table->cos.rows()) + ": make a longer one";
            });
        }
    }
    compute(x.pool(), [&] {
        Kernel::rotate(View<T>(x.view()), context.positions.data(), table->cos.view(), table->sin.view(), false,
                       x.pool()->stream());
    });
    if (Tape* tape = x.tape(); tape != nullptr && x.needs_grad()) {
        // In and out share one gradient: it is turned back in place before the step of x's own op reads it.
        tape->record("rope", x, [table, positions = context.positions, dy = x.grad()] {
            const Sink<T> sink = dy.sink();
            compute(dy.pool(), [&] {
                Kernel::rotate(sink.view, positions.data(), table->cos.view(), table->sin.view(), true,
                               dy.pool()->stream());
            });
        });
    }
    return x;
}

}  // namespace graft
