#pragma once
#include "graft/checkpoint/load.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "graft/checkpoint/checkpoint.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/error.hpp"
#include "graft/io/safetensors/types.hpp"

namespace graft::detail {

GRAFT_INLINE bool is_adapter_part(const std::string& name)
{
    return name.ends_with(".lora_A.weight") || name.ends_with(".lora_B.weight") || name.ends_with(".lora_embedding_A")
           || name.ends_with(".lora_embedding_B") || name.ends_with(".token_adapter.trainable_tokens_delta");
}

GRAFT_INLINE bool is_float(StoredType type)
{
    return type == StoredType::f32 || type == StoredType::f16 || type == StoredType::bf16 || type == StoredType::f64;
}

GRAFT_INLINE void LoadReport::check(const std::string& where, const std::string& hint) const
{
    if (missing.empty() && extra.empty() && misshaped.empty()) { return; }
    std::string text = where + ": the tensors do not fit the model";
    if (!missing.empty()) { text += "; missing: " + name_list(missing); }
    if (!extra.empty()) { text += "; not part of it: " + name_list(extra); }
    if (!misshaped.empty()) { text += "; of another shape or type: " + name_list(misshaped); }
    throw Error(text + (hint.empty() ? "" : "; " + hint));
}

GRAFT_INLINE std::string base_hint(const LoadReport& report, const Checkpoint& checkpoint)
{
    const auto any = [](const std::vector<std::string>& names, auto&& test) {
        return std::any_of(names.begin(), names.end(), test);
    };
    const auto& missing = report.missing;
    if (any(report.extra, [](const std::string& name) { return name.find(".lora_") != std::string::npos; })) {
        return "the file holds a model with its adapter beside it: save it after merge_and_unload, or take base and "
               "adapter from where they were made";
    }
    if (any(report.extra, [](const std::string& name) { return name.find("tok_embeddings.") != std::string::npos; })) {
        return "these are the names of Meta's own files: take the checkpoint in the form of transformers";
    }
    const auto lacks = [&](const char* name) {
        return std::find(missing.begin(), missing.end(), name) != missing.end();
    };
    if (lacks("lm_head.weight") && missing.size() == 1) {
        const auto other = std::find_if(checkpoint.passed_over().begin(), checkpoint.passed_over().end(),
                                        [](const auto& entry) { return is_other_head(entry.first); });
        const std::string head = other == checkpoint.passed_over().end() ? "the model was saved without its head"
                                                                         : "it has " + other->first + " in its place";
        return head
               + ": take a checkpoint for causal language modelling, or set tie_word_embeddings in config.json if the "
                 "head is the embedding";
    }
    if (lacks("model.embed_tokens.weight") && checkpoint.find("lm_head.weight") != nullptr) {
        return "if the embedding is lm_head.weight, set tie_word_embeddings in config.json";
    }
    for (const std::string& name : report.extra) {
        for (const std::string& wanted : report.missing) {
            if (!name.ends_with("." + wanted)) { continue; }
            return "names that begin with " + printable(name.substr(0, name.size() - wanted.size()))
                   + " are not understood: take that prefix off";
        }
    }
    return "";
}

GRAFT_INLINE bool same_values(const StoredTensor& a, const StoredTensor& b)
{
    if (a.shape != b.shape || !is_float(a.type) || !is_float(b.type)) { return false; }
    const std::int64_t n = elements_of(a.shape);
    std::vector<double> x(4096), y(4096);
    for (std::int64_t i = 0; i < n; i += 4096) {
        const std::int64_t some = std::min<std::int64_t>(4096, n - i);
        read_elements<double>(a, i, some, x.data());
        read_elements<double>(b, i, some, y.data());
        if (std::memcmp(x.data(), y.data(), std::size_t(some) * sizeof(double)) != 0) { return false; }
    }
    return true;
}

}  // namespace graft::detail
