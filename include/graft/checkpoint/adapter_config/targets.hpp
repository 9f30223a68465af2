#pragma once
#include "graft/checkpoint/adapter_config/types.hpp"
#include "graft/checkpoint/modules.hpp"
#include "graft/core/error.hpp"
#include "graft/io/regex.hpp"
#include "graft/io/text.hpp"
#include "graft/models/config.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

// Which modules of a model an adapter sits on, with which rank and scale: PEFT's rules.
//
//   adapter_targets(config, model)      the linears that get an adapter, in the order of the model
//
// For each module name, in this order:
//   1. exclude_modules: a regular expression over the whole name, or a list: equal to an entry or ending in
//      "." + entry.
//   2. target_modules: likewise; "all-linear" is every linear of the blocks, never the head; none is q_proj and
//      v_proj.
//   3. layers_to_transform, for names that matched an entry by their end, not wholly: the number after any name (or
//      after one of layers_pattern), with a dot before and after, must be listed.
//   rank and alpha: the first key of rank_pattern, alpha_pattern, in the order of the file, for which (.*\.)?(KEY)$
//   matches.
//   scale: alpha / rank, or alpha / sqrt(rank) with rslora. It is not stored anywhere.
//
// unmatched lists the entries of target_modules that no module answers to; whether that is an error is the caller's
// choice.
//
// Throws: Error where nothing matches, where a module that is no linear of a block matches (the embedding and the head
// included), and for regular expressions that do not compile. `where` is named in errors.
// Source: huggingface/peft 0.21, tuners/tuners_utils.py (check_target_module_exists), utils/other.py (get_pattern_key).
namespace graft {

struct AdapterTarget {
    std::string  name;
    std::int64_t in = 0, out = 0, rank = 0;
    double       alpha = 0, scale = 0;
};

struct AdapterTargets {
    std::vector<AdapterTarget> modules;
    std::vector<std::string>   unmatched;

    std::int64_t parameters() const
    {
        std::int64_t sum = 0;
        for (const AdapterTarget& m : modules) { sum += m.rank * (m.in + m.out); }
        return sum;
    }
};

namespace detail {

// A ModuleChoice made ready for many names.
class ModuleMatcher {
public:
    ModuleMatcher(const ModuleChoice& choice, const std::string& where) : kind_(choice.kind)
    {
        if (kind_ == ModuleChoice::Kind::regex) { regex_.emplace(choice.regex, where); }
        if (kind_ == ModuleChoice::Kind::list) { names_.insert(choice.names.begin(), choice.names.end()); }
    }

    struct Match { bool matches = false, whole = false; };

    // used: receives the entries of a list that the name answers to.
    Match operator()(const ModuleInfo& module, std::unordered_set<std::string>* used = nullptr) const
    {
        switch (kind_) {
        case ModuleChoice::Kind::none: return {};
        case ModuleChoice::Kind::regex: return {regex_->full_match(module.name), true};
        case ModuleChoice::Kind::all_linear: return {module.kind == ModuleKind::linear, true};
        case ModuleChoice::Kind::list: break;
        }
        Match match;
        std::string_view rest = module.name;
        for (bool whole = true;; whole = false) {
            if (const auto at = names_.find(std::string(rest)); at != names_.end()) {
                if (used != nullptr) { used->insert(*at); }
                match.matches = true;
                match.whole   = match.whole || whole;
            }
            const auto dot = rest.find('.');
            if (dot == std::string_view::npos) { return match; }
            rest.remove_prefix(dot + 1);
        }
    }

private:
    ModuleChoice::Kind              kind_;
    std::optional<Regex>            regex_;
    std::unordered_set<std::string> names_;
};

class LayerFilter {
public:
    LayerFilter(const AdapterConfig& config, const std::string& where) : layers_(config.layers_to_transform)
    {
        if (layers_.empty()) { return; }
        for (const std::string& pattern : config.layers_pattern) {
            patterns_.emplace_back(".*\\." + pattern + "\\.(\\d+)\\.", where);
        }
        if (patterns_.empty()) { patterns_.emplace_back(".*\\.[^.]*\\.(\\d+)\\.", where); }
    }

