#pragma once
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "graft/checkpoint/adapter_config.hpp"
#include "graft/checkpoint/adapter_config/targets.hpp"
#include "graft/checkpoint/adapters_in.hpp"
#include "graft/io/text.hpp"
#include "graft/train/adapter_stack.hpp"

// Which adapters a program works with: never one unawares. Four words of finetune: --adapter continues one, --stack
// trains a new one over frozen ones, --merge-adapter merges one first and trains a new one, --overwrite replaces the
// run in the output folder.
namespace cli {

using Folders = std::vector<std::filesystem::path>;

// That --model is a checkpoint, and that somebody has said what is to become of an adapter that lies in it.
//   named     folders that options name: an adapter among them is answered for, and those in folders below with it
//   output    not asked about
//   choices   what can be said, "DIR" standing for the adapter
inline void require_answer(const std::string& model, const Folders& named, const std::string& output, bool ignore,
                           const std::string& choices)
{
    namespace fs = std::filesystem;
    if (graft::holds_adapter(model) && !fs::exists(fs::path(model) / "config.json")) {
        std::string base;
        try {
            base = graft::read_adapter_config(model).base_model;
        } catch (const graft::Error&) {  // its base stays unknown
        }
        throw graft::Error(graft::printable(model, 1000) + ": is an adapter, not a checkpoint; its base is "
                           + (base.empty() ? "not named: give the folder of the base" : graft::printable(base, 300))
                           + ": --model " + (base.empty() ? "BASE" : graft::printable(base, 300)) + " --adapter "
                           + graft::printable(model, 1000));
    }
    if (ignore) { return; }
    for (const auto& found : graft::adapters_in(model)) {
        const bool itself = graft::same_folder(found, model);
        const bool answered =
            (!itself && !named.empty()) || (!output.empty() && graft::same_folder(found, output))
            || std::any_of(named.begin(), named.end(), [&](const auto& one) { return graft::same_folder(one, found); });
        if (answered) { continue; }
        const std::string name = graft::printable(found.string(), 300);
        std::string text = choices;
        for (auto at = text.find("DIR"); at != std::string::npos; at = text.find("DIR", at + name.size())) {
            text.replace(at, 3, name);
        }
        throw graft::Error(graft::printable(model, 300) + ": this base holds an adapter ("
                           + (itself ? std::string("in the same folder") : graft::printable(found.filename().string()))
                           + "): choose " + text);
    }
}

inline constexpr const char* finetune_choices =
    "--adapter DIR to continue it, --stack DIR to train a new one over it, --merge-adapter DIR to merge it first and "
    "train a new one, or --ignore-adapter to train over the bare base";
inline constexpr const char* generate_choices = "--adapter DIR to use it, or --ignore-adapter for the bare base";

// Adapters that are to add: each once, and each with those that it was trained over.
inline void require_whole_stack(const Folders& folders, const std::string& how)
{
    for (std::size_t i = 0; i < folders.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            graft::require(!graft::same_folder(folders[i], folders[j]), [&] {
                return graft::printable(folders[i].string(), 1000) + ": is given twice, and would count twice";
            });
        }
        graft::require_stack(folders[i], folders, how);
    }
}

// What --stack names, for the model: modules, ranks and scales of each.
inline std::vector<graft::AdapterTargets> stacked_targets(const std::vector<std::string>& stack,
                                                          const std::string& adapter, const std::string& method,
                                                          const graft::ModelConfig& model)
{
    std::vector<graft::AdapterTargets> out;
    graft::require(stack.empty() || method != "full", "--stack and --method full exclude each other");
    Folders all(stack.begin(), stack.end());
    for (const auto& folder : all) {
        out.push_back(graft::adapter_targets(graft::read_adapter_config(folder), model, folder.string()));
    }
    if (!adapter.empty()) { all.emplace_back(adapter); }
    require_whole_stack(all, "give it with --stack DIR");
    return out;
}

}  // namespace cli
