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
#include "graft/ops/linear_log_probs.hpp"
#include "graft/ops/lora_embedding.hpp"
#include "graft/ops/rms_norm.hpp"
#include "graft/ops/token_rows.hpp"

// Layers whose kind is chosen at run time, as programs need it: what a checkpoint's layer is made of, and whether it is
// trained, frozen or carries an adapter, comes from files and options. They stand where the static layers stand in the
// same model templates and call the same ops.
//
//   AnyLinear      base: dense frozen, dense trained or NF4; perhaps frozen LoRA branches, whose parts are called
//                  stacked.0, stacked.1, …; and perhaps a LoRA branch that is trained. Branches add, each with its
//                  scale
//   AnyTable       (V, D): embedding and head; frozen or trained. Frozen, it may carry what an adapter trains: rows of
//                  some tokens in the place of its own, for both uses; a LoRA branch for one of the two
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
    Branch& adapt(const LoraOptions& options)
    {
        require(!branch_, "this layer carries an adapter already: take it off with bare(), or lay finished ones below "
                          "with stack()");
        return branch_.emplace(in_, out_, options, pool_);
    }

    // Lays one more finished adapter over the base, empty: before loading.
    Stacked& stack(std::int64_t rank, double scale) { return stacked_.emplace_back(in_, out_, rank, scale, pool_); }

    // Takes the adapter off again.
    void bare() { branch_.reset(); }

    std::optional<Branch>& branch() { return branch_; }
    const std::optional<Branch>& branch() const { return branch_; }
    const std::vector<Stacked>& stacked() const { return stacked_; }
    std::int64_t in() const { return in_; }
    std::int64_t out() const { return out_; }

    template <class S> Acts<T, Out, Dev> operator()(const Tensor<T, S, Dev>& x, const Context<T, Dev>& context) const
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
    std::int64_t in_ = 0, out_ = 0;
    bool with_bias_ = false;
    std::shared_ptr<Pool<Dev>> pool_;
    std::variant<FrozenLinear<In, Out, T, Dev>, Linear<In, Out, T, Dev>, Nf4Linear<In, Out, T, Dev>> base_;
    std::vector<Stacked> stacked_;
    std::optional<Branch> branch_;
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
        if (base == Base::trained) {
            value_.template emplace<1>(Tensor<acc<T>, S, Dev>(rows_, cols_, pool_));
        } else {
            value_.template emplace<0>(Tensor<T, S, Dev>(rows_, cols_, pool_));
        }
    }
    // A frozen weight into a trained one that begins with its values.
    void train()
    {
        if (trained()) { return; }
        const Tensor<T, S, Dev> frozen = std::get<0>(value_).value();
        become(Base::trained);
        compute(pool_, [&] {
            const auto from = frozen.view();
            const auto to = std::get<1>(value_).value().view();
            for (std::int64_t i = 0; i < from.rows; ++i) {
                for (std::int64_t j = 0; j < from.cols(); ++j) { to.row(i)[j] = acc<T>(from.row(i)[j]); }
            }
        });
    }
    bool empty() const { return rows_ == 0; }
    // Calls use(Frozen) or use(Param).
    template <class Use> decltype(auto) with(Use&& use) const { return std::visit(std::forward<Use>(use), value_); }
    bool trained() const { return value_.index() == 1; }
    std::int64_t rows() const { return rows_; }
    std::int64_t cols() const { return cols_; }
    const std::shared_ptr<Pool<Dev>>& pool() const { return pool_; }

    static void parts(auto& self, auto&& part)
    {
        std::visit([&](auto& weight) { part("weight", weight); }, self.value_);
    }

private:
    std::int64_t rows_ = 0, cols_ = 0;
    std::shared_ptr<Pool<Dev>> pool_;
    std::variant<Frozen<T, S, Dev>, Param<T, S, Dev>> value_;
};

// The branch of an embedding. A begins as zero and B as standard normal numbers: the reverse of a linear's.
template <int V, int D, Float T, Device Dev> struct EmbeddingBranch {
    Param<T, Shape<dyn, V>, Dev> a;
    Param<T, Shape<D, dyn>, Dev> b;
    double scale = 1;

    static void parts(auto& self, auto&& part) { part("lora_embedding_A", self.a), part("lora_embedding_B", self.b); }
};

