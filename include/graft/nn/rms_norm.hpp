#pragma once
#include "graft/ops/rms_norm.hpp"

// RMSNorm with its weight (D); frozen or trained, by type.
namespace graft {

template <int D, Float T = f32, Device Dev = Cpu, bool Trained = false> struct RmsNorm {
    std::conditional_t<Trained, Param<T, Shape<D>, Dev>, Frozen<T, Shape<D>, Dev>> weight;
    double eps = 1e-5;

    RmsNorm() = default;
    RmsNorm(std::int64_t dim, double eps_, const std::shared_ptr<Pool<Dev>>& pool)
        : weight(Tensor<std::conditional_t<Trained, acc<T>, T>, Shape<D>, Dev>(1, dim, pool)), eps(eps_)
    {}

    Acts<T, D, Dev> operator()(const Acts<T, D, Dev>& x) const { return rms_norm(x, weight, eps); }
    AddRmsNorm<Acts<T, D, Dev>> after_adding(const Acts<T, D, Dev>& x, const Acts<T, D, Dev>& delta) const
    {
        return add_rms_norm(x, delta, weight, eps);
    }
    static void parts(auto& self, auto&& part) { part("weight", self.weight); }
};

}  // namespace graft
