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

// The head and its loss in one: logits of labelled rows only, a chunk of rows at a time, never all of them.
//
//   forward    z = h W^T for rows with a label;   loss = scale * sum_n (lse_n - z_{n, label_n})
//              dz = scale (softmax(z) - onehot);  dh = dz W;  dW = dz^T h where W is a Param: formed in forward, while
//              the chunk's logits are at hand, so that the head's product is not done twice
//   backward   dh and dW times dloss (1 as a rule) are added; rows without a label get exactly 0
//
//   h (N, D)   W (V, D)   labels (N) on the host, graft::ignore: no product, no logits, no memory for that row
//   scale      1 / targets of the whole optimiser step, so that micro-batches add up
//   saved      dh of the labelled rows in T; dW in acc<T> where W is a Param
//   numerics   logits, softmax and dz in acc<T>; the sum over rows in f64, in order; chunks depend on V alone
//
// No target at all: loss 0, no gradient is written. Without a tape only the loss is formed.
// Does not compile: last extents, element types or devices of h and W differ.
// Throws: Error for a label outside [0, V), or a wrong number of them.
namespace graft {

struct LinearCrossEntropyOp {};

struct LinearCrossEntropyProblem {
    std::int64_t live = 0, dim = 0, vocab = 0;
    // Rows of logits held at once: 64 MiB of f32, from 48 to 1008 rows.
    std::int64_t chunk() const
    {
        const std::int64_t fits = (std::int64_t{1} << 24) / std::max<std::int64_t>(1, vocab);
        return std::min(std::max<std::int64_t>(live, 1), std::clamp<std::int64_t>(fits / 48 * 48, 48, 1008));
    }
};

template <Float T, class S, Device Dev, Weight W>
Tensor<acc<T>, Shape<1>, Dev> linear_cross_entropy(const Tensor<T, S, Dev>& h, const W& head,
                                                   std::span<const std::int32_t> labels, double scale = 1.0)
{
    using Kernel = kernel<LinearCrossEntropyOp, Dev>;
    using A = acc<T>;
    static_assert(weight_for<W, T, Dev>,
                  "linear_cross_entropy: h and the head must have the same element type and device.");
    static_assert(same_extent<S::last, W::Extents::last>, "linear_cross_entropy: h and the head must have the same D.");
    const auto& w = head.working();
    require(h.cols() == w.cols(), "linear_cross_entropy: h and the head must have the same D");
    require(std::int64_t(labels.size()) == h.rows(), "linear_cross_entropy: there must be one label for each row");
    std::vector<std::int32_t> rows, targets;    // labelled rows and what they must predict
    for (std::size_t n = 0; n < labels.size(); ++n) {
        if (labels[n] == ignore) { continue; }
        require(labels[n] >= 0 && labels[n] < w.rows(), [&] {
            return "linear_cross_entropy: label " + std::to_string(labels[n]) + " of row " + std::to_string(n) +
                   " is outside the vocabulary of " + std::to_string(w.rows());
        });
        rows.push_back(std::int32_t(n)), targets.push_back(labels[n]);
    }

    const LinearCrossEntropyProblem problem{std::int64_t(rows.size()), h.cols(), w.rows()};
    const auto& pool = h.pool();
    const auto live = uploaded(std::span(rows), pool), wanted = uploaded(std::span(targets), pool);
    const bool back = h.tape() != nullptr && (h.needs_grad() || W::trainable);

    auto loss = Tensor<A, Shape<1>, Dev>(1, 1, pool);
    Acts<T, dyn, Dev> dh;
    Tensor<A, typename W::Extents, Dev> dw;
    if (back && h.needs_grad()) { dh = Acts<T, dyn, Dev>(problem.live, problem.dim, pool); }
    if (back && W::trainable) { dw = Tensor<A, typename W::Extents, Dev>(w.rows(), w.cols(), pool); }
    {
        auto gathered = Acts<T, dyn, Dev>(problem.chunk(), problem.dim, pool);
        auto logits = Acts<A, dyn, Dev>(problem.chunk(), problem.vocab, pool);
        const auto each = Buffer<double, Dev>(problem.live, pool);
        const auto scratch = Buffer<std::byte, Dev>(std::int64_t(Kernel::template workspace<T>(problem)), pool);
        compute(pool, [&] {
            Kernel::forward(loss.data(), each.data(), dh.empty() ? View<T>{} : View<T>(dh.view()),
                dw.empty() ? View<A>{} : View<A>(dw.view()), View<T>(gathered.view()), logits.view(),
                View<const T>(h.view()), View<const T>(w.view()), live.data(), wanted.data(), scale, problem,
                scratch.data(), pool->stream());
        });
    }

    loss.on(h.tape());
    if (back && problem.live > 0) {
        loss.want_grad();
        const auto step = [dh, dw, live, to = h.grad(), to_w = weight_grad(head), dy = loss.grad()] {
            const auto into_h = to.sink();
            compute(dy.pool(), [&] {
                if (into_h) {
                    Kernel::scatter(into_h, View<const T>(dh.view()), live.data(), dy.view().data,
                                    dy.pool()->stream());
                }
            });
            if (to_w) {
                const bool first = !to_w.written();
                if (first) { to_w.adopt(dw.memory()); }
                const auto into_w = first ? Sink<A>{to_w.sink().view, false} : to_w.sink();
                compute(dy.pool(), [&] {
                    Kernel::add_scaled(into_w, View<const A>(dw.view()), dy.view().data, dy.pool()->stream());
                });
            }
        };
        h.tape()->record("linear_cross_entropy", loss, step);
    }
    return loss;
}

}  // namespace graft
