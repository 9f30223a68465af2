#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graft/ops/linear_cross_entropy.hpp"

// The head and the log-probabilities of whole answers: what preference losses are made of. Logits of scored rows only,
// a chunk of rows at a time, never all of them.
//
//   forward    z = h W^T;   sum_s = sum over the scored n of s of (z_{n, target_n} - lse_n)
//   backward   dz_n = dsum_s (onehot - softmax(z_n));  dh += dz W;  dW += dz^T h where W is a Param
//
//   h (N, D)   W (V, D)   scored: which row of h predicts which token, and into which sum; a row may be scored more
//              than once (the last token of a prompt that two answers share)
//   returns    (1, sums) in f64; a sum of nothing is 0
//   with       rows in the place of some of W's, a low-rank part: what an adapter adds (head_adapter.hpp)
//   saved      nothing of the head trained: d sum / dh of the scored rows in T, formed in forward while the chunk's
//              logits are at hand; W a Param, or with something: h, and the head's product is done again in backward,
//              when dsum is known
//   numerics   logits, softmax and dz in acc<T>; log-probabilities and their sums in f64, in the order of `scored`,
//              tokens that score a row again behind the others; chunks depend on V alone
//
// No row scored: sums 0, no gradient is written. Without a tape only the sums are formed.
// Does not compile: last extents, element types or devices of h and W differ.
// Throws: Error for a row, a target or a sum out of range, or lists of different lengths.
namespace graft {

struct LinearLogProbsOp {};

struct ScoredRows {
    std::vector<std::int32_t> rows = {}, targets = {}, sums = {};  // one each for a scored token
    std::int64_t count = 0;                                        // sums
};

namespace detail {

// Rows that are scored again go to the end, so that the others can be written in any order. Returns how many are not.
inline std::int64_t repeats_last(ScoredRows& scored, std::int64_t rows)
{
    std::vector<char> seen(std::size_t(rows), 0);
    ScoredRows first{.count = scored.count}, again{.count = scored.count};
    for (std::size_t i = 0; i < scored.rows.size(); ++i) {
        auto& to = std::exchange(seen[std::size_t(scored.rows[i])], 1) != 0 ? again : first;
        to.rows.push_back(scored.rows[i]), to.targets.push_back(scored.targets[i]), to.sums.push_back(scored.sums[i]);
    }
    const auto once = std::int64_t(first.rows.size());
    const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
    append(first.rows, again.rows), append(first.targets, again.targets), append(first.sums, again.sums);
    scored = std::move(first);
    return once;
}

}  // namespace detail

template <Float T, class S, Device Dev, Weight W>
Tensor<double, Shape<dyn>, Dev>
linear_log_probs(const Tensor<T, S, Dev>& h, const W& head, ScoredRows scored,
                 const HeadAdapter<T, W::Extents::extents[0], W::Extents::last, Dev>& with = {})
{
    using Kernel = kernel<LinearLogProbsOp, Dev>;
    using A = acc<T>;
    static_assert(weight_for<W, T, Dev>,
                  "linear_log_probs: h and the head must have the same element type and device.");
    static_assert(same_extent<S::last, W::Extents::last>, "linear_log_probs: h and the head must have the same D.");
    const auto& w = head.working();
    require(h.cols() == w.cols(), "linear_log_probs: h and the head must have the same D");
    require(scored.targets.size() == scored.rows.size() && scored.sums.size() == scored.rows.size() && scored.count > 0,
            "linear_log_probs: each scored token needs a row, a target and a sum, and there must be a sum");
    for (std::size_t i = 0; i < scored.rows.size(); ++i) {
        const auto row = scored.rows[i], target = scored.targets[i], sum = scored.sums[i];
        require(row >= 0 && row < h.rows() && target >= 0 && target < w.rows() && sum >= 0 && sum < scored.count, [&] {
            return "linear_log_probs: token " + std::to_string(target) + " scored by row " + std::to_string(row)
                   + " into sum " + std::to_string(sum) + " is outside " + std::to_string(w.rows()) + " tokens, "
                   + std::to_string(h.rows()) + " rows or " + std::to_string(scored.count) + " sums";
        });
    }
    const std::int64_t once = detail::repeats_last(scored, h.rows());

    const LinearCrossEntropyProblem problem{std::int64_t(scored.rows.size()), h.cols(), w.rows(), with.rank()};
    const auto& pool = h.pool();
    const auto rows = uploaded(std::span(scored.rows), pool), targets = uploaded(std::span(scored.targets), pool),
               owners = uploaded(std::span(scored.sums), pool);
    const bool trains = W::trainable || !with.empty();
    const bool back = h.tape() != nullptr && (h.needs_grad() || trains) && problem.live > 0;

    // Log-probabilities of all scored tokens, and what gradients are wanted; weights null: 1 for each of them.
    struct Wanted {
        View<T> dh{}, du{};
        Sink<A> dw{}, dr{}, db{};
    };
    const auto pass = [problem, pool, rows, targets, with](double* each, const Tensor<T, S, Dev>& x, const auto& table,
                                                           const Wanted& to, const double* weights) {
        auto gathered = Acts<T, dyn, Dev>(problem.chunk(), problem.dim, pool);
        auto logits = Acts<A, dyn, Dev>(problem.chunk(), problem.vocab, pool);
        detail::HeadRoom room(with, problem.chunk(), weights != nullptr, pool);
        const auto scratch = Buffer<std::byte, Dev>(std::int64_t(Kernel::template workspace<T>(problem)), pool);
        compute(pool, [&] {
            Kernel::rows(each, to.dh, to.dw, View<T>(gathered.view()), logits.view(), View<const T>(x.view()),
                         View<const T>(table.view()), room.parts(with, to.dr, to.du, to.db), rows.data(),
                         targets.data(), weights, problem, scratch.data(), pool->stream());
        });
    };
    auto sums = Tensor<double, Shape<dyn>, Dev>(1, scored.count, pool);
    Acts<T, dyn, Dev> dh;
    if (back && !trains) { dh = Acts<T, dyn, Dev>(problem.live, problem.dim, pool); }
    {
        const auto each = Buffer<double, Dev>(problem.live, pool);
        pass(each.data(), h, w, {.dh = dh.empty() ? View<T>{} : View<T>(dh.view())}, nullptr);
        compute(pool, [&] {
            Kernel::sum(sums.data(), scored.count, each.data(), owners.data(), problem.live, pool->stream());
        });
    }

    sums.on(h.tape());
    if (!back) { return sums; }
    sums.want_grad();
    const auto weigh = [owners, problem, pool](const Grad<double, Dev>& dsums) {
        auto weights = Buffer<double, Dev>(problem.live, pool);
        compute(pool,
                [&] { Kernel::weigh(weights.data(), dsums.view().data, owners.data(), problem.live, pool->stream()); });
        return weights;
    };
    const auto scatter = [rows, once, pool](const Grad<T, Dev>& to, const Acts<T, dyn, Dev>& part,
                                            const double* weights) {
        if (const auto into = to.sink()) {
            compute(pool, [&] {
                Kernel::scatter(into, View<const T>(part.view()), rows.data(), once, weights, pool->stream());
            });
        }
    };
    if (!trains) {
        h.tape()->record("linear_log_probs", sums, [dh, weigh, scatter, to = h.grad(), dsums = sums.grad()] {
            scatter(to, dh, weigh(dsums).data());
        });
        return sums;
    }
    h.tape()->record("linear_log_probs", sums,
                     [x = h.detached(), head, pass, weigh, scatter, problem, pool, to_h = h.grad(),
                      to_u = with.u.grad(), to_r = with.rows_grad(), to_b = with.b_grad(), dsums = sums.grad()] {
                         const auto weights = weigh(dsums);
                         const auto each = Buffer<double, Dev>(problem.live, pool);
                         const auto room = [&](const Grad<T, Dev>& to, std::int64_t cols) {
                             return to ? Acts<T, dyn, Dev>(problem.live, cols, pool) : Acts<T, dyn, Dev>();
                         };
                         auto dx = room(to_h, problem.dim), du = room(to_u, problem.rank);
                         pass(each.data(), x, head.working(),
                              {.dh = to_h ? View<T>(dx.view()) : View<T>{},
                               .du = to_u ? View<T>(du.view()) : View<T>{},
                               .dw = weight_grad(head).sink(),
                               .dr = to_r.sink(),
                               .db = to_b.sink()},
                              weights.data());
                         scatter(to_h, dx, nullptr), scatter(to_u, du, nullptr);
                     });
    return sums;
}

}  // namespace graft