template <int V, int D, Float T, Device Dev> class AnyTable : public AnyWeight<Shape<V, D>, T, Dev> {
public:
    using Weight = AnyWeight<Shape<V, D>, T, Dev>;
    using Weight::Weight;
    using Rows = TokenRows<T, D, Dev>;
    using InBranch = EmbeddingBranch<V, D, T, Dev>;   // of the embedding
    using OutBranch = LoraBranch<D, V, dyn, T, Dev>;  // of the head

    // Trains the rows of these tokens, which begin as the table's: after loading it.
    Rows& train_rows(const std::vector<std::int32_t>& tokens)
    {
        require(!this->trained(), "a table that is trained whole has no rows that are trained alone");
        const auto count = std::int64_t(tokens.size());
        own_ = {};
        own_.value = Param<T, Shape<dyn, D>, Dev>({count, this->cols(), this->pool()});
        std::vector<std::int32_t> slots(std::size_t(this->rows()), -1);
        for (std::size_t s = 0; s < tokens.size(); ++s) { slots.at(std::size_t(tokens[s])) = std::int32_t(s); }
        own_.ids = uploaded(std::span(tokens), this->pool()), own_.slots = uploaded(std::span(slots), this->pool());
        compute(this->pool(), [&] {
            this->with([&](const auto& table) {
                const auto from = table.working().view();
                const auto to = own_.value.value().view();
                for (std::int64_t s = 0; s < count; ++s) {
                    for (std::int64_t j = 0; j < to.cols(); ++j) {
                        to.row(s)[j] = acc<T>(from.row(tokens[std::size_t(s)])[j]);
                    }
                }
            });
        });
        return own_;
    }
    // Lays a branch over the lookup, or over the scores. Values are the caller's to fill.
    InBranch& adapt_embedding(const LoraOptions& options)
    {
        return in_.emplace(InBranch{Param<T, Shape<dyn, V>, Dev>({options.rank, this->rows(), this->pool()}),
                                    Param<T, Shape<D, dyn>, Dev>({this->cols(), options.rank, this->pool()}),
                                    options.scale()});
    }
    OutBranch& adapt_head(const LoraOptions& options)
    {
        return out_.emplace(this->cols(), this->rows(), options, this->pool());
    }
    // Takes the adapter off again.
    void bare() { own_ = {}, in_.reset(), out_.reset(); }
    bool adapted() const { return !own_.empty() || in_ || out_; }
    const Rows& own_rows() const { return own_; }
    const std::optional<InBranch>& embedding_branch() const { return in_; }
    const std::optional<OutBranch>& head_branch() const { return out_; }

    Acts<T, D, Dev> operator()(TapeRef tape, const Buffer<std::int32_t, Dev>& ids) const
    {
        auto y = this->with([&](const auto& table) {
            if constexpr (!std::remove_cvref_t<decltype(table)>::trainable) {
                if (!own_.empty()) { return embedding(tape, ids, table, own_); }
            }
            return embedding(tape, ids, table);
        });
        return in_ ? lora_embedding(std::move(y), tape, ids, in_->a, in_->b, in_->scale) : y;
    }
    // As a head: logits of all rows, the loss of the labelled ones, or sums of log-probabilities.
    Acts<T, V, Dev> logits(const Acts<T, D, Dev>& h, const Context<T, Dev>& context) const
    {
        auto z = this->with([&](const auto& head) { return matmul(h, head); });
        if (out_) { z = out_->add_to(std::move(z), h, context); }
        return own_.empty() ? z : replace_logits(std::move(z), h, own_);
    }
    auto loss(const Acts<T, D, Dev>& h, std::span<const std::int32_t> labels, double scale,
              const Context<T, Dev>& context) const
    {
        const auto added = head_adapter(h, context);
        return this->with([&](const auto& head) { return linear_cross_entropy(h, head, labels, scale, added); });
    }
    auto log_probs(const Acts<T, D, Dev>& h, const ScoredRows& scored, const Context<T, Dev>& context) const
    {
        const auto added = head_adapter(h, context);
        return this->with([&](const auto& head) { return linear_log_probs(h, head, scored, added); });
    }

    static void parts(auto& self, auto&& part)
    {
        Weight::parts(self, part);
        if (!self.own_.empty()) { part("token_adapter.trainable_tokens_delta", self.own_.value); }
        if (self.in_) { part("", *self.in_); }
        if (self.out_) { part("", *self.out_); }
    }

private:
    HeadAdapter<T, V, D, Dev> head_adapter(const Acts<T, D, Dev>& h, const Context<T, Dev>& context) const
    {
        HeadAdapter<T, V, D, Dev> out{.rows = own_};
        if (out_) {
            out.u = matmul(dropout(h, out_->dropout, out_->module, context), out_->a);
            out.b = out_->b, out.scale = out_->scale;
        }
        return out;
    }

    Rows own_;
    std::optional<InBranch> in_;
    std::optional<OutBranch> out_;
};

template <int D, Float T, Device Dev> struct AnyNorm : AnyWeight<Shape<D>, T, Dev> {
    double eps = 1e-5;

    AnyNorm() = default;
    AnyNorm(std::int64_t dim, double eps_, const std::shared_ptr<Pool<Dev>>& pool)
        : AnyWeight<Shape<D>, T, Dev>(1, dim, pool), eps(eps_)
    {}

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
