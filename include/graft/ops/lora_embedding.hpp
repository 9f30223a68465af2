#pragma once
#include <cstdint>
#include <string>
#include <utility>

#include "graft/autograd/param.hpp"
#include "graft/autograd/tape.hpp"

// The low-rank branch of LoRA on an embedding, added to the rows that were looked up.
//
//   forward    u_n = s A[:, id_n]      y_n += u_n B^T
//   backward   dB += dy^T u            du = s dy B      dA[:, id_n] += du_n, rows of a batch in order;
//              dy goes on to the table unchanged
//
//   ids (N)   A (R, V)   B (D, R)   y (N, D)   u (N, R) in acc<T>; s as in lora.hpp. There is no dropout here
//   saved     ids, u; y is worked on in place: it is given away
//
// Does not compile: R of A and of B, D of y and of B, element types or devices differ.
// Throws: Error where dyn extents do, and for an id outside [0, V) (on the CPU).
// Source: huggingface/peft 0.21, tuners/lora/layer.py (Embedding).
namespace graft {

struct LoraEmbeddingOp {};

template <Float T, class SY, Device Dev, class SA, class SB>
Tensor<T, SY, Dev> lora_embedding(Tensor<T, SY, Dev> y, TapeRef record, const Buffer<std::int32_t, Dev>& ids,
                                  const Param<T, SA, Dev>& a, const Param<T, SB, Dev>& b, double scale)
{
    using Kernel = kernel<LoraEmbeddingOp, Dev>;
    using A = acc<T>;
    static_assert(same_extent<SA::extents[0], SB::last>, "lora_embedding: the ranks of A and B must be equal.");
    static_assert(same_extent<SY::last, SB::extents[0]>, "lora_embedding: the last extent of y must equal D of B.");
    const std::int64_t rank = a.working().rows(), vocab = a.working().cols();
    require(y.rows() == ids.size() && y.cols() == b.working().rows() && b.working().cols() == rank, [&] {
        return "lora_embedding: y is (" + std::to_string(y.rows()) + ", " + std::to_string(y.cols()) + ") for "
               + std::to_string(ids.size()) + " ids, A is (" + std::to_string(rank) + ", " + std::to_string(vocab)
               + "), B is (" + std::to_string(b.working().rows()) + ", " + std::to_string(b.working().cols()) + ")";
    });
    const auto& pool = y.pool();
    if constexpr (std::same_as<Dev, Cpu>) {
        for (std::int64_t n = 0; n < ids.size() && !pool->counting(); ++n) {
            require(ids.data()[n] >= 0 && ids.data()[n] < vocab, [&] {
                return "lora_embedding: id " + std::to_string(ids.data()[n]) + " at position " + std::to_string(n)
                       + " is outside the vocabulary of " + std::to_string(vocab);
            });
        }
    }
    auto u = Acts<A, dyn, Dev>(ids.size(), rank, pool);
    {
        const auto scratch =
            Buffer<std::byte, Dev>(std::int64_t(Kernel::template workspace<T>(ids.size(), y.cols(), rank)), pool);
        compute(pool, [&] {
            Kernel::forward(View<T>(y.view()), u.view(), ids.data(), View<const T>(a.working().view()),
                            View<const T>(b.working().view()), A(scale), scratch.data(), pool->stream());
        });
    }
    if (Tape* tape = record.tape) {
        y.on(tape).want_grad();
        tape->record("lora_embedding", y, [ids, u, b, scale, rank, pool, da = a.grad(), db = b.grad(), dy = y.grad()] {
            const std::int64_t rows = ids.size();
            const bool fresh = !da.written();
            const auto to_a = da.sink();
            const auto to_b = db.sink();
            auto du = Acts<A, dyn, Dev>(rows, rank, pool);
            const auto scratch = Buffer<std::byte, Dev>(
                std::int64_t(Kernel::template workspace<T>(rows, b.working().rows(), rank)), pool);
            compute(pool, [&] {
                Kernel::backward(to_a, fresh, to_b, du.view(), ids.data(), dy.view(), View<const A>(u.view()),
                                 View<const T>(b.working().view()), A(scale), scratch.data(), pool->stream());
            });
        });
    }
    return y;
}

}  // namespace graft
