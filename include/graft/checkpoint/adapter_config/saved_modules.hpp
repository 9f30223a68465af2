#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/checkpoint/modules.hpp"
#include "graft/core/inline.hpp"
#include "graft/models/adapter_config.hpp"

// Modules of a model that are trained whole beside an adapter (PEFT's modules_to_save): embedding, head, norms.
//
//   saved_modules(names, modules, where)     by their endings, as PEFT finds them: "norm" means every norm
//   tie(saved, config, tied)                 what becomes of them where the head is the embedding
//
// Of a model with a tied head, an adapter that names embedding or head is one of two things, and says which:
//   ensure_weight_tying true      shared: one tensor is trained, which adds up the gradients of both uses and counts
//                                 once; the file holds it under both names, naming either is enough
//   ensure_weight_tying false     untied: the head becomes a tensor of its own that begins as a copy of the embedding,
//                                 and each is trained where it is named. The adapter fits a model whose
//                                 tie_word_embeddings is false: whoever merges it must write that
//
// Throws: Error for a name that no module has, or that means a linear of a block or a container: these are not trained
// whole beside an adapter. Source: huggingface/peft 0.21, utils/other.py (_set_trainable).
namespace graft {

inline constexpr const char* embedding_module = "model.embed_tokens";
inline constexpr const char* head_module = "lm_head";
// Rows of tokens (AdapterTargets::tokens), by the name in the model.
inline constexpr const char* token_rows_tensor = "model.embed_tokens.token_adapter.trainable_tokens_delta";

struct SavedModules {
    std::vector<std::string> modules{};  // full names, in the order of the model
    bool shared = false;                 // a tied pair as one tensor: only the embedding is listed
    bool untie = false;                  // the model's head must become a tensor of its own
    bool frozen = false;                 // loaded and saved as they came, not trained

    bool empty() const { return modules.empty(); }
    bool has(std::string_view tensor) const;
    // Those that a model must have as trained layers (ModelOptions::trained).
    std::vector<std::string> trained() const { return frozen ? std::vector<std::string>() : modules; }
    // The names of their tensors in the adapter's file, without PEFT's prefix.
    std::vector<std::string> tensors() const;
};

namespace detail {

// A module that is saved whole, or lies inside one, carries no adapter.
bool inside_saved(const std::string& module, const std::vector<std::string>& saved);

}  // namespace detail

SavedModules saved_modules(const std::vector<std::string>& names, std::span<const ModuleInfo> modules,
                           const std::string& where);

// tied: of the model as it is, whether its head is the embedding.
void tie(SavedModules& saved, const AdapterConfig& config, bool tied);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/adapter_config/saved_modules.ipp"
#endif
