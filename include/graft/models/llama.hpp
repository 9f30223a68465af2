#pragma once
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "graft/autograd/recompute.hpp"
#include "graft/models/adapter_config.hpp"
#include "graft/models/config.hpp"
#include "graft/models/rope.hpp"
#include "graft/nn/any.hpp"
#include "graft/nn/embedding.hpp"
#include "graft/nn/init.hpp"
#include "graft/nn/rms_norm.hpp"
#include "graft/nn/trained.hpp"
#include "graft/nn/visit.hpp"
#include "graft/ops/attention.hpp"
#include "graft/ops/qkv.hpp"
#include "graft/ops/swiglu_mlp.hpp"

// Llama and its relatives that share its block: SmolLM, Mistral (without a window), Qwen2 (biases on q, k, v).
//
//   h = E[ids]
//   for each block:   h += o(attention(rope(q(a)), rope(k(a)), v(a))),  a = norm(h)
//                     h += down(silu(gate(m)) up(m)),                   m = norm(h)
//   logits = norm(h) W^T,  W the head, or E where tied
//
// A model takes its sizes from a shape, known at compile time, or from a config (dynamic_shape): extents that both give
// must agree. What its layers are made of is the kit's choice:
//
//   AnyKit<T, Dev>            decided at run time: what programs use
//   FullKit<T, Dev>           everything is trained
//   LoraKit<T, Dev, Rank>     linears of the blocks carry an adapter over a frozen dense base
//   QloraKit<T, Dev, Rank>    the same over NF4
//
// The adapters of LoraKit and QloraKit begin as add_adapter begins them, with seed 0 and alpha 32, when the model is
// made; load_weights then fills the base. begin_adapters(model, seed) draws them anew; add_adapter
// (checkpoint/adapter.hpp) gives them other settings. `adapter` holds the settings of what add_adapter has laid, which
// save_adapter writes.
//
// A copy of a model is a second handle on the same weights: training one trains the other. What a reference says is
// formed before the training (reference_log_probs), or by a model that is loaded again.
//
// Source: Touvron et al. 2023, arXiv:2302.13971; names as in the published checkpoints.
namespace graft {

struct LlamaShape {
    int vocab = dyn, dim = dyn, ffn = dyn, layers = dyn, heads = dyn, kv_heads = dyn, head_dim = dyn;

