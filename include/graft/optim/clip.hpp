#pragma once
#include <algorithm>
#include <cmath>
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

inline double clip_factor(double norm, double limit) { return limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0; }

}  // namespace graft
