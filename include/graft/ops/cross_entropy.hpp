#pragma once
#include "graft/autograd/tape.hpp"
#include "graft/core/labels.hpp"

// Cross-entropy of logits against labels, some of which are ignored.
//
//   forward    loss = scale * sum over labelled rows n of (lse_n - z_{n, label_n}),  lse_n = log sum_j exp z_nj
//   backward   dz_nj += dloss scale (exp(z_nj - lse_n) - [j = label_n]);  exactly 0 where the label is ignored
//
//   z (N, V)   labels (N) of int32, graft::ignore: not scored; already shifted: labels[n] is what row n must predict
//   scale      1 / targets of the whole optimiser step, so that micro-batches add up
//   saved      z, lse (N) in acc<T>, labels
//   numerics   a row in acc<T>; the sum over rows in f64, in order
//
// No target at all: loss 0, gradients 0. Throws: Error where the numbers of rows and labels differ.
namespace graft {

struct CrossEntropyOp {};

template <Float T, class S, Device Dev>
Tensor<acc<T>, Shape<1>, Dev> cross_entropy(const Tensor<T, S, Dev>& z, const Buffer<std::int32_t, Dev>& labels,
                                            double scale = 1.0)
{
    using Kernel = kernel<CrossEntropyOp, Dev>;
    using A = acc<T>;
    require(z.rows() == labels.size(), "cross_entropy: there must be one label for each row of logits");
    auto loss = Tensor<A, Shape<1>, Dev>(1, 1, z.pool());
    auto lse = Buffer<A, Dev>(z.rows(), z.pool());
    {
        const auto each = Buffer<double, Dev>(z.rows(), z.pool());
        compute(z.pool(), [&] {
            Kernel::forward(loss.data(), lse.data(), each.data(), View<const T>(z.view()), labels.data(), scale,
                            z.pool()->stream());
        });
    }
    loss.on(z.tape());
    if (Tape* tape = z.tape(); tape != nullptr && z.needs_grad()) {
        loss.want_grad();
        tape->record("cross_entropy", loss, [z = z.detached(), lse, labels, scale, dz = z.grad(), dy = loss.grad()] {
            const auto sink = dz.sink();
            compute(z.pool(), [&] {
                Kernel::backward(sink, dy.view().data, View<const T>(z.view()), lse.data(), labels.data(), scale,
                                 z.pool()->stream());
            });
        });
    }
    return loss;
}

}  // namespace graft
