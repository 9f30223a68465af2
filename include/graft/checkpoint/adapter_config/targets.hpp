#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "graft/checkpoint/adapter_config/saved_modules.hpp"
#include "graft/checkpoint/modules.hpp"
#include "graft/core/inline.hpp"
#include "graft/models/adapter_config.hpp"
#include "graft/models/config.hpp"

// Which modules of a model an adapter sits on, with which rank and scale: PEFT's rules.
//
//   adapter_targets(config, model)      the linears, and embedding and head where they are named, that get an adapter,
//                                       in the order of the model
//
// For each module name, in this order:
//   1. exclude_modules: a regular expression over the whole name, or a list: equal to an entry or ending in
//      "." + entry.
//   2. modules_to_save: a module that is saved whole, or lies in one, has no adapter; `saved` lists them.
//   3. target_modules: likewise; "all-linear" is every linear of the blocks, never the head; none is q_proj and
//      v_proj.
//   4. layers_to_transform, for names that matched an entry by their end, not wholly: the number after any name (or
//      after one of layers_pattern), with a dot before and after, must be listed.
//   rank and alpha: the first key of rank_pattern, alpha_pattern, in the order of the file, for which (.*\.)?(KEY)$
//   matches.
//   scale: alpha / rank, or alpha / sqrt(rank) with rslora. It is not stored anywhere.
//
// An adapter on the embedding or the head of a model whose head is its embedding sits on one of the two uses alone:
// `saved.untie` says that the model must become untied (adapter_config/saved_modules.hpp), in training as in merging.
// PEFT trains the same function and then merges into both. trainable_token_indices reach both uses.
//
// unmatched lists the entries of target_modules that no module answers to; whether that is an error is the caller's
// choice.
//
// Throws: Error where nothing matches, where a module matches that is neither linear nor embedding nor head; for LoRA
// on a tied pair with ensure_weight_tying, which is four parameters in PEFT; for token rows beside an embedding that
// is trained otherwise; and for regular expressions that do not compile. `where` is named in errors.
// Source: huggingface/peft 0.21, tuners/tuners_utils.py (check_target_module_exists), utils/other.py (get_pattern_key).
namespace graft {

struct AdapterTarget {
    std::string name;
    std::int64_t in = 0, out = 0, rank = 0;  // embedding: in is the vocabulary
    double alpha = 0, scale = 0;
    ModuleKind kind = ModuleKind::linear;

    // The names of its tensors, (rank, in) and (out, rank).
    std::string a() const { return name + (kind == ModuleKind::embedding ? ".lora_embedding_A" : ".lora_A.weight"); }
    std::string b() const { return name + (kind == ModuleKind::embedding ? ".lora_embedding_B" : ".lora_B.weight"); }
};

struct AdapterTargets {
    std::vector<AdapterTarget> modules;
    std::vector<std::string> unmatched;
    SavedModules saved{};                // trained whole beside them
    std::vector<std::int32_t> tokens{};  // whose rows of the embedding are trained

    // Whether there is more than branches on linears, which alone can lie over one another.
    bool on_tables() const;
    std::int64_t parameters() const;
};

namespace detail {

// What of it is not on linears.
std::string tables_text(const AdapterTargets& targets);

}  // namespace detail

AdapterTargets adapter_targets(const AdapterConfig& config, std::span<const ModuleInfo> modules,
                               const std::string& where = "adapter_config.json");

AdapterTargets adapter_targets(const AdapterConfig& config, const ModelConfig& model,
                               const std::string& where = "adapter_config.json");

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/adapter_config/targets.ipp"
#endif
