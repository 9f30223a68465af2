#pragma once
#include <utility>

#include "graft/autograd/tape.hpp"

// recompute(block, x): runs the block without recording and keeps only x; backward runs the block again on a tape of
// its own and goes back through that. Costs one more forward of the block, saves all that its ops would have saved.
//
//   block    (Tensor) -> Tensor, a pure function of x and of weights; it must outlive the tape's backward.
//            Random numbers are keyed by counters, so the second run draws what the first one drew.
//   saved    x
//
// Throws: what the block throws.
namespace graft {

struct AddOp;  // ops/add.hpp: adds the gradient of the second run to what is there

template <Float T, class S, Device Dev, class Block>
auto recompute(Block block, const Tensor<T, S, Dev>& x) -> decltype(block(x))
{
    auto y = block(x.detached());
    if (Tape* tape = x.tape()) {
        y.on(tape).want_grad();
        tape->record("recompute", y, [block = std::move(block), x, dy = y.grad()] {
            Tape again;
            auto in = x;  // with the gradient of x itself: sums are formed in the order of the plain block
            in.on(&again);
            auto out = block(in);
            if (!out.needs_grad()) { return; }
            if (out.grad().written()) {  // the block gave back x, whose gradient others have written
                const auto sink = out.grad().sink();
                compute(x.pool(), [&] { kernel<AddOp, Dev>::accumulate(sink, dy.view(), x.pool()->stream()); });
            } else {
                out.grad().adopt(dy.release());
            }
            {
                const auto dropped = std::move(out);  // its values are not needed: only the gradient goes on
            }
            again.run();
        });
    }
    return y;
}

}  // namespace graft
