#pragma once
#include "graft/checkpoint/modules.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "graft/models/config.hpp"

namespace graft {

GRAFT_INLINE std::vector<ModuleInfo> module_names(const ModelConfig& c)
{
    const auto linear = [](std::string name, std::int64_t in, std::int64_t out, bool bias) {
        return ModuleInfo{.name = std::move(name), .kind = ModuleKind::linear, .in = in, .out = out, .bias = bias};
    };
    const auto other = [](std::string name) { return ModuleInfo{.name = std::move(name)}; };
    std::vector<ModuleInfo> out;
    out.push_back(other("model"));
    out.push_back({.name = "model.embed_tokens", .kind = ModuleKind::embedding, .in = c.vocab, .out = c.dim});
    out.push_back(other("model.layers"));
    for (std::int64_t i = 0; i < c.layers; ++i) {
        const std::string layer = "model.layers." + std::to_string(i);
        const std::string attn = layer + ".self_attn", mlp = layer + ".mlp";
        out.push_back(other(layer));
        out.push_back(other(attn));
        out.push_back(linear(attn + ".q_proj", c.dim, c.q_width(), c.attention_bias));
        out.push_back(linear(attn + ".k_proj", c.dim, c.kv_width(), c.attention_bias));
        out.push_back(linear(attn + ".v_proj", c.dim, c.kv_width(), c.attention_bias));
        out.push_back(linear(attn + ".o_proj", c.q_width(), c.dim, c.o_bias));
        out.push_back(other(mlp));
        out.push_back(linear(mlp + ".gate_proj", c.dim, c.ffn, c.mlp_bias));
        out.push_back(linear(mlp + ".up_proj", c.dim, c.ffn, c.mlp_bias));
        out.push_back(linear(mlp + ".down_proj", c.ffn, c.dim, c.mlp_bias));
        out.push_back(other(mlp + ".act_fn"));
        out.push_back(other(layer + ".input_layernorm"));
        out.push_back(other(layer + ".post_attention_layernorm"));
    }
    out.push_back(other("model.norm"));
    out.push_back(other("model.rotary_emb"));
    out.push_back({.name = "lm_head", .kind = ModuleKind::head, .in = c.dim, .out = c.vocab});
    return out;
}

GRAFT_INLINE std::vector<LinearInfo> linear_modules(const ModelConfig& c)
{
    std::vector<LinearInfo> out;
    for (ModuleInfo& m : module_names(c)) {
        if (m.kind == ModuleKind::linear) { out.push_back({std::move(m.name), m.in, m.out, m.bias}); }
    }
    return out;
}

GRAFT_INLINE std::vector<TensorInfo> checkpoint_tensors(const ModelConfig& c)
{
    std::vector<TensorInfo> out;
    for (const ModuleInfo& m : module_names(c)) {
        const bool norm = m.name.ends_with("norm");
        if (m.kind == ModuleKind::linear) {
            const bool attention = m.name.find(".self_attn.") != std::string::npos;
            out.push_back({m.name + ".weight", {m.out, m.in}, attention ? TensorKind::attention : TensorKind::mlp});
            if (m.bias) { out.push_back({m.name + ".bias", {m.out}, TensorKind::bias}); }
        } else if (m.kind == ModuleKind::embedding) {
            out.push_back({m.name + ".weight", {c.vocab, c.dim}, TensorKind::embedding});
        } else if (m.kind == ModuleKind::head) {
            if (!c.tied) { out.push_back({m.name + ".weight", {c.vocab, c.dim}, TensorKind::head}); }
        } else if (norm) {
            out.push_back({m.name + ".weight", {c.dim}, TensorKind::norm});
        }
    }
    return out;
}

}  // namespace graft
