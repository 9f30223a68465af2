#pragma once
#include <string>

#include "graft/autograd/param.hpp"
#include "graft/autograd/tape.hpp"

// Token embedding: a row of the table for each id.
//
//   forward    y_n = E[id_n]
//   backward   dE[id_n] += dy_n, rows of a batch in order; only where E is a Param. No row is exempt (no padding_idx).
//
//   ids (N)   E (V, D)   y (N, D)
//   saved     ids
//
// Does not compile: ids and table lie on different devices.
// Throws: Error naming the first id outside [0, V) (on the CPU; on CUDA ids are checked where batches are made).
namespace graft {

struct EmbeddingOp {};

template <Weight W, Device Dev>
auto embedding(TapeRef record, const Buffer<std::int32_t, Dev>& ids, const W& table)
    -> Acts<typename W::Element, W::Extents::last, Dev>
{
    using T = typename W::Element;
    using Kernel = kernel<EmbeddingOp, Dev>;
    static_assert(same_device<typename W::On, Dev>, "embedding: ids and table must lie on the same device.");
    const auto& e = table.working();
    if constexpr (std::same_as<Dev, Cpu>) {
        for (std::int64_t n = 0; n < ids.size() && !ids.pool()->counting(); ++n) {
            require(ids.data()[n] >= 0 && ids.data()[n] < e.rows(), [&] {
                return "embedding: id " + std::to_string(ids.data()[n]) + " at position " + std::to_string(n)
                       + " is outside the vocabulary of " + std::to_string(e.rows());
            });
        }
    }
    auto y = Acts<T, W::Extents::last, Dev>(ids.size(), e.cols(), ids.pool());
    compute(y.pool(),
            [&] { Kernel::forward(View<T>(y.view()), ids.data(), View<const T>(e.view()), y.pool()->stream()); });
    y.on(record.tape);
    if constexpr (W::trainable) {
        if (Tape* tape = record.tape) {
            y.want_grad();
            tape->record("embedding", y, [ids, de = table.grad(), dy = y.grad(), rows = e.rows()] {
                const bool fresh = !de.written();
                const auto sink = de.sink();
                compute(dy.pool(), [&] { Kernel::backward(sink, fresh, ids.data(), dy.view(), dy.pool()->stream()); });
            });
        }
    }
    return y;
}

}  // namespace graft
