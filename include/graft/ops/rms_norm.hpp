#pragma once
#include <utility>

#include "graft/autograd/param.hpp"
#include "graft/autograd/tape.hpp"

// RMSNorm: scale each row to unit root-mean-square, then by a weight. With a residual sum in front of it: add_rms_norm.
//
//   forward    r = 1 / sqrt(mean_i x_i^2 + eps)           y_i  = T(x_i r) w_i
//   backward   c = mean_i dy_i w_i x_i                    dx_i += r (dy_i w_i - x_i r^2 c)
//              dw_i += sum over rows of dy_i x_i r        only where w is a Param
//   add_rms_norm(x, delta, w)    s = x + delta, y = rms_norm(s, w): returns both; dx and ddelta are both ds
//
//   x, y    (N, D)   sums in acc<T>; x_i r is rounded to T before it is multiplied by w, as the published models do
//   w       (D)
//   saved   x (or s), r    r is one acc<T> a row
//
// Does not compile: D, element type or device of x and of w differ; kernels for the device were not included.
// Throws: Error where dyn extents differ. A row of zeros gives zeros.
// Source: Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4; eps inside the root, as in Llama.
namespace graft {

struct RmsNormOp {};  // names the op in kernel<Op, Device>

template <Float T, class S, Device Dev, Weight W>
Tensor<T, S, Dev> rms_norm(const Tensor<T, S, Dev>& x, const W& w, double eps = 1e-5)
{
    using Kernel = kernel<RmsNormOp, Dev>;
    static_assert(weight_for<W, T, Dev>, "rms_norm: x and w must have the same element type and device.");
    static_assert(same_extent<S::last, W::Extents::last>, "rms_norm: the last extents of x and of w must be equal.");
    require(x.cols() == w.working().cols(), "rms_norm: the last extents of x and of w differ");

    auto y = empty_like(x);
    auto r = Buffer<acc<T>, Dev>(x.rows(), x.pool());
    compute(x.pool(), [&] {
        Kernel::forward(View<T>(y.view()), r.data(), View<const T>(x.view()), w.working().data(), acc<T>(eps),
                        x.pool()->stream());
    });

    y.on(x.tape());
    if (Tape* tape = x.tape(); tape != nullptr && (x.needs_grad() || W::trainable)) {
        y.want_grad();
        tape->record("rms_norm", y, [x = x.detached(), r, w, dx = x.grad(), dw = weight_grad(w), dy = y.grad()] {
            const auto to_x = dx.sink();
            const auto to_w = dw.sink();
            compute(x.pool(), [&] {
                Kernel::backward(to_x, to_w, dy.view(), r.data(), View<const T>(x.view()), w.working().data(),
                                 x.pool()->stream());
            });
        });
    }
    return y;
}

// Both results of add_rms_norm: the sum goes on as the residual stream, the normed rows into the next product.
template <class X> struct AddRmsNorm {
    X sum, normed;
};

template <Float T, class S, Device Dev, Weight W>
AddRmsNorm<Tensor<T, S, Dev>> add_rms_norm(const Tensor<T, S, Dev>& x, const Tensor<T, S, Dev>& delta, const W& w,
                                           double eps = 1e-5)
{
    auto sum = x + delta;
    auto normed = rms_norm(sum, w, eps);
    return {std::move(sum), std::move(normed)};
}

}  // namespace graft
