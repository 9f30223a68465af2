#pragma once
#include "graft/checkpoint/tensor_names.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace graft::detail {

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

GRAFT_INLINE bool is_number(std::string_view part)
{
    return !part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
}

inline std::string joined_parts(const std::vector<std::string_view>& parts, std::size_t from)
{
    std::string out;
    for (std::size_t i = from; i < parts.size(); ++i) { out += (i == from ? "" : ".") + std::string(parts[i]); }
    return out;
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE std::string model_name(std::string_view stored)
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

GRAFT_INLINE bool is_buffer(std::string_view name, std::size_t axes, bool logical)
{
    constexpr std::array<std::string_view, 10> buffers{
        "inv_freq",    "original_inv_freq", "cos_cached",   "sin_cached", "masked_bias",
        "causal_mask", "attention_mask",    "position_ids", "freqs",      "freqs_cis"};
    const auto dot = name.rfind('.');
    if (detail::one_of(dot == std::string_view::npos ? name : name.substr(dot + 1), buffers)) { return true; }
    const bool mask = name.ends_with("attn.bias") || name.ends_with("attention.bias") || name.ends_with(".mask");
    return mask && (axes >= 2 || logical);
}

GRAFT_INLINE bool is_other_head(std::string_view name)
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
