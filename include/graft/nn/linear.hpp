#pragma once
#include <optional>

#include "graft/ops/add.hpp"
#include "graft/ops/context.hpp"
#include "graft/ops/matmul.hpp"

// A dense linear layer: y = x W^T (+ b).
//
//   Linear<In, Out, T, Dev>          trains W and b
//   FrozenLinear<In, Out, T, Dev>    cannot
//
//   weight (Out, In)   bias (Out), where the checkpoint has one
namespace graft {

template <int In, int Out, Float T, Device Dev, bool Trained> struct DenseLinear {
    using Element = T;
    using On = Dev;
    static constexpr int in_extent = In, out_extent = Out;
    static constexpr bool trainable = Trained;
    template <class S> using Kind = std::conditional_t<Trained, Param<T, S, Dev>, Frozen<T, S, Dev>>;
    using Value = std::conditional_t<Trained, acc<T>, T>;

    Kind<Shape<Out, In>> weight;
    std::optional<Kind<Shape<Out>>> bias;

    DenseLinear() = default;
    DenseLinear(std::int64_t in, std::int64_t out, bool with_bias, const std::shared_ptr<Pool<Dev>>& pool)
        : weight(Tensor<Value, Shape<Out, In>, Dev>(out, in, pool))
    {
        if (with_bias) { bias.emplace(Tensor<Value, Shape<Out>, Dev>(1, out, pool)); }
    }

    template <Float U, class S> Acts<T, Out, Dev> operator()(const Tensor<U, S, Dev>& x) const
    {
        static_assert(same_element<U, T>, "linear: x must have the element type of the layer.");
        auto y = matmul(x, weight);
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

template <int In, int Out, Float T = f32, Device Dev = Cpu> using Linear = DenseLinear<In, Out, T, Dev, true>;
template <int In, int Out, Float T = f32, Device Dev = Cpu> using FrozenLinear = DenseLinear<In, Out, T, Dev, false>;

}  // namespace graft
