#pragma once
#include "graft/checkpoint/adapter_config/targets.hpp"

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

#include "graft/checkpoint/adapter_config/saved_modules.hpp"
#include "graft/checkpoint/modules.hpp"
#include "graft/core/error.hpp"
#include "graft/io/regex.hpp"
#include "graft/io/text.hpp"
#include "graft/models/adapter_config.hpp"
#include "graft/models/config.hpp"

namespace graft {

GRAFT_INLINE bool AdapterTargets::on_tables() const
{
    return !saved.empty() || !tokens.empty() || std::any_of(modules.begin(), modules.end(), [](const auto& target) {
        return target.kind != ModuleKind::linear;
    });
}

GRAFT_INLINE std::int64_t AdapterTargets::parameters() const
{
    std::int64_t sum = 0;
    for (const AdapterTarget& m : modules) { sum += m.rank * (m.in + m.out); }
    return sum;
}

}  // namespace graft

namespace graft::detail {

GRAFT_INLINE std::string tables_text(const AdapterTargets& targets)
{
    std::vector<std::string> names;
    for (const std::string& module : targets.saved.modules) { names.push_back(module + " whole"); }
    if (!targets.tokens.empty()) { names.push_back("rows of " + std::string(embedding_module)); }
    for (const AdapterTarget& target : targets.modules) {
        if (target.kind != ModuleKind::linear) { names.push_back("a branch of " + target.name); }
    }
    return name_list(names);
}

// A ModuleChoice made ready for many names.
class ModuleMatcher {
public:
    ModuleMatcher(const ModuleChoice& choice, const std::string& where) : kind_(choice.kind)
    {
        if (kind_ == ModuleChoice::Kind::regex) { regex_.emplace(choice.regex, where); }
        if (kind_ == ModuleChoice::Kind::list) { names_.insert(choice.names.begin(), choice.names.end()); }
    }

    struct Match {
        bool matches = false, whole = false;
    };

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
                match.whole = match.whole || whole;
            }
            const auto dot = rest.find('.');
            if (dot == std::string_view::npos) { return match; }
            rest.remove_prefix(dot + 1);
        }
    }

private:
    ModuleChoice::Kind kind_;
    std::optional<Regex> regex_;
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
    std::vector<Regex> patterns_;
};

template <class Value> class PatternTable {
public:
    PatternTable(const std::vector<std::pair<std::string, Value>>& patterns, const std::string& where)
    {
        for (const auto& [key, value] : patterns) {
            const Regex alone(key, where);  // so that a key cannot close the group around it
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

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE AdapterTargets adapter_targets(const AdapterConfig& config, std::span<const ModuleInfo> modules,
                                            const std::string& where)
{
    ModuleChoice wanted = config.targets;
    if (wanted.kind == ModuleChoice::Kind::none) { wanted = detail::default_targets(); }
    require(config.dropout >= 0 && config.dropout < 1, [&] {
        return where + ": the dropout must be at least 0 and below 1, found " + std::to_string(config.dropout);
    });
    const detail::ModuleMatcher targets(wanted, where + ": target_modules"),
        exclude(config.exclude, where + ": exclude_modules");
    const detail::LayerFilter in_layer(config, where + ": layers_pattern");
    const detail::PatternTable<std::int64_t> ranks(config.rank_pattern, where + ": rank_pattern");
    const detail::PatternTable<double> alphas(config.alpha_pattern, where + ": alpha_pattern");

    AdapterTargets out;
    out.saved = saved_modules(config.modules_to_save, modules, where + ": modules_to_save");
    std::unordered_set<std::string> used;
    for (const ModuleInfo& module : modules) {
        if (detail::inside_saved(module.name, config.modules_to_save)) { continue; }
        const auto match = targets(module, &used);  // first: an entry whose modules are all excluded has matched
        if (!match.matches || exclude(module).matches || (!match.whole && !in_layer(module.name))) { continue; }
        require(module.kind != ModuleKind::other,
                [&] { return where + ": target_modules names " + module.name + ", which is no linear layer"; });
        AdapterTarget target{.name = module.name, .in = module.in, .out = module.out, .kind = module.kind};
        target.rank = ranks.find(module.name, config.rank);
        target.alpha = alphas.find(module.name, config.alpha);
        require(target.rank >= 1, [&] { return where + ": the rank of " + module.name + " must be at least 1"; });
        require(std::isfinite(target.alpha),
                [&] { return where + ": the alpha of " + module.name + " must be a finite number"; });
        const auto rank = static_cast<double>(target.rank);
        target.scale = target.alpha / (config.rslora ? std::sqrt(rank) : rank);
        out.modules.push_back(std::move(target));
    }
    for (const std::string& name : wanted.names) {
        if (!used.contains(name)) { out.unmatched.push_back(name); }
    }
    require(!out.modules.empty(), [&] {
        const std::string what = wanted.kind == ModuleChoice::Kind::list    ? name_list(wanted.names)
                                 : wanted.kind == ModuleChoice::Kind::regex ? printable(wanted.regex)
                                                                            : "all-linear";
        return where + ": no module of this model is meant by target_modules (" + what
               + "); is the adapter for another model?";
    });
    return out;
}

GRAFT_INLINE AdapterTargets adapter_targets(const AdapterConfig& config, const ModelConfig& model,
                                            const std::string& where)
{
    const auto modules = module_names(model);
    auto out = adapter_targets(config, modules, where);
    const auto table = [](const AdapterTarget& target) { return target.kind != ModuleKind::linear; };
    const auto on = std::find_if(out.modules.begin(), out.modules.end(), table);
    const bool has = on != out.modules.end();
    require(!has || !model.tied || !config.ensure_weight_tying, [&] {
        return where + ": LoRA on " + on->name
               + ", which is one of the two uses of a tied tensor, goes with "
                 "ensure_weight_tying false: the head is then a tensor of its own";
    });
    tie(out.saved, config, model.tied);
    out.saved.untie = out.saved.untie || (has && model.tied);
    const std::string tokens = where + ": trainable_token_indices";
    require(config.trained_tokens.empty() || !has,
            [&] { return tokens + ": not beside LoRA on " + on->name + ": choose one of the two"; });
    require(config.trained_tokens.empty() || !out.saved.has("model.embed_tokens.weight"),
            [&] { return tokens + ": modules_to_save trains the whole embedding already"; });
    require(config.trained_tokens.empty() || !out.saved.untie,
            [&] { return tokens + ": not beside a head that modules_to_save unties: set ensure_weight_tying"; });
    std::unordered_set<std::int64_t> seen;
    for (const std::int64_t token : config.trained_tokens) {
        require(token >= 0 && token < model.vocab, [&] {
            return tokens + ": " + std::to_string(token) + " is outside the vocabulary of "
                   + std::to_string(model.vocab);
        });
        require(seen.insert(token).second, [&] { return tokens + ": " + std::to_string(token) + " is there twice"; });
        out.tokens.push_back(std::int32_t(token));
    }
    return out;
}

}  // namespace graft
