#pragma once
#include "graft/autograd/tape.hpp"
#include "graft/ops/context.hpp"

// Inverted dropout: on the input of a LoRA branch, in training only.
//
//   forward    y = keep x / (1 - p)      keep drawn with probability 1 - p
//   backward   dx += keep dy / (1 - p)   drawn again from the same counters
//
//   x, y    (N, D)
//   random  Philox keyed by (seed, step, module), counted by (sample of the step, position, column): nothing else, so
//           micro-batches, threads and resumed runs draw the same
//   saved   nothing but handles to positions and segments
//
// Throws: Error unless 0 <= p < 1.
namespace graft {

struct DropoutOp {};

template <Float T, class S, Device Dev>
Tensor<T, S, Dev> dropout(const Tensor<T, S, Dev>& x, double p, std::uint32_t module, const Context<T, Dev>& context)
{
    using Kernel = kernel<DropoutOp, Dev>;
    require(p >= 0 && p < 1, "dropout: the rate must be at least 0 and below 1");
    if (p == 0 || !context.training) { return x; }
    auto y = empty_like(x);
    const auto random = context.random;
    compute(x.pool(), [&] {
        Kernel::apply(Sink<T>{y.view(), false}, View<const T>(x.view()), p, module, random, *context.segments,
                      context.positions.data(), x.pool()->stream());
    });
    y.on(x.tape());
    if (Tape* tape = x.tape(); tape != nullptr && x.needs_grad()) {
        y.want_grad();
        tape->record("dropout", y,
                     [p, module, random, segments = context.segments, positions = context.positions, dx = x.grad(),
                      dy = y.grad()] {
                         const auto sink = dx.sink();
                         compute(dy.pool(), [&] {
                             Kernel::apply(sink, dy.view(), p, module, random, *segments, positions.data(),
                                           dy.pool()->stream());
                         });
                     });
    }
    return y;
}

}  // namespace graft
