#pragma once
#include <cstddef>
#include <utility>

#include "graft/autograd/param.hpp"
#include "graft/autograd/tape.hpp"

// The low-rank branch of LoRA, added to what the base gave.
//
//   forward    h = s x A^T       y += h B^T
//   backward   dB += dy^T h      dh = s dy B      dA += dh^T x      dx += dh A      dy goes on to the base unchanged
//
//   x (N, In)   A (R, In)   B (Out, R)   y (N, Out)   h (N, R) in acc<T>; s = alpha / R, or alpha / sqrt(R) for rsLoRA
//   saved       x where A is trained, h where B is; y is worked on in place: it is given away, and its gradient is that
//               of the base's result
//
// A and B may be frozen, as in an adapter that another one is trained over: then dx alone is formed.
//
// Does not compile: In of x and of A, R of A and of B, Out of y and of B, element types or devices differ.
// Throws: Error where dyn extents do.
// Source: Hu et al. 2021, arXiv:2106.09685; Kalajdzievski 2023, arXiv:2312.03732 (rsLoRA).
namespace graft {

struct LoraOp {};

struct LoraProblem {
    std::int64_t rows = 0, in = 0, out = 0, rank = 0;
};

namespace detail {

// What backward needs, or an empty handle in its place.
template <bool Needed, class Tensor> Tensor saved_if(const Tensor& tensor)
{
    if constexpr (Needed) {
        return tensor;
    } else {
        return {};
    }
}

}  // namespace detail

template <Float T, class SY, class SX, Device Dev, Weight WA, Weight WB>
Tensor<T, SY, Dev> lora(Tensor<T, SY, Dev> y, const Tensor<T, SX, Dev>& x, const WA& a, const WB& b, double scale)
{
    using Kernel = kernel<LoraOp, Dev>;
    using A = acc<T>;
    static_assert(weight_for<WA, T, Dev> && weight_for<WB, T, Dev>,
                  "lora: x, A and B must have the same element type and device.");
    static_assert(same_extent<SX::last, WA::Extents::last>, "lora: the last extent of x must equal In of A.");
    static_assert(same_extent<WA::Extents::extents[0], WB::Extents::last>, "lora: the ranks of A and B must be equal.");
    static_assert(same_extent<SY::last, WB::Extents::extents[0]>, "lora: the last extent of y must equal Out of B.");
    const LoraProblem problem{x.rows(), x.cols(), y.cols(), a.working().rows()};
    require(x.cols() == a.working().cols() && y.cols() == b.working().rows() && b.working().cols() == problem.rank
                && y.rows() == x.rows(),
            [&] {
                return "lora: x is (" + std::to_string(x.rows()) + ", " + std::to_string(x.cols()) + "), y has "
                       + std::to_string(y.cols()) + " columns; A is (" + std::to_string(problem.rank) + ", "
                       + std::to_string(a.working().cols()) + "), B is (" + std::to_string(b.working().rows()) + ", "
                       + std::to_string(b.working().cols()) + ")";
            });

    auto h = Acts<A, dyn, Dev>(x.rows(), problem.rank, x.pool());
    {
        const auto scratch = Buffer<std::byte, Dev>(std::int64_t(Kernel::template workspace<T>(problem)), x.pool());
        compute(x.pool(), [&] {
            Kernel::forward(View<T>(y.view()), h.view(), View<const T>(x.view()), View<const T>(a.working().view()),
                            View<const T>(b.working().view()), A(scale), scratch.data(), x.pool()->stream());
        });
    }

    Tape* tape = tape_of("lora", x, y);
    if (tape != nullptr && (x.needs_grad() || WA::trainable || WB::trainable)) {
        y.on(tape).want_grad();
        tape->record(
            "lora", y,
            [x = detail::saved_if<WA::trainable>(x.detached()), h = detail::saved_if<WB::trainable>(h), a, b, scale,
             problem, pool = x.pool(), dx = x.grad(), da = weight_grad(a), db = weight_grad(b), dy = y.grad()] {
                const View<const T> x_rows{x.data(), problem.rows, x.stride(), problem.in};
                const View<const A> h_rows{h.data(), problem.rows, h.stride(), problem.rank};
                const auto to_x = dx.sink();
                const auto to_a = da.sink();
                const auto to_b = db.sink();
                auto dh = Acts<A, dyn, Dev>(problem.rows, problem.rank, pool);
                const auto scratch =
                    Buffer<std::byte, Dev>(std::int64_t(Kernel::template workspace_backward<T>(problem)), pool);
                compute(pool, [&] {
                    Kernel::backward(to_x, to_a, to_b, dh.view(), dy.view(), h_rows, x_rows,
                                     View<const T>(a.working().view()), View<const T>(b.working().view()), A(scale),
                                     scratch.data(), pool->stream());
                });
            });
    }
    return y;
}

}  // namespace graft
