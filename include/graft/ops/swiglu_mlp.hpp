#pragma once
#include "graft/ops/context.hpp"
#include "graft/ops/silu_mul.hpp"

// The feed-forward part of a Llama block.
//
//   y = down(silu(gate(x)) * up(x))
//
// gate, up, down are callables of (x, context): modules. This is the plain composition, and the reference of faster
// ones. Source: Shazeer 2020, arXiv:2002.05202.
namespace graft {

template <class X, class Wide, class Narrow, Float T, Device Dev>
auto swiglu_mlp(const X& x, const Wide& gate, const Wide& up, const Narrow& down, const Context<T, Dev>& context)
{
    return down(silu_mul(gate(x, context), up(x, context)), context);
}

}  // namespace graft
