#pragma once
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "graft/nn/linear.hpp"
#include "graft/nn/lora.hpp"
#include "graft/nn/nf4_linear.hpp"
#include "graft/ops/embedding.hpp"
#include "graft/ops/linear_cross_entropy.hpp"
#include "graft/ops/rms_norm.hpp"

// Layers whose kind is chosen at run time, as programs need it: what a checkpoint's layer is made of, and whether it is
// trained, frozen or carries an adapter, comes from files and options. They stand where the static layers stand in the
// same model templates and call the same ops.
//
//   AnyLinear      base: dense frozen, dense trained or NF4; perhaps frozen LoRA branches, whose parts are called
//                  stacked.0, stacked.1, …; and perhaps a LoRA branch that is trained. Branches add, each with its
//                  scale
//   AnyTable       (V, D): embedding and head; frozen or trained
//   AnyNorm        (D): frozen or trained
namespace graft {

enum class Base { frozen, trained, nf4 };

template <int In, int Out, Float T, Device Dev> class AnyLinear {
public:
    using Branch = LoraBranch<In, Out, dyn, T, Dev>;
    using Stacked = StackedBranch<In, Out, dyn, T, Dev>;

    AnyLinear() = default;
    AnyLinear(std::int64_t in, std::int64_t out, bool with_bias, const std::shared_ptr<Pool<Dev>>& pool,
              Base base = Base::frozen)
        : in_(in), out_(out), with_bias_(with_bias), pool_(pool)
    {
        become(base);
    }

    // Makes the base of another kind, empty: before loading. From another pool where one is given.
    void become(Base base, const std::shared_ptr<Pool<Dev>>& pool)
    {
        pool_ = pool;
        become(base);
    }
    void become(Base base)
    {
        switch (base) {
        case Base::frozen: base_.template emplace<0>(in_, out_, with_bias_, pool_); break;
        case Base::trained: base_.template emplace<1>(in_, out_, with_bias_, pool_); break;
        case Base::nf4: base_.template emplace<2>(in_, out_, with_bias_, pool_); break;
        }
    }
    // Lays an adapter over the base: B is zero; A is the caller's to fill.
    Branch& adapt(const LoraOptions& options) { return branch_.emplace(in_, out_, options, pool_); }

    // Lays one more finished adapter over the base, empty: before loading.
    Stacked& stack(std::int64_t rank, double scale)
    {
        return stacked_.emplace_back(in_, out_, rank, scale, pool_);
    }

    std::optional<Branch>&       branch() { return branch_; }
    const std::optional<Branch>& branch() const { return branch_; }
    const std::vector<Stacked>&  stacked() const { return stacked_; }
    std::int64_t                 in() const { return in_; }
    std::int64_t                 out() const { return out_; }

    template <class S>
    Acts<T, Out, Dev> operator()(const Tensor<T, S, Dev>& x, const Context<T, Dev>& context) const
    {
        auto y = std::visit([&](const auto& base) { return base(x); }, base_);
        for (const Stacked& stacked : stacked_) { y = stacked.add_to(std::move(y), x); }
        return branch_ ? branch_->add_to(std::move(y), x, context) : y;
    }

    static void parts(auto& self, auto&& part)
    {
        std::visit([&](auto& base) { part("", base); }, self.base_);
        part("stacked", self.stacked_);
        if (self.branch_) { part("", *self.branch_); }
    }

private:
    std::int64_t               in_ = 0, out_ = 0;
    bool                       with_bias_ = false;
    std::shared_ptr<Pool<Dev>> pool_;
    std::variant<FrozenLinear<In, Out, T, Dev>, Linear<In, Out, T, Dev>, Nf4Linear<In, Out, T, Dev>> base_;
    std::vector<Stacked>       stacked_;
    std::optional<Branch>      branch_;
};

// A weight that is frozen or trained.
template <class S, Float T, Device Dev> class AnyWeight {
public:
    AnyWeight() = default;
    AnyWeight(std::int64_t rows, std::int64_t cols, const std::shared_ptr<Pool<Dev>>& pool)
        : rows_(rows), cols_(cols), pool_(pool)
    {
        become(Base::frozen);
    }
    // Makes the weight of another kind, empty: before loading. There are no NF4 tables or norms. From another pool
    // where one is given.
    void become(Base base, const std::shared_ptr<Pool<Dev>>& pool)
    {
        pool_ = pool;
        become(base);
    }
    void become(Base base)
    {
        require(base != Base::nf4, "embeddings, heads and norms stay dense");
        if (base == Base::trained) { value_.template emplace<1>(Tensor<acc<T>, S, Dev>(rows_, cols_, pool_)); }
        else { value_.template emplace<0>(Tensor<T, S, Dev>(rows_, cols_, pool_)); }
    }
    bool empty() const { return rows_ == 0; }
    // Calls use(Frozen) or use(Param).
    template <class Use> decltype(auto) with(Use&& use) const { return std::visit(std::forward<Use>(use), value_); }
    bool trained() const { return value_.index() == 1; }

    static void parts(auto& self, auto&& part)
    {
        std::visit([&](auto& weight) { part("weight", weight); }, self.value_);
    }

private:
    std::int64_t               rows_ = 0, cols_ = 0;
    std::shared_ptr<Pool<Dev>> pool_;
    std::variant<Frozen<T, S, Dev>, Param<T, S, Dev>> value_;
};

template <int V, int D, Float T, Device Dev> struct AnyTable : AnyWeight<Shape<V, D>, T, Dev> {
    using AnyWeight<Shape<V, D>, T, Dev>::AnyWeight;

    Acts<T, D, Dev> operator()(TapeRef tape, const Buffer<std::int32_t, Dev>& ids) const
    {
        return this->with([&](const auto& table) { return embedding(tape, ids, table); });
    }
    // As a head: logits of all rows, or the loss of the labelled ones.
    Acts<T, V, Dev> logits(const Acts<T, D, Dev>& h) const
    {
        return this->with([&](const auto& head) { return matmul(h, head); });
    }
    auto loss(const Acts<T, D, Dev>& h, std::span<const std::int32_t> labels, double scale) const
    {
        return this->with([&](const auto& head) { return linear_cross_entropy(h, head, labels, scale); });
    }
};

template <int D, Float T, Device Dev> struct AnyNorm : AnyWeight<Shape<D>, T, Dev> {
    double eps = 1e-5;

    AnyNorm() = default;
    AnyNorm(std::int64_t dim, double eps_, const std::shared_ptr<Pool<Dev>>& pool)
        : AnyWeight<Shape<D>, T, Dev>(1, dim, pool), eps(eps_) {}

    Acts<T, D, Dev> operator()(const Acts<T, D, Dev>& x) const
    {
        return this->with([&](const auto& w) { return rms_norm(x, w, eps); });
    }
    AddRmsNorm<Acts<T, D, Dev>> after_adding(const Acts<T, D, Dev>& x, const Acts<T, D, Dev>& delta) const
    {
        return this->with([&](const auto& w) { return add_rms_norm(x, delta, w, eps); });
    }
};

}  // namespace graft
