#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "graft/autograd/tape.hpp"
#include "graft/ops/context.hpp"
#include "graft/ops/gather_rows.hpp"

// Causal grouped-query attention within documents.
//
//   forward    s_ij = c q_i k_j,  j <= i in the same document       p_i = softmax(s_i)       y_i = sum_j p_ij v_j
//   backward   D_i = dy_i y_i     ds_ij = p_ij (dy_i v_j - D_i)
//              dq_i += c sum_j ds_ij k_j      dk_j += c sum_i ds_ij q_i      dv_j += sum_i p_ij dy_i
//
//   q, y    (N, H K)     k, v (N, G K)     query head h reads key/value head h / (H / G)     c = 1 / sqrt(K)
//   saved   q, k, v, y and one log-sum-exp a row and head, in acc<T>; scores are formed again in backward
//   numerics: scores, softmax and sums in acc<T>
//
// With a cache in the context, k and v are first appended to the layer's cache, and every key there is seen. With
// key_rows in the context, keys and values are those rows of k and v (gather_rows): a prompt that several answers share
// is computed once and seen by all of them.
// Throws: Error where heads do not divide widths, or a cache is full or used with a tape.
// Source: Vaswani et al. 2017, arXiv:1706.03762; Ainslie et al. 2023, arXiv:2305.13245 (grouped queries);
// Dao et al. 2022, arXiv:2205.14135 (keeping the log-sum-exp and recomputing scores).
namespace graft {

struct AttentionOp {};

struct AttentionProblem {
    int heads = 0, kv_heads = 0, head_dim = 0;
    std::int64_t longest = 0;  // keys of the longest segment
};

namespace detail {

template <class T, class S, Device Dev>
void append_to_cache(KvCache<T, Dev>& cache, int layer, const Tensor<T, S, Dev>& k, const Tensor<T, S, Dev>& v)
{
    auto& kept = cache.layers.at(std::size_t(layer));
    require(cache.filled + k.rows() <= kept.k.rows(),
            [&] { return "attention: the cache holds " + std::to_string(kept.k.rows()) + " positions and is full"; });
    compute(k.pool(), [&] {
        for (std::int64_t i = 0; i < k.rows(); ++i) {
            memory<Dev>::copy(kept.k.view().row(cache.filled + i), k.view().row(i), std::size_t(k.cols()) * sizeof(T),
                              k.pool()->stream());
            memory<Dev>::copy(kept.v.view().row(cache.filled + i), v.view().row(i), std::size_t(v.cols()) * sizeof(T),
                              v.pool()->stream());
        }
    });
}

}  // namespace detail

template <Float T, class SQ, class SK, Device Dev>
Tensor<T, SQ, Dev> attention(const Tensor<T, SQ, Dev>& q, const Tensor<T, SK, Dev>& all_k,
                             const Tensor<T, SK, Dev>& all_v, int head_dim, const Context<T, Dev>& context)
{
    using Kernel = kernel<AttentionOp, Dev>;
    using A = acc<T>;
    const bool chosen = context.key_rows.size() > 0;
    Tape* const tape = tape_of("attention", q, all_k, all_v);
    const auto keyed_rows = [&](Tensor<T, SK, Dev> x) {
        return chosen ? gather_rows(x.on(tape), context.key_rows) : x;
    };
    const auto k = keyed_rows(all_k), v = keyed_rows(all_v);
    require(head_dim > 0 && q.cols() % head_dim == 0 && k.cols() % head_dim == 0 && v.cols() == k.cols() && k.cols() > 0
                && q.cols() % k.cols() == 0 && q.rows() == all_k.rows() && k.rows() == v.rows(),
            [&] {
                return "attention: q is (" + std::to_string(q.rows()) + ", " + std::to_string(q.cols()) + "), k is ("
                       + std::to_string(k.rows()) + ", " + std::to_string(k.cols()) + ") with heads of "
                       + std::to_string(head_dim) + ": key/value heads must divide the query heads";
            });
    AttentionProblem problem{int(q.cols() / head_dim), int(k.cols() / head_dim), head_dim, 0};
    const Segments segments = context.segments;
    std::int64_t covered = 0, keyed = 0;
    for (const Segment& s : *segments) {
        problem.longest = std::max(problem.longest, s.before + s.count);
        require(!chosen || s.keys == keyed, "attention: key_rows must hold the keys of the segments back to back");
        covered += s.count, keyed += s.before + s.count;
    }
    require(!chosen || (keyed == k.rows() && context.cache == nullptr),
            "attention: key_rows must hold every key of the segments, and goes with no cache");
    require(covered == q.rows(), "attention: the segments of the context do not cover the rows of q");

    View<const T> keys = k.view(), values = v.view();
    if (context.cache != nullptr) {
        require(q.tape() == nullptr, "attention: a cache is for inference; train without one");
        detail::append_to_cache(*context.cache, context.layer, k, v);
        keys = View<const T>(std::as_const(context.cache->layers[std::size_t(context.layer)].k).view());
        values = View<const T>(std::as_const(context.cache->layers[std::size_t(context.layer)].v).view());
    }

    const A scale = A(1) / std::sqrt(A(head_dim));
    auto y = empty_like(q);
    auto lse = Buffer<A, Dev>(q.rows() * problem.heads, q.pool());
    {
        const auto scratch = Buffer<std::byte, Dev>(std::int64_t(Kernel::template workspace<T>(problem)), q.pool());
        compute(q.pool(), [&] {
            Kernel::forward(View<T>(y.view()), lse.data(), View<const T>(q.view()), keys, values, *segments, problem,
                            scale, scratch.data(), q.pool()->stream());
        });
    }

    y.on(tape);
    if (tape != nullptr && (q.needs_grad() || k.needs_grad() || v.needs_grad())) {
        for (const Segment& part : *segments) {
            require(chosen || (part.before == 0 && part.keys == part.rows),
                    "attention: a segment that continues an earlier one is for inference; train on whole documents");
        }
        y.want_grad();
        tape->record("attention", y,
                     [q = q.detached(), k = k.detached(), v = v.detached(), out = y.detached(), lse, segments, problem,
                      scale, dq = q.grad(), dk = k.grad(), dv = v.grad(), dy = y.grad()] {
                         const auto to_q = dq.sink();
                         const auto to_k = dk.sink();
                         const auto to_v = dv.sink();
                         const auto scratch = Buffer<std::byte, Dev>(
                             std::int64_t(Kernel::template workspace_backward<T>(problem)), q.pool());
                         compute(q.pool(), [&] {
                             Kernel::backward(to_q, to_k, to_v, dy.view(), View<const T>(out.view()), lse.data(),
                                              View<const T>(q.view()), View<const T>(k.view()), View<const T>(v.view()),
                                              *segments, problem, scale, scratch.data(), q.pool()->stream());
                         });
                     });
    }
    return y;
}

}  // namespace graft
