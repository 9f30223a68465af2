#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>

#include "graft/nn/trained.hpp"

// Global gradient norm and the factor that clips it.
//
//   norm = sqrt(sum over all trained tensors of g^2)        factor = min(1, limit / (norm + 1e-6)); limit 0: no
//                                                           clipping
//
// Sums in f64: rows in order, tensors in order. Source: torch.nn.utils.clip_grad_norm_ (the 1e-6).
namespace graft {

struct GradNormOp {};

template <Float T, Device Dev> double grad_norm(std::span<const TrainedTensor<T, Dev>> trained)
{
    double sum = 0;
    for (const auto& tensor : trained) {
        if (!tensor.grad.written()) { continue; }
        compute(tensor.grad.pool(), [&] { sum += kernel<GradNormOp, Dev>::squares(tensor.grad.view()); });
    }
    return std::sqrt(sum);
}

namespace detail {

// The first tensor whose gradient is not finite, or whose squares are not.
template <Float T, Device Dev> std::size_t first_not_finite(std::span<const TrainedTensor<T, Dev>> trained)
{
    for (std::size_t i = 0; i < trained.size(); ++i) {
        if (!std::isfinite(grad_norm<T, Dev>(trained.subspan(i, 1)))) { return i; }
    }
    return 0;
}

}  // namespace detail

inline double clip_factor(double norm, double limit) { return limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0; }

}  // namespace graft
