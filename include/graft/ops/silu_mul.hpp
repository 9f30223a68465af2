#pragma once
#include "graft/autograd/tape.hpp"

// The gate of SwiGLU.
//
//   forward    h = g s(g) u,  s(g) = 1 / (1 + exp(-g))
//   backward   dg += dh u s (1 + g (1 - s))        du += dh g s
//
//   g, u, h    (N, F)   arithmetic in acc<T>, one rounding
//   saved      g, u
//
// Does not compile: last extents differ. Throws: Error where rows or dyn extents do.
// Source: Shazeer 2020, arXiv:2002.05202.
namespace graft {

struct SiluMulOp {};

template <Float T, class SG, class SU, Device Dev>
Tensor<T, SG, Dev> silu_mul(const Tensor<T, SG, Dev>& g, const Tensor<T, SU, Dev>& u)
{
    using Kernel = kernel<SiluMulOp, Dev>;
    static_assert(same_extent<SU::last, SG::last>, "silu_mul: the last extents of gate and up must be equal.");
    require(g.rows() == u.rows() && g.cols() == u.cols(), "silu_mul: the shapes of gate and up differ");
    auto h = empty_like(g);
    compute(g.pool(), [&] {
        Kernel::forward(View<T>(h.view()), View<const T>(g.view()), View<const T>(u.view()), g.pool()->stream());
    });
    Tape* tape = tape_of("silu_mul", g, u);
    h.on(tape);
    if (tape != nullptr && (g.needs_grad() || u.needs_grad())) {
        h.want_grad();
        tape->record("silu_mul", h, [g = g.detached(), u = u.detached(), dg = g.grad(), du = u.grad(), dh = h.grad()] {
            const auto to_g = dg.sink();
            const auto to_u = du.sink();
            compute(g.pool(), [&] {
                Kernel::backward(to_g, to_u, dh.view(), View<const T>(g.view()), View<const T>(u.view()),
                                 g.pool()->stream());
            });
        });
    }
    return h;
}

}  // namespace graft
