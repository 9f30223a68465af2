#pragma once
#include <string>
#include <vector>

#include "cli/finetune_options.hpp"
#include "graft/checkpoint/adapter_config.hpp"
#include "graft/io/text.hpp"
#include "graft/train/metrics.hpp"

// --adapter DIR beside options that describe an adapter: equal values are accepted, others are an error that names
// both.
namespace cli {

inline std::string choice_text(const graft::ModuleChoice& choice, const std::string& none)
{
    switch (choice.kind) {
    case graft::ModuleChoice::Kind::all_linear: return "all-linear";
    case graft::ModuleChoice::Kind::regex: return "the regular expression " + graft::printable(choice.regex);
    case graft::ModuleChoice::Kind::list: return graft::name_list(choice.names);
    case graft::ModuleChoice::Kind::none: break;
    }
    return none;
}

// What rank_pattern or alpha_pattern adds to one number.
template <class Value>
std::string pattern_text(const std::string& key, const std::vector<std::pair<std::string, Value>>& patterns)
{
    std::vector<std::string> out;
    for (const auto& [pattern, value] : patterns) {
        out.push_back(graft::detail::shortest(double(value)) + " for " + graft::printable(pattern));
    }
    return out.empty() ? "" : "; by " + key + ": " + graft::name_list(out);
}

inline void refuse_other_settings(const FinetuneOptions& o, const graft::AdapterConfig& has,
                                  const graft::ModelConfig& model)
{
    graft::require(has.init != graft::AdapterInit::mica, [&] {
        return "--adapter " + graft::printable(o.adapter, 1000)
               + " began as mica, where B stays as it is, and graft trains "
               + "A and B: train a new adapter over it with --stack or --merge-adapter";
    });
    std::vector<std::string> differ;
    const auto compare = [&](const std::string& option, const std::string& asked, const std::string& found,
                             const std::string& more = "") {
        if (o.given.contains(option) && asked != found) {
            differ.push_back("--" + option + " " + graft::printable(asked) + " (it has " + found + more + ")");
        }
    };
    const auto number = [](double value) { return graft::detail::shortest(value); };
    compare("rank", std::to_string(o.rank), std::to_string(has.rank), pattern_text("rank_pattern", has.rank_pattern));
    compare("alpha", number(o.alpha), number(has.alpha), pattern_text("alpha_pattern", has.alpha_pattern));
    compare("dropout", number(o.dropout), number(has.dropout));
    compare("rslora", o.rslora ? "true" : "false", has.rslora ? "true" : "false");

    // The same modules may be named in other ways.
    graft::AdapterConfig asked = has;
    if (o.given.contains("target")) { asked.targets = module_choice(o.target); }
    if (o.given.contains("exclude")) { asked.exclude = module_choice(o.exclude); }
    const auto names = [&](const graft::AdapterConfig& config, bool given = false) {
        std::vector<std::string> out;
        const auto targets = graft::adapter_targets(config, model, given ? "--target" : o.adapter);
        graft::require(!given || targets.unmatched.empty(), [&] {
            return "--target: the model has no module named " + graft::name_list(targets.unmatched);
        });
        for (const auto& target : targets.modules) { out.push_back(target.name); }
        return out;
    };
    if ((o.given.contains("target") || o.given.contains("exclude"))
        && names(asked, o.given.contains("target")) != names(has)) {
        std::vector<std::string> layers;
        for (const auto layer : has.layers_to_transform) { layers.push_back(std::to_string(layer)); }
        compare("target", o.target, choice_text(has.targets, "q_proj and v_proj"),
                layers.empty() ? "" : ", in layers " + graft::name_list(layers));
        compare("exclude", o.exclude, choice_text(has.exclude, "none"));
    }
    asked = has;
    asked.modules_to_save = split_names(o.modules_to_save);
    const auto modules = graft::adapter_targets(has, model, o.adapter).saved;
    if (graft::adapter_targets(asked, model, o.adapter).saved.modules != modules.modules) {
        compare("modules-to-save", o.modules_to_save, modules.empty() ? "none" : graft::name_list(modules.modules));
    }
    const std::string tokens = joined_ids(has.trained_tokens);
    compare("train-tokens", joined_ids(o.train_tokens), tokens.empty() ? "none" : tokens);
    compare("untie", o.untie ? "true" : "false", modules.untie ? "true" : "false");
    graft::require(differ.empty(), [&] {
        std::string all;
        for (const auto& one : differ) { all += (all.empty() ? "" : ", ") + one; }
        return "--adapter " + graft::printable(o.adapter, 1000) + " keeps its own settings, which differ from " + all
               + ": leave these options out, or train a new adapter without --adapter";
    });
}

}  // namespace cli
