#pragma once
#include <algorithm>
#include <cmath>
#include <span>

#include "graft/core/parallel.hpp"
#include "graft/nn/trained.hpp"

// Global gradient norm and the factor that clips it.
//
//   norm = sqrt(sum over all trained tensors of g^2)        factor = min(1, limit / (norm + 1e-6)); limit 0: no clipping
//
// Sums in f64: rows in order, tensors in order. Source: torch.nn.utils.clip_grad_norm_ (the 1e-6).
namespace graft {

struct GradNormOp {};

template <Float T, Device Dev> double grad_norm(std::span<const TrainedTensor<T, Dev>> trained)
{
    double sum = 0;
    for (const auto& tensor : trained) {
        if (tensor.grad.written()) { sum += kernel<GradNormOp, Dev>::squares(tensor.grad.view()); }
    }
    return std::sqrt(sum);
}

inline double clip_factor(double norm, double limit) { return limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0; }

template <> struct kernel<GradNormOp, Cpu> {
    template <class A> static double squares(View<const A> g)
    {
        double sum = 0;
        for (std::int64_t i = 0; i < g.rows; ++i) {
            double part[8] = {};
            const A* row = g.row(i);
            for (std::int64_t j = 0; j < g.cols(); ++j) { part[j % 8] += double(row[j]) * double(row[j]); }
            for (double p : part) { sum += p; }
        }
        return sum;
    }
};

}  // namespace graft
