#pragma once
#include <utility>

#include "graft/ops/rope.hpp"

// The three projections in front of attention, with rotary positions on q and k.
//
//   q = rope(Q(x))    k = rope(K(x))    v = V(x)
//
// Q, K, V are callables of (x, context): modules. This is the plain composition, and the reference of faster ones.
namespace graft {

template <class Q, class K> struct Qkv {
    Q q;
    K k, v;
};

template <class X, class ProjQ, class ProjKV, Float T, Device Dev>
auto qkv(const X& x, const ProjQ& to_q, const ProjKV& to_k, const ProjKV& to_v, const Context<T, Dev>& context)
{
    auto q = rope(to_q(x, context), context);
    auto k = rope(to_k(x, context), context);
    auto v = to_v(x, context);
    return Qkv<decltype(q), decltype(k)>{std::move(q), std::move(k), std::move(v)};
}

}  // namespace graft
