#pragma once
#include <utility>

#include "graft/autograd/param.hpp"
#include "graft/autograd/tape.hpp"
#include "graft/ops/embedding.hpp"

// Some rows of a frozen table that are trained in the place of its own: those of a few tokens.
//
//   embedding    y_n = R[s] where s is the slot of id_n, else E[id_n]     dR[s] += dy_n, rows of a batch in order
//   head         z_{n, id_s} = h_n R[s]^T in the place of h_n E[id_s]^T   (linear_cross_entropy.hpp, replace_logits)
//
//   R (n, D)   ids of its rows (n)   slots (V): the row of R that a token has, or -1
//   saved      ids
//   numerics   sums in acc<T>
//
// The table is never written. Throws: what embedding throws; Error of replace_logits where a gradient is asked for.
namespace graft {

template <Float T, int D, Device Dev> struct TokenRows {
    Param<T, Shape<dyn, D>, Dev> value;
    Buffer<std::int32_t, Dev> ids, slots;

    std::int64_t count() const { return ids.size(); }
    bool empty() const { return value.empty(); }
};

struct TokenRowsOp {};

template <Weight W, int D, Device Dev>
auto embedding(TapeRef record, const Buffer<std::int32_t, Dev>& ids, const W& table,
               const TokenRows<typename W::Element, D, Dev>& rows)
{
    using T = typename W::Element;
    using Kernel = kernel<TokenRowsOp, Dev>;
    static_assert(!W::trainable, "embedding: rows are trained over a frozen table.");
    auto y = embedding(record, ids, table);
    compute(y.pool(), [&] {
        Kernel::forward(View<T>(y.view()), ids.data(), rows.slots.data(), View<const T>(rows.value.working().view()),
                        y.pool()->stream());
    });
    if (Tape* tape = record.tape) {
        y.want_grad();
        tape->record("token_rows", y, [ids, slots = rows.slots, dr = weight_grad(rows.value), dy = y.grad()] {
            const auto sink = dr.sink();
            compute(dy.pool(),
                    [&] { Kernel::backward(sink, ids.data(), slots.data(), dy.view(), dy.pool()->stream()); });
        });
    }
    return y;
}

// Logits of the frozen table, those of the trained rows put in their places. For inference: a loss takes the rows
// itself.
template <Float T, int V, int D, Device Dev>
Acts<T, V, Dev> replace_logits(Acts<T, V, Dev> z, const Acts<T, D, Dev>& h, const TokenRows<T, D, Dev>& rows)
{
    require(h.tape() == nullptr, "logits of trained token rows have no gradient: use the loss of the head");
    compute(z.pool(), [&] {
        kernel<TokenRowsOp, Dev>::replace(View<T>(z.view()), View<const T>(h.view()),
                                          View<const T>(rows.value.working().view()), rows.ids.data(),
                                          z.pool()->stream());
    });
    return z;
}

}  // namespace graft
