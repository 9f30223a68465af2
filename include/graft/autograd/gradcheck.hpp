#pragma once
#include <string>
#include <vector>

#include "graft/autograd/gradcheck/check.hpp"
#include "graft/autograd/gradcheck/input.hpp"
#include "graft/autograd/gradcheck/probe.hpp"
#include "graft/autograd/gradcheck/result.hpp"

// Finite differences against the tape: is the backward of an op, a layer or a model the derivative of its forward?
//
//   auto x = Acts<f64, 8, Cpu>(3);                          // filled with something
//   const auto result = gradcheck([&](TapeRef) { return probe(my_op(x, w)); }, {{"x", x}, {"w", w}});
//   if (!result.right()) { std::puts(result.text().c_str()); }
//
//   loss      called as loss(tape) with a tape, and often with no_tape; returns a scalar in f64. It must be a pure
//             function of the inputs (a fixed random key, say), and must not work in place on them: hand such an op a
//             result of another op. A result that is no scalar becomes one by probe()
//   inputs    f64 tensors and Params on one device, by name. A tensor is told to want its gradient and is put on the
//             tape; all must outlive the call. Their values are moved and put back to the bit, their gradients cleared
//   probe     sum of c y over all elements of y, c uniform in [-1, 1), keyed by the seed alone
//
// What is checked, with nothing to choose:
//   0. there is something to differentiate by: inputs without an element are wrong
//   1. memory is poisoned with NaN while forward and backward run: what an op reads or leaves unwritten shows
//   2. the loss is finite, and the same with a tape and without
//   3. a second backward doubles every gradient: an op that assigns where it should add shows
//   4. the derivative along random directions, through all inputs together and through each alone, and for the first
//      and last element of each, against that of differences (gradcheck/differences.hpp). A direction moves each
//      element by a standard normal number times the rms of its input (1 where that is 0)
//
// Of 4, with g from the tape, f' +- u from differences, and s = max(|g|, |f'|, what g is like along such a direction,
// 1e-5 of what it is like through all inputs):
//   wrong         |g - f'| > 10 u + 2e-10 s, and again along another direction. The faulty half is halved again until
//                 one element is left, which is named
//   right         otherwise; but where 10 u > 1e-4 s (and 1e-7 of the whole) an error of that size would not show, and
//                 the verdict is
//   truncation    the function is too rough for differences, or
//   rounding      its values are too noisy
// A corner (|x| at 0) has no derivative: where one would explain what is wrong, or steps are not fine enough to pass it
// by, the point is moved aside by 1e-3 of the inputs' rms and everything is checked there. An input without a gradient
// counts as one of zeros: a forgotten branch is seen.
//
// Cost: some 8 to 20 losses for each of 2 directions + for each input 1 direction and 2 elements.
// Does not compile: an input that is Frozen, not in f64, or const. Throws: what the loss throws.
namespace graft {

template <class Loss>
GradcheckResult gradcheck(Loss&& loss, const std::vector<GradcheckInput>& inputs, const GradcheckOptions& options = {})
{
    detail::Gradcheck check(loss, inputs, options);
    GradcheckResult result = check.run();
    if (check.corner() || result.verdict == GradcheckVerdict::truncation) {
        check.step_aside();
        result = check.run();
        result.why += std::string(result.why.empty() ? "" : "; ")
                      + "checked a little aside of the inputs, where the "
                        "loss seems to have a corner";
    }
    return result;
}

}  // namespace graft
