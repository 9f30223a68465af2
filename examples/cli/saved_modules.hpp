#pragma once
#include <map>
#include <string>

#include "cli/finetune_options.hpp"
#include "graft/checkpoint/audit.hpp"
#include "graft/checkpoint/saved_types.hpp"
#include "graft/io/text.hpp"

// --modules-to-save, --embedding-lr, --untie and --freeze-saved-modules: modules that are trained whole beside an
// adapter.
namespace cli {

// The names of a new adapter, before its targets are looked for.
inline void check_saved_names(const FinetuneOptions& o, const graft::ModelConfig& config)
{
    if (o.method == "full") {
        for (const char* name : {"modules-to-save", "train-tokens", "embedding-lr", "untie", "freeze-saved-modules"}) {
            graft::require(!o.given.contains(name),
                           [&] { return "--" + std::string(name) + " and --method full exclude each other"; });
        }
    }
    if (o.adapter.empty() && !o.modules_to_save.empty()) {
        const auto modules = graft::module_names(config);
        graft::saved_modules(split_names(o.modules_to_save), modules, "--modules-to-save");
    }
}

// What the options and the adapter make of targets and model: nothing is loaded yet.
inline void settle_saved(const FinetuneOptions& o, graft::AdapterTargets& targets, graft::ModelConfig& config)
{
    auto& saved = targets.saved;
    graft::require(!o.untie || saved.untie, [&] {
        return std::string("--untie: ")
               + (config.tied ? "neither embedding nor head is trained: name them with "
                                "--modules-to-save or --target"
                              : "the head of this model is not its embedding");
    });
    graft::require(!saved.untie || o.untie || !o.adapter.empty(), [&] {
        return "--target: " + graft::detail::tables_text(targets)
               + " sees one of the two uses of a tied tensor alone: "
                 "add --untie, which makes the head a tensor of its own, or train both uses with --modules-to-save "
                 "embed_tokens or --train-tokens";
    });
    if (saved.untie) { config.tied = false; }
    graft::require(!o.freeze_saved || (!o.adapter.empty() && !saved.empty()), [&] {
        return std::string("--freeze-saved-modules: ")
               + (o.adapter.empty() ? "there is no --adapter whose modules could be frozen"
                                    : graft::printable(o.adapter, 1000) + " has no modules that were trained whole");
    });
    saved.frozen = o.freeze_saved;
    const bool pair = saved.has("model.embed_tokens.weight") || saved.has("lm_head.weight");
    graft::require(o.embedding_lr < 0 || (pair && !saved.frozen) || !targets.tokens.empty(),
                   "--embedding-lr: neither embedding nor head is trained: name them with --modules-to-save");
}

// The rates of tensors that do not take --lr.
inline std::map<std::string, double> rates_of(const FinetuneOptions& o, const graft::AdapterTargets& targets)
{
    std::map<std::string, double> rates;
    if (o.embedding_lr < 0) { return rates; }
    if (!targets.tokens.empty()) { rates[graft::token_rows_tensor] = o.embedding_lr; }
    for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
        if (targets.saved.has(name) && !targets.saved.frozen) { rates[name] = o.embedding_lr; }
    }
    return rates;
}

inline void add_rates(graft::Audit& audit, const FinetuneOptions& o)
{
    for (auto& group : audit.groups) {
        const bool pair = group.name != "adapter" && group.name != "other modules";
        group.rate = pair && o.embedding_lr >= 0 ? o.embedding_lr : o.lr;
    }
}

// The choices that a run makes for its user, a line each.
inline std::string saved_text(const FinetuneOptions& o, const graft::SavedModules& saved)
{
    std::string text;
    if (!saved.empty() && !o.adapter.empty()) {
        text += "adapter " + graft::printable(o.adapter, 300) + ": its file holds " + graft::name_list(saved.modules)
                + " whole: "
                + (saved.frozen ? "frozen, saved as they came\n"
                                : "trained on (--freeze-saved-modules keeps them as they are)\n");
    }
    if (saved.shared && !saved.frozen && o.adapter.empty()) { text += "--untie would train the two uses apart\n"; }
    if (saved.untie) {
        text += "untied: the head is a tensor of its own, which began as a copy of the embedding; merge writes "
                "tie_word_embeddings false\n";
    }
    return text;
}

}  // namespace cli
