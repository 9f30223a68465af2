#pragma once
#include <cstddef>

#include "graft/autograd/param.hpp"
#include "graft/autograd/tape.hpp"

// The dense product of a linear layer.
//
//   forward    y = x W^T
//   backward   dx += dy W          dW += dy^T x     only where W is a Param
//
//   x (N, In)   W (Out, In)   y (N, Out)    operands in T, sums in acc<T>, one rounding to T; dW in acc<T>
//   saved       x where W is a Param, W's handle
//
// Does not compile: the last extents, element types or devices of x and of W differ.
// Throws: Error where dyn extents differ.
namespace graft {

struct MatmulOp {};

struct MatmulProblem {
    std::int64_t rows = 0, in = 0, out = 0;
};

template <Float T, class S, Device Dev, Weight W>
auto matmul(const Tensor<T, S, Dev>& x, const W& w) -> Acts<T, W::Extents::extents[0], Dev>
{
    using Kernel = kernel<MatmulOp, Dev>;
    static_assert(weight_for<W, T, Dev>, "matmul: x and the weight must have the same element type and device.");
    static_assert(same_extent<S::last, W::Extents::last>, "matmul: the last extent of x must equal In of the weight.");
    const auto& value = w.working();
    require(x.cols() == value.cols(), [&] {
        return "matmul: the last extent of x is " + std::to_string(x.cols())
               + ", the weight has In = " + std::to_string(value.cols());
    });

    const MatmulProblem problem{x.rows(), x.cols(), value.rows()};
    auto y = Acts<T, W::Extents::extents[0], Dev>(x.rows(), value.rows(), x.pool());
    {
        const auto scratch = Buffer<std::byte, Dev>(std::int64_t(Kernel::template workspace<T>(problem)), x.pool());
        compute(x.pool(), [&] {
            Kernel::forward(View<T>(y.view()), View<const T>(x.view()), View<const T>(value.view()), scratch.data(),
                            x.pool()->stream());
        });
    }

    y.on(x.tape());
    if (Tape* tape = x.tape(); tape != nullptr && (x.needs_grad() || W::trainable)) {
        y.want_grad();
        using X = Tensor<T, S, Dev>;
        tape->record(
            "matmul", y,
            [x = W::trainable ? x.detached() : X(), w, problem, dx = x.grad(), dw = weight_grad(w), dy = y.grad()] {
                const auto to_x = dx.sink();
                const auto to_w = dw.sink();
                const auto scratch =
                    Buffer<std::byte, Dev>(std::int64_t(Kernel::template workspace_backward<T>(problem)), dy.pool());
                compute(dy.pool(), [&] {
                    if (to_x) {
                        Kernel::backward_x(to_x, dy.view(), View<const T>(w.working().view()), scratch.data(),
                                           dy.pool()->stream());
                    }
                    if (to_w) {
                        Kernel::backward_w(to_w, dy.view(), View<const T>(x.view()), scratch.data(),
                                           dy.pool()->stream());
                    }
                });
            });
    }
    return y;
}

}  // namespace graft