    constexpr int head() const { return head_dim != dyn ? head_dim : dim == dyn || heads == dyn ? dyn : dim / heads; }
    constexpr int q_width() const { return mul(heads, head()); }
    constexpr int kv_width() const { return mul(kv_heads, head()); }
};
inline constexpr LlamaShape dynamic_shape{};

// The config of a model whose shape is known at compile time.
inline ModelConfig config_of(const LlamaShape& s)
{
    ModelConfig c;
    c.vocab = s.vocab, c.dim = s.dim, c.ffn = s.ffn, c.layers = s.layers, c.heads = s.heads, c.kv_heads = s.kv_heads;
    c.head_dim = s.head(), c.max_positions = 2048, c.eps = 1e-5;
    return c;
}

template <Float T_, Device Dev_ = Cpu> struct AnyKit {
    using T = T_;
    using Dev = Dev_;
    template <int In, int Out> using Proj = AnyLinear<In, Out, T, Dev>;
    template <int V, int D> using Rows = AnyTable<V, D, T, Dev>;
    template <int D> using Norm = AnyNorm<D, T, Dev>;
};
template <Float T_, Device Dev_ = Cpu> struct FullKit {
    using T = T_;
    using Dev = Dev_;
    template <int In, int Out> using Proj = Linear<In, Out, T, Dev>;
    template <int V, int D> using Rows = Table<V, D, T, Dev, true>;
    template <int D> using Norm = RmsNorm<D, T, Dev, true>;
};
template <Float T_, Device Dev_ = Cpu, int Rank = 16> struct LoraKit {
    using T = T_;
    using Dev = Dev_;
    template <int In, int Out> using Proj = Lora<FrozenLinear<In, Out, T, Dev>, Rank>;
    template <int V, int D> using Rows = Table<V, D, T, Dev, false>;
    template <int D> using Norm = RmsNorm<D, T, Dev, false>;
};
template <Float T_, Device Dev_ = Cpu, int Rank = 16> struct QloraKit {
    using T = T_;
    using Dev = Dev_;
    template <int In, int Out> using Proj = Lora<Nf4Linear<In, Out, T, Dev>, Rank>;
    template <int V, int D> using Rows = Table<V, D, T, Dev, false>;
    template <int D> using Norm = RmsNorm<D, T, Dev, false>;
};

template <LlamaShape S, class Kit> struct LlamaAttention {
    using T = typename Kit::T;
    using Dev = typename Kit::Dev;
    static_assert(multiple_of<S.dim, S.heads> || S.head_dim != dyn,
                  "llama: dim must be a multiple of heads, or head_dim be given.");
    static_assert(multiple_of<S.head(), 2>, "llama: the head size must be even: rotary positions turn pairs.");
    static_assert(multiple_of<S.heads, S.kv_heads>, "llama: heads must be a multiple of kv_heads.");

    typename Kit::template Proj<S.dim, S.q_width()> q;
    typename Kit::template Proj<S.dim, S.kv_width()> k, v;
    typename Kit::template Proj<S.q_width(), S.dim> o;
    int head_dim = S.head();

    LlamaAttention() = default;
    LlamaAttention(const ModelConfig& c, const std::shared_ptr<Pool<Dev>>& pool)
        : q(c.dim, c.q_width(), c.attention_bias, pool), k(c.dim, c.kv_width(), c.attention_bias, pool),
          v(c.dim, c.kv_width(), c.attention_bias, pool), o(c.q_width(), c.dim, c.o_bias, pool),
          head_dim(int(c.head_dim))
    {}

    Acts<T, S.dim, Dev> operator()(const Acts<T, S.dim, Dev>& x, const Context<T, Dev>& context) const
    {
        const auto heads = qkv(x, q, k, v, context);
        return o(attention(heads.q, heads.k, heads.v, head_dim, context), context);
    }
    static void parts(auto& self, auto&& part)
    {
        part("q_proj", self.q), part("k_proj", self.k), part("v_proj", self.v), part("o_proj", self.o);
    }
};

template <LlamaShape S, class Kit> struct LlamaMlp {
    using T = typename Kit::T;
    using Dev = typename Kit::Dev;
    typename Kit::template Proj<S.dim, S.ffn> gate, up;
    typename Kit::template Proj<S.ffn, S.dim> down;

    LlamaMlp() = default;
    LlamaMlp(const ModelConfig& c, const std::shared_ptr<Pool<Dev>>& pool)
        : gate(c.dim, c.ffn, c.mlp_bias, pool), up(c.dim, c.ffn, c.mlp_bias, pool), down(c.ffn, c.dim, c.mlp_bias, pool)
    {}

    Acts<T, S.dim, Dev> operator()(const Acts<T, S.dim, Dev>& x, const Context<T, Dev>& context) const
    {
        return swiglu_mlp(x, gate, up, down, context);
    }
    static void parts(auto& self, auto&& part)
    {
        part("gate_proj", self.gate), part("up_proj", self.up), part("down_proj", self.down);
    }
};

template <LlamaShape S, class Kit> struct LlamaBlock {
    using T = typename Kit::T;
    using Dev = typename Kit::Dev;
    typename Kit::template Norm<S.dim> attn_norm, mlp_norm;
    LlamaAttention<S, Kit> attn;
    LlamaMlp<S, Kit> mlp;

    LlamaBlock() = default;
    LlamaBlock(const ModelConfig& c, const std::shared_ptr<Pool<Dev>>& pool)
        : attn_norm(c.dim, c.eps, pool), mlp_norm(c.dim, c.eps, pool), attn(c, pool), mlp(c, pool)
    {}

    Acts<T, S.dim, Dev> operator()(const Acts<T, S.dim, Dev>& x, const Context<T, Dev>& context) const
    {
        const auto middle = mlp_norm.after_adding(x, attn(attn_norm(x), context));
        return middle.sum + mlp(middle.normed, context);
    }
    static void parts(auto& self, auto&& part)
    {
        part("self_attn", self.attn), part("mlp", self.mlp);
        part("input_layernorm", self.attn_norm), part("post_attention_layernorm", self.mlp_norm);
    }
};

// Layers that see only a window are right as long as documents fit into it.
inline void require_window(const ModelConfig& c, std::int64_t tokens)
{
    require(!c.sliding_window || tokens <= *c.sliding_window, [&] {
        return "a document of " + std::to_string(tokens) + " tokens: the model sees a window of "
               + std::to_string(*c.sliding_window) + ", and longer ones are not supported yet";
    });
}

template <LlamaShape S, class Kit, template <LlamaShape, class> class Block = LlamaBlock> class Llama {
public:
    using T = typename Kit::T;
    using Dev = typename Kit::Dev;
    using X = Acts<T, S.dim, Dev>;

    typename Kit::template Rows<S.vocab, S.dim> embed, head;  // head is empty where tied
    std::vector<Block<S, Kit>> layers;
    typename Kit::template Norm<S.dim> norm;
    ModelConfig config;
    std::optional<AdapterConfig> adapter;  // what add_adapter has laid on it
    ModelAnchor anchor;

    Llama() = default;
    explicit Llama(const ModelConfig& c, const std::shared_ptr<Pool<Dev>>& pool = Pool<Dev>::common());
    // Rows that come out of the last norm: what the head reads.
    X hidden(TapeRef tape, const Buffer<std::int32_t, Dev>& ids, const Context<T, Dev>& context) const;
    // Logits of every row: (N, V).
    Acts<T, S.vocab, Dev> operator()(TapeRef tape, const Buffer<std::int32_t, Dev>& ids,
                                     const Context<T, Dev>& context) const;
    // scale times the summed cross-entropy of the rows that have a label; no logits of the others are formed.
    Tensor<acc<T>, Shape<1>, Dev> loss(TapeRef tape, const Buffer<std::int32_t, Dev>& ids,
                                       const Context<T, Dev>& context, std::span<const std::int32_t> labels,
                                       double scale) const;
    // Sums of log-probabilities of the tokens that are scored; no logits of other rows are formed.
    Tensor<double, Shape<dyn>, Dev> log_probs(TapeRef tape, const Buffer<std::int32_t, Dev>& ids,
                                              const Context<T, Dev>& context, const ScoredRows& scored) const;
    // cos and sin for documents of up to `count` tokens: goes into the context. A dynamic or longrope scaling turns
    // every position by what that length asks for. Throws Error beyond what the model covers.
    std::shared_ptr<const RopeTable<acc<T>, Dev>>
    positions(std::int64_t count, const std::shared_ptr<Pool<Dev>>& pool = Pool<Dev>::common()) const;
    // An empty cache for one document of up to `capacity` tokens.
    KvCache<T, Dev> cache(std::int64_t capacity) const;
    const auto& scorer() const { return config.tied ? embed : head; }

    static void parts(auto& self, auto&& part)
    {
        part("model.embed_tokens", self.embed), part("model.layers", self.layers), part("model.norm", self.norm);
        if (!self.config.tied) { part("lm_head", self.head); }
    }
};

template <LlamaShape S, class Kit, template <LlamaShape, class> class Block>
Llama<S, Kit, Block>::Llama(const ModelConfig& c, const std::shared_ptr<Pool<Dev>>& pool)
    : embed(c.vocab, c.dim, pool), norm(c.dim, c.eps, pool), config(c)
{
    require(agree(int(c.dim), S.dim) && agree(int(c.ffn), S.ffn) && agree(int(c.vocab), S.vocab)
                && agree(int(c.layers), S.layers) && agree(int(c.heads), S.heads) && agree(int(c.kv_heads), S.kv_heads)
                && agree(int(c.head_dim), S.head()),
            "llama: the sizes of the config differ from the model's static shape");
    require(c.head_dim > 0 && c.head_dim % 2 == 0, [&] {
        return "llama: the head size must be even, rotary positions turn pairs; it is " + std::to_string(c.head_dim);
    });
    require(c.kv_heads > 0 && c.heads % c.kv_heads == 0, [&] {
        return "llama: heads must be a multiple of kv_heads; they are " + std::to_string(c.heads) + " and "
               + std::to_string(c.kv_heads);
    });
    if (!c.tied) { head = {c.vocab, c.dim, pool}; }
    for (std::int64_t i = 0; i < c.layers; ++i) { layers.emplace_back(c, pool); }
    begin_adapters(*this, 0);
}

template <LlamaShape S, class Kit, template <LlamaShape, class> class Block>
typename Llama<S, Kit, Block>::X Llama<S, Kit, Block>::hidden(TapeRef tape, const Buffer<std::int32_t, Dev>& ids,
                                                              const Context<T, Dev>& context) const
{
    for (const Segment& s : *context.segments) { require_window(config, s.before + s.count); }
    X x = embed(tape, ids);
    for (std::size_t i = 0; i < layers.size(); ++i) {
        const Context<T, Dev> here = context.at_layer(int(i));
        const auto& layer = layers[i];
        if (context.recompute && tape.tape != nullptr) {
            x = graft::recompute([&layer, here](const X& in) { return layer(in, here); }, x);
        } else {
            x = layer(x, here);
        }
    }
    return norm(x);
}

template <LlamaShape S, class Kit, template <LlamaShape, class> class Block>
Acts<typename Kit::T, S.vocab, typename Kit::Dev> Llama<S, Kit, Block>::operator()(TapeRef tape,
                                                                                   const Buffer<std::int32_t, Dev>& ids,
                                                                                   const Context<T, Dev>& context) const
{
    return scorer().logits(hidden(tape, ids, context), context);
}

template <LlamaShape S, class Kit, template <LlamaShape, class> class Block>
Tensor<acc<typename Kit::T>, Shape<1>, typename Kit::Dev>
Llama<S, Kit, Block>::loss(TapeRef tape, const Buffer<std::int32_t, Dev>& ids, const Context<T, Dev>& context,
                           std::span<const std::int32_t> labels, double scale) const
{
    return scorer().loss(hidden(tape, ids, context), labels, scale, context);
}

template <LlamaShape S, class Kit, template <LlamaShape, class> class Block>
Tensor<double, Shape<dyn>, typename Kit::Dev>
Llama<S, Kit, Block>::log_probs(TapeRef tape, const Buffer<std::int32_t, Dev>& ids, const Context<T, Dev>& context,
                                const ScoredRows& scored) const
{
    return scorer().log_probs(hidden(tape, ids, context), scored, context);
}

template <LlamaShape S, class Kit, template <LlamaShape, class> class Block>
std::shared_ptr<const RopeTable<acc<typename Kit::T>, typename Kit::Dev>>
Llama<S, Kit, Block>::positions(std::int64_t count, const std::shared_ptr<Pool<Dev>>& pool) const
{
    const std::int64_t most = covered_positions(config);
    require(config.max_positions == 0 || count <= most, [&] {
        return "positions(" + std::to_string(count) + "): the model covers " + std::to_string(most)
               + " positions: ask for no more, or give its config a scaling that covers them (checkpoint/"
                 "rope_config.hpp)";
    });
    return rope_table<acc<T>, Dev>(rope_angles(config.rope, config.head_dim, count), count, pool);
}

template <LlamaShape S, class Kit, template <LlamaShape, class> class Block>
KvCache<typename Kit::T, typename Kit::Dev> Llama<S, Kit, Block>::cache(std::int64_t capacity) const
{
    KvCache<T, Dev> cache;
    for (std::size_t i = 0; i < layers.size(); ++i) {
        cache.layers.push_back({{capacity, config.kv_width()}, {capacity, config.kv_width()}});
    }
    return cache;
}

}  // namespace graft
