#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <type_traits>
#include <vector>

#include "graft/checkpoint/adapter_config/targets.hpp"
#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/io/text.hpp"
#include "graft/models/adapter_config.hpp"
#include "graft/models/any.hpp"
#include "graft/nn/init.hpp"

// What really lies on a model, whatever its settings say: branches that are trained, on layers chosen at run time and
// on those of the static kits.
//
//   laid_branches(model)                    each branch with its module, rank, scale and dropout, in the order of the
//                                           model
//   require_laid(model, config, who)        throws Error unless they are what the config asks for
//   config_of_laid(model)                   settings that say what lies there, for a static kit that was given none
//
// The scale is in no file of an adapter: it follows from alpha and rank, so settings of another adapter make another
// function of the same tensors.
namespace graft {

struct LaidBranch {
    std::string module;
    std::int64_t rank = 0;
    double scale = 0, dropout = 0;
};

template <class Model> std::vector<LaidBranch> laid_branches(Model& model)
{
    std::vector<LaidBranch> out;
    const auto add = [&](const std::string& name, const auto& branch) {
        double dropout = 0;
        if constexpr (requires { branch.dropout; }) { dropout = branch.dropout; }
        out.push_back({name, branch.a.value().rows(), branch.scale, dropout});
    };
    modules(model, [&](const std::string& name, auto& module) {
        using Module = std::remove_cvref_t<decltype(module)>;
        if constexpr (is_lora<Module>) {
            add(name, module.branch);
        } else if constexpr (is_any_linear<Module>) {
            if (module.branch()) { add(name, *module.branch()); }
        } else if constexpr (is_any_table<Module>) {
            if (module.embedding_branch()) { add(name, *module.embedding_branch()); }
            if (module.head_branch()) { add(name, *module.head_branch()); }
        }
    });
    return out;
}

namespace detail {

template <class Model> std::int64_t laid_rows(Model& model)
{
    std::int64_t rows = 0;
    modules(model, [&](const std::string&, auto& module) {
        if constexpr (is_any_table<std::remove_cvref_t<decltype(module)>>) {
            if (!module.own_rows().empty()) { rows += module.own_rows().count(); }
        }
    });
    return rows;
}

std::string number_text(double value);

}  // namespace detail

template <class Model> void require_laid(Model& model, const AdapterConfig& config, const std::string& who)
{
    const AdapterTargets targets = adapter_targets(config, model.config, who);
    const auto laid = laid_branches(model);
    const auto close = [](double a, double b) { return std::abs(a - b) <= 1e-12 * std::max(std::abs(a), std::abs(b)); };
    for (const LaidBranch& branch : laid) {
        const auto at = std::find_if(targets.modules.begin(), targets.modules.end(),
                                     [&](const AdapterTarget& target) { return target.name == branch.module; });
        require(at != targets.modules.end(),
                [&] { return who + ": " + branch.module + " carries an adapter, and the settings do not target it"; });
        require(at->rank == branch.rank && close(at->scale, branch.scale), [&] {
            return who + ": the adapter on " + branch.module + " has rank " + std::to_string(branch.rank)
                   + " and scale " + detail::number_text(branch.scale) + ", the settings ask for rank "
                   + std::to_string(at->rank) + " and scale " + detail::number_text(at->scale) + " (alpha "
                   + detail::number_text(at->alpha) + (config.rslora ? " / sqrt(rank))" : " / rank)")
                   + ": it would be another function";
        });
    }
    for (const AdapterTarget& target : targets.modules) {
        require(std::any_of(laid.begin(), laid.end(), [&](const auto& branch) { return branch.module == target.name; }),
                [&] { return who + ": the settings target " + target.name + ", which carries no adapter"; });
    }
    const std::int64_t rows = detail::laid_rows(model);
    require(rows == std::int64_t(targets.tokens.size()), [&] {
        return who + ": rows of " + std::to_string(rows) + " tokens are trained, the settings name "
               + std::to_string(targets.tokens.size());
    });
}

// Alpha is that of the first branch; where others differ, alpha_pattern names them.
template <class Model> AdapterConfig config_of_laid(Model& model)
{
    const auto laid = laid_branches(model);
    require(!laid.empty(), "the model carries no adapter: add_adapter lays one");
    const auto alpha = [](const LaidBranch& branch) { return branch.scale * double(branch.rank); };
    AdapterConfig config{.rank = laid[0].rank, .alpha = alpha(laid[0]), .dropout = laid[0].dropout};
    config.targets.kind = ModuleChoice::Kind::list;
    for (const LaidBranch& branch : laid) {
        config.targets.names.push_back(branch.module);
        std::string pattern;
        for (const char c : branch.module) { pattern += c == '.' ? "\\." : std::string(1, c); }
        if (branch.rank != config.rank) { config.rank_pattern.emplace_back(pattern, branch.rank); }
        if (alpha(branch) != config.alpha) { config.alpha_pattern.emplace_back(pattern, alpha(branch)); }
        require(branch.dropout == config.dropout, [&] {
            return "the adapters on " + laid[0].module + " and " + branch.module
                   + " have different dropout, which no "
                     "settings of one adapter can say";
        });
    }
    return config;
}

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/adapter/laid.ipp"
#endif
