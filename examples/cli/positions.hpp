#pragma once
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "graft/checkpoint/adapter.hpp"
#include "graft/checkpoint/hf_config.hpp"
#include "graft/checkpoint/rope_config.hpp"

// --rope-scaling, and how long a document may be.
namespace cli {

inline constexpr const char* rope_scaling_help =
    "for documents longer than the model's positions: linear:2, dynamic:2, yarn:4, llama3:8";

// config.json with the scaling that is named, if one is. What adapters were trained with has to be named again.
inline graft::ModelConfig config_of(const std::string& model, const std::string& scaling,
                                    const std::vector<std::filesystem::path>& adapters)
{
    auto config = graft::read_config(model);
    if (!scaling.empty()) { graft::name_scaling(config, scaling); }
    for (const auto& adapter : adapters) {
        const std::string trained = graft::adapter_scaling(adapter);
        graft::require(trained.empty() || graft::has_scaling(config, trained), [&] {
            return graft::printable(adapter.string(), 1000) + ": was trained with --rope-scaling "
                   + graft::printable(trained) + ": give the same"
                   + (scaling.empty() ? "" : " instead of " + graft::printable(scaling));
        });
    }
    return config;
}

// --max-length (0: not given), held against what the model can see. No config: a folder with a tokeniser alone.
inline std::int64_t length_of(std::int64_t asked, const graft::ModelConfig* config)
{
    if (config == nullptr) { return asked > 0 ? asked : 2048; }
    const std::int64_t covered = graft::covered_positions(*config);
    graft::require(asked <= covered, [&] {
        const std::string begin = "--max-length " + std::to_string(asked) + " is longer than the ";
        if (config->rope.kind != graft::RopeKind::plain) {
            return begin + std::to_string(covered) + " positions that the model's scaling covers ("
                   + graft::scaling_text(*config) + ")";
        }
        const std::string factor = ":" + std::to_string((asked + covered - 1) / covered);
        return begin.substr(0, begin.size() - 4) + "the model's max_position_embeddings " + std::to_string(covered)
               + ": name a scaling that covers it, --rope-scaling yarn" + factor + " (or linear, dynamic, llama3), "
               + "or use shorter rows";
    });
    return asked > 0 ? asked : std::min<std::int64_t>(2048, covered);
}

// What whoever uses the adapter of a run must know.
inline std::string scaling_note(const graft::ModelConfig& config, bool whole)
{
    if (config.rope_named.empty()) { return ""; }
    return whole ? "rotary scaling in its config.json: " + graft::scaling_text(config) + "\n"
                 : "trained with --rope-scaling " + graft::printable(config.rope_named)
                       + ": generate and finetune --adapter need the same\n";
}

}  // namespace cli
