#pragma once
#include <optional>

#include "graft/ops/add.hpp"
#include "graft/ops/context.hpp"
#include "graft/ops/nf4_matmul.hpp"

// A linear layer whose weight is NF4 codes, frozen: the base of QLoRA. y = x W^T (+ b), the bias dense and frozen.
namespace graft {

template <int In, int Out, Float T = f32, Device Dev = Cpu> struct Nf4Linear {
    using Element = T;
    using On = Dev;
    static constexpr int in_extent = In, out_extent = Out;
    static constexpr bool trainable = false;

    Nf4Weight<Shape<Out, In>, Dev> weight;
    std::optional<Frozen<T, Shape<Out>, Dev>> bias;
    std::int64_t in = In, out = Out;  // before the codes are there

    Nf4Linear() = default;
    Nf4Linear(std::int64_t rows_in, std::int64_t rows_out, bool with_bias, const std::shared_ptr<Pool<Dev>>& pool)
        : in(rows_in), out(rows_out)
    {
        if (with_bias) { bias.emplace(Tensor<T, Shape<Out>, Dev>(1, rows_out, pool)); }
    }

    template <Float U, class S> Acts<T, Out, Dev> operator()(const Tensor<U, S, Dev>& x) const
    {
        static_assert(same_element<U, T>, "linear: x must have the element type of the layer.");
        auto y = nf4_matmul(x, weight);
        return bias ? add_bias(std::move(y), *bias) : y;
    }
    template <Float U, class S> Acts<T, Out, Dev> operator()(const Tensor<U, S, Dev>& x, const Context<T, Dev>&) const
    {
        return (*this)(x);
    }
    static void parts(auto& self, auto&& part)
    {
        part("weight", self.weight);
        if (self.bias) { part("bias", *self.bias); }
    }
};

}  // namespace graft
