#pragma once
#include <span>

#include "graft/ops/context.hpp"
#include "graft/ops/embedding.hpp"
#include "graft/ops/linear_cross_entropy.hpp"
#include "graft/ops/linear_log_probs.hpp"
#include "graft/ops/matmul.hpp"

// A table of V rows of D: the embedding of tokens, and the head that scores them. Frozen or trained, by type.
namespace graft {

template <int V, int D, Float T, Device Dev, bool Trained> struct Table {
    std::conditional_t<Trained, Param<T, Shape<V, D>, Dev>, Frozen<T, Shape<V, D>, Dev>> weight;

    Table() = default;
    Table(std::int64_t vocab, std::int64_t dim, const std::shared_ptr<Pool<Dev>>& pool)
        : weight(Tensor<std::conditional_t<Trained, acc<T>, T>, Shape<V, D>, Dev>(vocab, dim, pool))
    {}

    Acts<T, D, Dev> operator()(TapeRef tape, const Buffer<std::int32_t, Dev>& ids) const
    {
        return embedding(tape, ids, weight);
    }
    // As a head; an adapter on it would ask the context for its dropout.
    Acts<T, V, Dev> logits(const Acts<T, D, Dev>& h, const Context<T, Dev>&) const { return matmul(h, weight); }
    auto loss(const Acts<T, D, Dev>& h, std::span<const std::int32_t> labels, double scale,
              const Context<T, Dev>&) const
    {
        return linear_cross_entropy(h, weight, labels, scale);
    }
    auto log_probs(const Acts<T, D, Dev>& h, const ScoredRows& scored, const Context<T, Dev>&) const
    {
        return linear_log_probs(h, weight, scored);
    }
    bool empty() const { return weight.empty(); }
    static void parts(auto& self, auto&& part) { part("weight", self.weight); }
};

}  // namespace graft
