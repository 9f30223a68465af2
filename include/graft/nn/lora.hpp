#pragma once
#include <cmath>
#include <string>
#include <utility>

#include "graft/core/random.hpp"
#include "graft/ops/dropout.hpp"
#include "graft/ops/lora.hpp"

// LoRA over a frozen linear layer: y = base(x) + s B A drop(x).
//
//   Lora<FrozenLinear<In, Out, T, Dev>, Rank>    LoRA        Lora<Nf4Linear<In, Out, T, Dev>, Rank>    QLoRA
//
//   lora_A.weight (R, In): uniform in +-1/sqrt(In)   lora_B.weight (Out, R): zero, so that training starts at the base
//   A Lora of a model of one's own is filled by begin_adapters or init (nn/init.hpp); Llama does it itself.
//
// LoraBranch is the branch alone, which AnyLinear holds too. StackedBranch is one that is finished and stays as it is,
// in T and without dropout, while another one is trained over it.
// Source: Hu et al. 2021, arXiv:2106.09685; the bound of A is that of PEFT (Kaiming-uniform with a = sqrt 5).
namespace graft {

struct LoraOptions {
    std::int64_t rank = 16;
    double alpha = 32;
    bool rslora = false;  // s = alpha / sqrt(rank) instead of alpha / rank
    double dropout = 0;

    double scale() const { return alpha / (rslora ? std::sqrt(double(rank)) : double(rank)); }
};

// The numbers of A of the module of this name: each module has a stream of its own, a seed gives the same values
// everywhere.
class LoraDraw {
public:
    LoraDraw(std::uint64_t seed, const std::string& name, std::int64_t in)
        : random_{seed}, stream_(stream_of(name.data(), name.size())), in_(in), bound_(1.0 / std::sqrt(double(in)))
    {}

    double operator()(std::int64_t row, std::int64_t col) const
    {
        const auto words = random_(stream_, std::uint64_t(row * in_ + col));
        return (2.0 * double(words[0]) * 0x1p-32 - 1.0) * bound_;
    }

private:
    Philox random_;
    std::uint64_t stream_;
    std::int64_t in_;
    double bound_;
};

template <Float M, class S> void init_lora_a(Tensor<M, S, Cpu>& a, std::uint64_t seed, const std::string& name)
{
    const LoraDraw draw(seed, name, a.cols());
    for (std::int64_t i = 0; i < a.rows(); ++i) {
        for (std::int64_t j = 0; j < a.cols(); ++j) { a.view().row(i)[j] = M(draw(i, j)); }
    }
}

// Normal numbers of a deviation from the same streams: B of an embedding's branch, A of one that begins as gaussian.
template <Float M, class S>
void init_normal(Tensor<M, S, Cpu>& b, std::uint64_t seed, const std::string& name, double deviation = 1)
{
    const Philox random{seed};
    const std::uint64_t stream = stream_of(name.data(), name.size());
    for (std::int64_t i = 0; i < b.rows(); ++i) {
        for (std::int64_t j = 0; j < b.cols(); ++j) {
            const auto words = random(stream, std::uint64_t(i * b.cols() + j));
            b.view().row(i)[j] = M(deviation * Philox::normal(words[0], words[1]));
        }
    }
}

template <int In, int Out, int Rank, Float T, Device Dev> struct LoraBranch {
    Param<T, Shape<Rank, In>, Dev> a;
    Param<T, Shape<Out, Rank>, Dev> b;
    double scale = 1, dropout = 0;
    std::uint32_t module = 0;  // keys the random numbers of this branch's dropout

    LoraBranch() = default;
    LoraBranch(std::int64_t in, std::int64_t out, const LoraOptions& options, const std::shared_ptr<Pool<Dev>>& pool)
        : a(Tensor<acc<T>, Shape<Rank, In>, Dev>(options.rank, in, pool)),
          b(Tensor<acc<T>, Shape<Out, Rank>, Dev>(out, options.rank, pool)), scale(options.scale()),
          dropout(options.dropout)
    {}

    // Adds the branch into y.
    template <class S>
    Acts<T, Out, Dev> add_to(Acts<T, Out, Dev> y, const Tensor<T, S, Dev>& x, const Context<T, Dev>& context) const
    {
        return lora(std::move(y), graft::dropout(x, dropout, module, context), a, b, scale);
    }
    static void parts(auto& self, auto&& part) { part("lora_A.weight", self.a), part("lora_B.weight", self.b); }
};

template <int In, int Out, int Rank, Float T, Device Dev> struct StackedBranch {
    Frozen<T, Shape<Rank, In>, Dev> a;
    Frozen<T, Shape<Out, Rank>, Dev> b;
    double scale = 1;

    StackedBranch() = default;
    StackedBranch(std::int64_t in, std::int64_t out, std::int64_t rank, double scale_,
                  const std::shared_ptr<Pool<Dev>>& pool)
        : a(Tensor<T, Shape<Rank, In>, Dev>(rank, in, pool)), b(Tensor<T, Shape<Out, Rank>, Dev>(out, rank, pool)),
          scale(scale_)
    {}

    // Adds the branch into y.
    template <class S> Acts<T, Out, Dev> add_to(Acts<T, Out, Dev> y, const Tensor<T, S, Dev>& x) const
    {
        return lora(std::move(y), x, a, b, scale);
    }
    static void parts(auto& self, auto&& part) { part("lora_A.weight", self.a), part("lora_B.weight", self.b); }
};

template <class Base, int Rank> struct Lora {
    static_assert(!Base::trainable, "Lora: the base must be frozen: use FrozenLinear or Nf4Linear.");
    using T = typename Base::Element;
    using Dev = typename Base::On;
    static constexpr int In = Base::in_extent, Out = Base::out_extent, rank = Rank;

    Base base;
    LoraBranch<In, Out, Rank, T, Dev> branch;

    Lora() = default;
    Lora(std::int64_t in, std::int64_t out, bool with_bias, const std::shared_ptr<Pool<Dev>>& pool,
         const LoraOptions& options = {.rank = Rank})
        : base(in, out, with_bias, pool), branch(in, out, options, pool)
    {}

    template <Float U, class S>
    Acts<T, Out, Dev> operator()(const Tensor<U, S, Dev>& x, const Context<T, Dev>& context) const
    {
        static_assert(same_element<U, T>, "linear: x must have the element type of the layer.");
        return branch.add_to(base(x), x, context);
    }
    static void parts(auto& self, auto&& part) { part("", self.base), part("", self.branch); }
};

}  // namespace graft