    bool operator()(const std::string& name) const
    {
        if (layers_.empty()) { return true; }
        for (const Regex& pattern : patterns_) {
            const auto number = pattern.capture(name, 1);
            if (!number) { continue; }
            std::int64_t layer = -1;
            const auto read = std::from_chars(number->data(), number->data() + number->size(), layer);
            return read.ec == std::errc() && std::find(layers_.begin(), layers_.end(), layer) != layers_.end();
        }
        return false;
    }

private:
    std::vector<std::int64_t> layers_;
    std::vector<Regex>        patterns_;
};

template <class Value>
class PatternTable {
public:
    PatternTable(const std::vector<std::pair<std::string, Value>>& patterns, const std::string& where)
    {
        for (const auto& [key, value] : patterns) {
            const Regex alone(key, where);    // so that a key cannot close the group around it
            table_.emplace_back(Regex("(.*\\.)?(" + key + ")$", where), value);
        }
    }
    Value find(const std::string& name, Value otherwise) const
    {
        for (const auto& [regex, value] : table_) {
            if (regex.capture(name, 0)) { return value; }
        }
        return otherwise;
    }

private:
    std::vector<std::pair<Regex, Value>> table_;
};

}  // namespace detail

inline AdapterTargets adapter_targets(const AdapterConfig& config, std::span<const ModuleInfo> modules,
                                      const std::string& where = "adapter_config.json")
{
    ModuleChoice wanted = config.targets;
    if (wanted.kind == ModuleChoice::Kind::none) { wanted = detail::default_targets(); }
    const detail::ModuleMatcher targets(wanted, where + ": target_modules"),
        exclude(config.exclude, where + ": exclude_modules");
    const detail::LayerFilter in_layer(config, where + ": layers_pattern");
    const detail::PatternTable<std::int64_t> ranks(config.rank_pattern, where + ": rank_pattern");
    const detail::PatternTable<double> alphas(config.alpha_pattern, where + ": alpha_pattern");

    AdapterTargets out;
    std::unordered_set<std::string> used;
    for (const ModuleInfo& module : modules) {
        const auto match = targets(module, &used);    // first: an entry whose modules are all excluded has matched
        if (!match.matches || exclude(module).matches || (!match.whole && !in_layer(module.name))) { continue; }
        if (module.kind != ModuleKind::linear) {
            const char* what = module.kind == ModuleKind::embedding
                                   ? ", the embedding: adapters on it are not supported"
                               : module.kind == ModuleKind::head ? ", the output head: adapters on it are not supported"
                                                                 : ", which is no linear layer";
            throw Error(where + ": target_modules names " + module.name + what);
        }
        AdapterTarget target{.name = module.name, .in = module.in, .out = module.out};
        target.rank  = ranks.find(module.name, config.rank);
        target.alpha = alphas.find(module.name, config.alpha);
        require(target.rank >= 1, [&] { return where + ": the rank of " + module.name + " must be at least 1"; });
        const auto rank = static_cast<double>(target.rank);
        target.scale = target.alpha / (config.rslora ? std::sqrt(rank) : rank);
        out.modules.push_back(std::move(target));
    }
    for (const std::string& name : wanted.names) {
        if (!used.contains(name)) { out.unmatched.push_back(name); }
    }
    require(!out.modules.empty(), [&] {
        const std::string what = wanted.kind == ModuleChoice::Kind::list    ? name_list(wanted.names)
                               : wanted.kind == ModuleChoice::Kind::regex   ? printable(wanted.regex)
                                                                            : "all-linear";
        return where + ": no module of this model is meant by target_modules (" + what
             + "); is the adapter for another model?";
    });
    return out;
}

inline AdapterTargets adapter_targets(const AdapterConfig& config, const ModelConfig& model,
                                      const std::string& where = "adapter_config.json")
{
    const auto modules = module_names(model);
    return adapter_targets(config, modules, where);
}

}  // namespace graft
