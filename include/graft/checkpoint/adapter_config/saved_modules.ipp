#pragma once
#include "graft/checkpoint/adapter_config/saved_modules.hpp"

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/checkpoint/modules.hpp"
#include "graft/core/error.hpp"
#include "graft/io/text.hpp"
#include "graft/models/adapter_config.hpp"

namespace graft {

GRAFT_INLINE bool SavedModules::has(std::string_view tensor) const
{
    return std::any_of(modules.begin(), modules.end(), [&](const auto& m) { return m + ".weight" == tensor; });
}

GRAFT_INLINE std::vector<std::string> SavedModules::tensors() const
{
    std::vector<std::string> out;
    for (const std::string& module : modules) { out.push_back(module + ".weight"); }
    if (shared) { out.push_back(std::string(head_module) + ".weight"); }
    return out;
}

}  // namespace graft

namespace graft::detail {

GRAFT_INLINE bool inside_saved(const std::string& module, const std::vector<std::string>& saved)
{
    const std::string dotted = "." + module + ".";
    return std::any_of(saved.begin(), saved.end(),
                       [&](const std::string& entry) { return dotted.find("." + entry + ".") != std::string::npos; });
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE SavedModules saved_modules(const std::vector<std::string>& names, std::span<const ModuleInfo> modules,
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

GRAFT_INLINE void tie(SavedModules& saved, const AdapterConfig& config, bool tied)
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
