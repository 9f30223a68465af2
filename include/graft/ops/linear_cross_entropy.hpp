#pragma once
#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "graft/autograd/param.hpp"
#include "graft/autograd/tape.hpp"
#include "graft/core/labels.hpp"
#include "graft/ops/head_adapter.hpp"

// The head and its loss in one: logits of labelled rows only, a chunk of rows at a time, never all of them.
//
//   forward    z = h W^T for rows with a label;   loss = scale * sum_n (lse_n - z_{n, label_n})
//              dz = scale (softmax(z) - onehot);  dh = dz W;  dW = dz^T h where W is a Param: formed in forward, while
//              the chunk's logits are at hand, so that the head's product is not done twice
//   backward   dh and dW times dloss (1 as a rule) are added; rows without a label get exactly 0
//
//   h (N, D)   W (V, D)   labels (N) on the host, graft::ignore: no product, no logits, no memory for that row
//   scale      1 / targets of the whole optimiser step, so that micro-batches add up
//   with       rows in the place of some of W's, a low-rank part: what an adapter adds (head_adapter.hpp)
//   saved      dh, du of the labelled rows in T; in acc<T> dW where W is a Param, dR and dB
//   numerics   logits, softmax and dz in acc<T>; the sum over rows in f64, in order; chunks depend on V alone
//
// No target at all: loss 0, no gradient is written. Without a tape only the loss is formed.
// Does not compile: last extents, element types or devices of h and W differ.
// Throws: Error for a label outside [0, V), or a wrong number of them.
namespace graft {

struct LinearCrossEntropyOp {};

struct LinearCrossEntropyProblem {
    std::int64_t live = 0, dim = 0, vocab = 0, rank = 0;
    // Rows of logits held at once: 64 MiB of f32, from 48 to 1008 rows.
    std::int64_t chunk() const
    {
        const std::int64_t fits = (std::int64_t{1} << 24) / std::max<std::int64_t>(1, vocab);
        return std::min(std::max<std::int64_t>(live, 1), std::clamp<std::int64_t>(fits / 48 * 48, 48, 1008));
    }
};

namespace detail {

// to += dloss part, where `part` was formed in forward: taken over where it is the first.
template <class Kernel, Float A, class S, Device Dev>
void add_formed(const Grad<A, Dev>& to, const Tensor<A, S, Dev>& part, const Grad<A, Dev>& dloss)
{
    if (!to) { return; }
    const bool first = !to.written();
    if (first) { to.adopt(part.memory()); }
    const auto into = first ? Sink<A>{to.sink().view, false} : to.sink();
    compute(dloss.pool(),
            [&] { Kernel::add_scaled(into, View<const A>(part.view()), dloss.view().data, dloss.pool()->stream()); });
}

}  // namespace detail

template <Float T, class S, Device Dev, Weight W>
Tensor<acc<T>, Shape<1>, Dev>
linear_cross_entropy(const Tensor<T, S, Dev>& h, const W& head, std::span<const std::int32_t> labels,
                     double scale = 1.0, const HeadAdapter<T, W::Extents::extents[0], W::Extents::last, Dev>& with = {})
{
    using Kernel = kernel<LinearCrossEntropyOp, Dev>;
    using A = acc<T>;
    static_assert(weight_for<W, T, Dev>,
                  "linear_cross_entropy: h and the head must have the same element type and device.");
    static_assert(same_extent<S::last, W::Extents::last>, "linear_cross_entropy: h and the head must have the same D.");
    const auto& w = head.working();
    require(h.cols() == w.cols(), "linear_cross_entropy: h and the head must have the same D");
    require(std::int64_t(labels.size()) == h.rows(), "linear_cross_entropy: there must be one label for each row");
    std::vector<std::int32_t> rows, targets;  // labelled rows and what they must predict
    for (std::size_t n = 0; n < labels.size(); ++n) {
        if (labels[n] == ignore) { continue; }
        require(labels[n] >= 0 && labels[n] < w.rows(), [&] {
            return "linear_cross_entropy: label " + std::to_string(labels[n]) + " of row " + std::to_string(n)
                   + " is outside the vocabulary of " + std::to_string(w.rows());
        });
        rows.push_back(std::int32_t(n)), targets.push_back(labels[n]);
    }

    const LinearCrossEntropyProblem problem{std::int64_t(rows.size()), h.cols(), w.rows(), with.rank()};
    const auto& pool = h.pool();
    const auto live = uploaded(std::span(rows), pool), wanted = uploaded(std::span(targets), pool);
    const bool back = h.tape() != nullptr && (h.needs_grad() || W::trainable || !with.empty());

    auto loss = Tensor<A, Shape<1>, Dev>(1, 1, pool);
    Acts<T, dyn, Dev> dh, du;
    Tensor<A, typename W::Extents, Dev> dw;
    Acts<A, dyn, Dev> dr, db;
    if (back && h.needs_grad()) { dh = Acts<T, dyn, Dev>(problem.live, problem.dim, pool); }
    if (back && W::trainable) { dw = Tensor<A, typename W::Extents, Dev>(w.rows(), w.cols(), pool); }
    if (back && !with.rows.empty()) { dr = Acts<A, dyn, Dev>(with.rows.count(), problem.dim, pool); }
    if (back && !with.b.empty()) {
        db = Acts<A, dyn, Dev>(problem.vocab, problem.rank, pool);
        if (with.u.needs_grad()) { du = Acts<T, dyn, Dev>(problem.live, problem.rank, pool); }
    }
    {
        auto gathered = Acts<T, dyn, Dev>(problem.chunk(), problem.dim, pool);
        auto logits = Acts<A, dyn, Dev>(problem.chunk(), problem.vocab, pool);
        detail::HeadRoom room(with, problem.chunk(), back, pool);
        const auto each = Buffer<double, Dev>(problem.live, pool);
        const auto scratch = Buffer<std::byte, Dev>(std::int64_t(Kernel::template workspace<T>(problem)), pool);
        const auto view = [](auto& part) { return part.empty() ? decltype(View(part.view())){} : View(part.view()); };
        compute(pool, [&] {
            Kernel::forward(loss.data(), each.data(), View<T>(view(dh)), View<A>(view(dw)), View<T>(gathered.view()),
                            logits.view(), View<const T>(h.view()), View<const T>(w.view()),
                            room.parts(with, {view(dr), false}, view(du), {view(db), false}), live.data(),
                            wanted.data(), scale, problem, scratch.data(), pool->stream());
        });
    }

    loss.on(h.tape());
    if (back && problem.live > 0) {
        loss.want_grad();
        const auto step = [dh, du, dw, dr, db, live, to_h = h.grad(), to_u = with.u.grad(), to_w = weight_grad(head),
                           to_r = with.rows_grad(), to_b = with.b_grad(), dy = loss.grad()] {
            const auto scatter = [&](const Grad<T, Dev>& to, const Acts<T, dyn, Dev>& part) {
                const auto into = to.sink();
                compute(dy.pool(), [&] {
                    if (into) {
                        Kernel::scatter(into, View<const T>(part.view()), live.data(), dy.view().data,
                                        dy.pool()->stream());
                    }
                });
            };
            scatter(to_h, dh), scatter(to_u, du);
            detail::add_formed<Kernel>(to_w, dw, dy);
            detail::add_formed<Kernel>(to_r, dr, dy), detail::add_formed<Kernel>(to_b, db, dy);
        };
        h.tape()->record("linear_cross_entropy", loss, step);
    }
    return loss;
}

}  // namespace graft
