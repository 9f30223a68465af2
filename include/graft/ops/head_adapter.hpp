#pragma once
#include <cstdint>

#include "graft/autograd/param.hpp"
#include "graft/core/tensor.hpp"
#include "graft/ops/token_rows.hpp"

// What an adapter adds to a head, for the ops that score with it (linear_cross_entropy.hpp, linear_log_probs.hpp):
//
//   z = h W^T                          the head alone
//   z[:, id_s] = h R_s^T               rows: those of some tokens, in the place of the head's own (token_rows.hpp)
//   z += s u B^T                       low rank: u = drop(h) A^T, which the caller forms
//
//   backward    dR = dz[:, ids]^T h;   du = s dz B,   dB = s dz^T u;   dh = dz W, with R in the place of W's rows.
//               What is replaced sees neither W nor B
//
//   h (N, D)   W (V, D)   R (n, D)   u (N, r)   B (V, r)
namespace graft {

template <Float T, int V, int D, Device Dev> struct HeadAdapter {
    TokenRows<T, D, Dev> rows{};
    Acts<T, dyn, Dev> u{};
    Param<T, Shape<V, dyn>, Dev> b{};
    double scale = 1;

    bool empty() const { return rows.empty() && b.empty(); }
    std::int64_t rank() const { return b.empty() ? 0 : b.working().cols(); }
    // Of R and of B; empty handles where there are none.
    Grad<acc<T>, Dev> rows_grad() const { return rows.empty() ? Grad<acc<T>, Dev>() : weight_grad(rows.value); }
    Grad<acc<T>, Dev> b_grad() const { return b.empty() ? Grad<acc<T>, Dev>() : weight_grad(b); }
};

// The same as kernels see it. Where no gradient is wanted the sinks, picked and du are empty.
template <class T> struct HeadParts {
    using A = acc<T>;

    View<const T> r{};
    const std::int32_t* ids = nullptr;
    Sink<A> dr{};
    View<A> picked{};  // (chunk, n): what dz has in the columns of R

    View<const T> u{}, b{};  // u of all rows of h
    View<T> some_u{};        // (chunk, r): of the rows at hand
    View<T> du{};            // (live, r)
    Sink<A> db{};
    A scale = 1;
};

namespace detail {

// Room that the parts need while a chunk of rows is at hand.
template <Float T, int V, int D, Device Dev> class HeadRoom {
public:
    using A = acc<T>;

    HeadRoom(const HeadAdapter<T, V, D, Dev>& with, std::int64_t chunk, bool back,
             const std::shared_ptr<Pool<Dev>>& pool)
    {
        if (!with.b.empty()) { some_u_ = Acts<T, dyn, Dev>(chunk, with.rank(), pool); }
        if (!with.rows.empty() && back) { picked_ = Acts<A, dyn, Dev>(chunk, with.rows.count(), pool); }
    }
    // Within compute().
    HeadParts<T> parts(const HeadAdapter<T, V, D, Dev>& with, Sink<A> dr, View<T> du, Sink<A> db)
    {
        HeadParts<T> out;
        if (!with.rows.empty()) {
            out.r = View<const T>(with.rows.value.working().view());
            out.ids = with.rows.ids.data(), out.dr = dr;
            if (!picked_.empty()) { out.picked = picked_.view(); }
        }
        if (!with.b.empty()) {
            out.u = View<const T>(with.u.view()), out.b = View<const T>(with.b.working().view());
            out.some_u = View<T>(some_u_.view()), out.du = du, out.db = db, out.scale = A(with.scale);
        }
        return out;
    }

private:
    Acts<T, dyn, Dev> some_u_;
    Acts<A, dyn, Dev> picked_;
};

}  // namespace detail

}  // namespace graft
