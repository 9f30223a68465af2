#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

// What a name that a file gives to a tensor means, whoever wrote the file.
//
//   model_name("module.model.layers.0.mlp.up_proj.weight")    "model.layers.0.mlp.up_proj.weight": the name in the
//   model is_buffer(name)        rotary angles, masks, positions: computed anew by every model, never trained
//   is_other_head(name)    score, classifier, v_head, …: what another task has in the place of lm_head
//
// Understood, because only one tensor can be meant:
//   layers.0.…, embed_tokens.…, norm.…    without "model.", as a model that is saved without its head has them
//   PREFIX.model.layers.0.…, PREFIX.lm_head.…    where each part of PREFIX is the word of a wrapper: module (DDP,
//                                         DeepSpeed), model (Lightning), base_model (PEFT), and the like
//   _orig_mod, _fsdp_wrapped_module, _checkpoint_wrapped_module, _forward_module    anywhere: torch.compile, FSDP,
//                                         activation checkpoints, DeepSpeed
// Any other name is returned as it is, for a reader to refuse. That two tensors of a file mean the same is for the
// reader to notice too.
//
// Throws: nothing. Sources: torch (nn/parallel, distributed/fsdp, _dynamo/eval_frame.py), huggingface/transformers 5.24
// (core_model_loading.py, rename_source_key), huggingface/trl (models/modeling_value_head.py).
namespace graft {

namespace detail {

template <std::size_t N> bool one_of(std::string_view word, const std::array<std::string_view, N>& words)
{
    return std::find(words.begin(), words.end(), word) != words.end();
}

// The parts of a name between its dots, but those that a wrapper may put anywhere.
inline std::vector<std::string_view> name_parts(std::string_view name)
{
    constexpr std::array<std::string_view, 4> inner{"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
                                                    "_forward_module"};
    std::vector<std::string_view> parts;
    for (;;) {
        const auto dot = name.find('.');
        const auto part = name.substr(0, dot);
        if (!one_of(part, inner)) { parts.push_back(part); }
        if (dot == std::string_view::npos) { return parts; }
        name.remove_prefix(dot + 1);
    }
}

inline bool is_wrapper(std::string_view part)
{
    constexpr std::array<std::string_view, 8> outer{"module",      "model",  "base_model",     "pretrained_model",
                                                    "transformer", "policy", "language_model", "llm"};
    return one_of(part, outer);
}

inline bool is_number(std::string_view part)
{
    return !part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
}

inline std::string joined_parts(const std::vector<std::string_view>& parts, std::size_t from)
{
    std::string out;
    for (std::size_t i = from; i < parts.size(); ++i) { out += (i == from ? "" : ".") + std::string(parts[i]); }
    return out;
}

}  // namespace detail

inline std::string model_name(std::string_view stored)
{
    const auto parts = detail::name_parts(stored);
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const bool layers = parts[i] == "layers" && i + 1 < parts.size() && detail::is_number(parts[i + 1]);
        const bool whole = parts[i] == "embed_tokens" || parts[i] == "norm" || parts[i] == "rotary_emb";
        if (layers || whole) { return "model." + detail::joined_parts(parts, i); }
        if (parts[i] == "lm_head") { return detail::joined_parts(parts, i); }
        if (!detail::is_wrapper(parts[i])) { break; }
    }
    return std::string(stored);
}

// shape and type decide about a mask, which shares its name with the biases of other models.
inline bool is_buffer(std::string_view name, std::size_t axes = 0, bool logical = false)
{
    constexpr std::array<std::string_view, 10> buffers{
        "inv_freq",    "original_inv_freq", "cos_cached",   "sin_cached", "masked_bias",
        "causal_mask", "attention_mask",    "position_ids", "freqs",      "freqs_cis"};
    const auto dot = name.rfind('.');
    if (detail::one_of(dot == std::string_view::npos ? name : name.substr(dot + 1), buffers)) { return true; }
    const bool mask = name.ends_with("attn.bias") || name.ends_with("attention.bias") || name.ends_with(".mask");
    return mask && (axes >= 2 || logical);
}

inline bool is_other_head(std::string_view name)
{
    constexpr std::array<std::string_view, 10> heads{"score",   "classifier", "classification_head", "qa_outputs",
                                                     "v_head",  "value_head", "reward_head",         "regression_head",
                                                     "rm_head", "critic_head"};
    for (const auto part : detail::name_parts(name)) {
        if (detail::one_of(part, heads)) { return true; }
        if (!detail::is_wrapper(part)) { return false; }
    }
    return false;
}

}  // namespace graft
