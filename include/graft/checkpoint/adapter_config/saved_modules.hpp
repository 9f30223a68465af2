#pragma once
#include "graft/checkpoint/modules.hpp"
#include "graft/core/error.hpp"
#include "graft/io/text.hpp"
#include "graft/models/adapter_config.hpp"

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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
    bool has(std::string_view tensor) const
    {
        return std::any_of(modules.begin(), modules.end(), [&](const auto& m) { return m + ".weight" == tensor; });
    }
    // Those that a model must have as trained layers (ModelOptions::trained).
    std::vector<std::string> trained() const { return frozen ? std::vector<std::string>() : modules; }
    // The names of their tensors in the adapter's file, without PEFT's prefix.
    std::vector<std::string> tensors() const
    {
        std::vector<std::string> out;
        for (const std::string& module : modules) { out.push_back(module + ".weight"); }
        if (shared) { out.push_back(std::string(head_module) + ".weight"); }
        return out;
    }
};

namespace detail {

// A module that is saved whole, or lies inside one, carries no adapter.
inline bool inside_saved(const std::string& module, const std::vector<std::string>& saved)
{
    const std::string dotted = "." + module + ".";
    return std::any_of(saved.begin(), saved.end(),
                       [&](const std::string& entry) { return dotted.find("." + entry + ".") != std::string::npos; });
}

}  // namespace detail

inline SavedModules saved_modules(const std::vector<std::string>& names, std::span<const ModuleInfo> modules,
                                  const std::string& where)
{
    SavedModules out;
    for (const std::string& name : names) {
        bool any = false;
        for (const ModuleInfo& module : modules) {
            if (name.empty() || !module.name.ends_with(name)) { continue; }
            const bool whole = module.kind == ModuleKind::embedding || module.kind == ModuleKind::head
                               || module.name.ends_with("norm");
            require(whole, [&] {
                return where + " names " + printable(name) + ", which means " + module.name
                       + ": only embed_tokens, lm_head and norms are trained whole beside an adapter";
            });
            any = true;
            if (std::find(out.modules.begin(), out.modules.end(), module.name) == out.modules.end()) {
                out.modules.push_back(module.name);
            }
        }
        require(any, [&] { return where + " names " + printable(name) + ", which the model does not have"; });
    }
    std::vector<std::string> ordered;
    for (const ModuleInfo& module : modules) {
        if (std::find(out.modules.begin(), out.modules.end(), module.name) != out.modules.end()) {
            ordered.push_back(module.name);
        }
    }
    out.modules = std::move(ordered);
    return out;
}

// tied: of the model as it is, whether its head is the embedding.
inline void tie(SavedModules& saved, const AdapterConfig& config, bool tied)
{
    const auto is_pair = [](const std::string& module) { return module == embedding_module || module == head_module; };
    if (!tied || std::none_of(saved.modules.begin(), saved.modules.end(), is_pair)) { return; }
    saved.shared = config.ensure_weight_tying;
    saved.untie = !saved.shared;
    if (saved.shared) {
        std::erase_if(saved.modules, is_pair);
        saved.modules.insert(saved.modules.begin(), embedding_module);
    }
}

}  // namespace graft
