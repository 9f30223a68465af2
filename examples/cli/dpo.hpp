#pragma once
#include <cmath>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cli/finetune_options.hpp"
#include "cli/plan.hpp"
#include "cli/program.hpp"
#include "graft/checkpoint/adapter.hpp"
#include "graft/checkpoint/hf_config.hpp"
#include "graft/checkpoint/load_model.hpp"
#include "graft/text/dataset.hpp"
#include "graft/train/fingerprint.hpp"
#include "graft/train/preference_step.hpp"
#include "graft/train/run_settings.hpp"

// --task dpo: what its options mean, and the reference, which is measured once before the first step.
namespace cli {

// The reference that the run has: adapter-off, start, or a folder.
inline std::string reference_of(const FinetuneOptions& o)
{
    if (!o.reference.empty()) { return o.reference; }
    return o.method == "full" ? "start" : "adapter-off";
}

inline graft::PreferenceOptions preference_options(const FinetuneOptions& o)
{
    return {.loss = *graft::preference_loss_named(o.loss), .beta = o.beta, .label_smoothing = o.label_smoothing};
}

// Refuses options that do not go together, before anything is read.
inline void check_preference(const FinetuneOptions& o)
{
    using graft::require;
    if (o.task != "dpo") {
        for (const char* name : {"beta", "loss", "label-smoothing", "reference", "share-prompt"}) {
            require(!o.given.contains(name), [&] {
                return std::string("--") + name
                       + " belongs to preference training: give --task dpo too, or leave it out";
            });
        }
        return;
    }
    graft::require_preference(preference_options(o));
    require(!o.given.contains("train-on"), "--train-on belongs to conversations: --task dpo learns from the answers of "
                                           "a pair; leave it out");
    require(!o.given.contains("dropout") || o.dropout == 0,
            "--dropout is off in preference training, where policy and reference must be comparable; leave it out");
    require(o.adapter.empty() || !o.reference.empty(), [&] {
        return "--adapter " + graft::printable(o.adapter, 400)
               + ": say which reference the answers are held against: "
                 "--reference start (the model with this adapter as it is now: right after SFT) or --reference "
                 "adapter-off (the base model without it), or the folder of another adapter or checkpoint";
    });
    require(o.method != "full" || reference_of(o) != "adapter-off",
            "--reference adapter-off: --method full has no adapter; the model before training is --reference start");
    const std::string reference = reference_of(o);
    if (reference == "adapter-off" || reference == "start") { return; }
    namespace fs = std::filesystem;
    require(fs::exists(fs::path(reference) / "adapter_config.json") || fs::exists(fs::path(reference) / "config.json"),
            [&] {
                return "--reference " + graft::printable(reference, 400)
                       + ": expected adapter-off, start, or a folder "
                         "with adapter_config.json (an adapter) or config.json (a checkpoint)";
            });
}

// What a resumed run of --task dpo must share with the run that it goes on with.
inline void add_preference_settings(graft::RunSettings& out, const FinetuneOptions& o)
{
    if (o.task != "dpo") { return; }
    const auto add = [&](const char* name, const std::string& value) { out.push_back({name, value}); };
    add("beta", graft::detail::shortest(o.beta));
    add("loss", o.loss);
    add("label-smoothing", graft::detail::shortest(o.label_smoothing));
    const std::string reference = reference_of(o);
    if (reference == "adapter-off" || reference == "start") {
        add("reference", reference);
    } else {
        const bool adapter = std::filesystem::exists(std::filesystem::path(reference) / "adapter_config.json");
        const std::string hash = adapter ? graft::adapter_fingerprint(reference)
                                         : graft::base_fingerprint(graft::Checkpoint::open(reference));
        out.push_back({"reference", "sha256 " + hash.substr(0, 8) + " (" + reference + ")", hash});
    }
    add("max-prompt-length", std::to_string(o.max_prompt_length));
    add("truncate", o.truncate ? "true" : "false");
    add("share-prompt", o.share_prompt ? "true" : "false");
}

// The pairs of a run and what the reference says of them. Empty for other tasks.
class Preference {
public:
    Preference() = default;
    Preference(const FinetuneOptions& o, const graft::Dataset& data, const graft::Dataset* eval)
        : options_(&o), reference_(reference_of(o))
    {
        sets_.push_back({.examples = data.examples,
                         .prompts = data.prompts,
                         .options = preference_options(o),
                         .share_prompt = o.share_prompt});
        if (eval == nullptr) { return; }
        sets_.push_back({.examples = eval->examples,
                         .prompts = eval->prompts,
                         .options = preference_options(o),
                         .share_prompt = o.share_prompt});
    }

    explicit operator bool() const { return !sets_.empty(); }
    const graft::PreferenceData& data() const { return sets_.front(); }
    const graft::PreferenceData& eval() const { return sets_.back(); }

    std::vector<graft::Batch> micro_batches(const std::vector<std::vector<std::int64_t>>& groups) const
    {
        std::vector<graft::Batch> out;
        for (const auto& pairs : groups) { out.push_back(graft::collate_pairs(data(), pairs)); }
        return out;
    }

    // The pairs of a micro-batch: a pair is there with both of its answers.
    static std::vector<std::int64_t> pairs(const graft::Batch& batch)
    {
        const std::size_t half = batch.rows.size() / 2;
        std::vector<std::int64_t> out;
        for (std::size_t i = 0; i < half; ++i) {
            if (batch.rows[i] + 1 == batch.rows[half + i]) { out.push_back(batch.rows[i] / 2); }
        }
        return out;
    }

    // Before the run's adapter is laid over the model, and after it is filled: each reference has its moment. Always
    // from the values that the run starts with, so that a resumed run finds the same ones.
    template <class Model> void before_adapter(Model& model, std::int64_t max_length)
    {
        if (!*this || reference_ == "start") { return; }
        const std::filesystem::path folder = reference_;
        if (reference_ == "adapter-off") { return measure(model, max_length); }
        if (!std::filesystem::exists(folder / "adapter_config.json")) {
            return measure_checkpoint<Model>(model.config, max_length);
        }
        const auto adapter = graft::read_adapter_config(folder);
        const auto targets = graft::adapter_targets(adapter, model.config, reference_);
        graft::require(targets.saved.empty() && !targets.saved.untie, [&] {
            return "--reference " + graft::printable(reference_, 400) + ": trained "
                   + graft::detail::tables_text(targets) + "; merge it, and give the merged checkpoint";
        });
        graft::add_adapter(model, targets, adapter, 0);
        graft::load_adapter(model, folder);
        measure(model, max_length);
        graft::remove_adapter(model);
    }
    template <class Model> void at_start(Model& model, std::int64_t max_length)
    {
        if (*this && reference_ == "start") { measure(model, max_length); }
    }

private:
    template <class Model> void measure(const Model& model, std::int64_t max_length)
    {
        const auto rope = model.positions(max_length);
        for (auto& set : sets_) { set.reference = graft::reference_log_probs(model, set, options_->batch, rope); }
        if (!options_->quiet) {
            print("reference: "
                  + (reference_ == "start"         ? "the model as it starts"
                     : reference_ == "adapter-off" ? "the model without the adapter"
                                                   : graft::printable(reference_, 400))
                  + ", measured over " + std::to_string(data().pairs()) + " pairs\n\n");
        }
    }

    // A checkpoint of its own, gone again before training begins.
    template <class Model> void measure_checkpoint(const graft::ModelConfig& policy, std::int64_t max_length)
    {
        const auto config = graft::read_config(reference_);
        graft::require(config.vocab == policy.vocab && config.max_positions >= max_length, [&] {
            return "--reference " + graft::printable(reference_, 400) + ": its vocabulary of "
                   + std::to_string(config.vocab) + " and " + std::to_string(config.max_positions)
                   + " positions do not hold rows for the model's vocabulary of " + std::to_string(policy.vocab)
                   + " and " + std::to_string(max_length) + " positions";
        });
        FinetuneOptions frozen = *options_;
        if (frozen.method == "full") { frozen.method = "lora"; }
        auto model = graft::make_model<typename Model::T>(config, model_options(frozen, config, {}));
        graft::load_weights(model, graft::Checkpoint::open(reference_), {.double_quant = options_->double_quant});
        measure(model, max_length);
    }

    const FinetuneOptions* options_ = nullptr;
    std::string reference_;
    std::vector<graft::PreferenceData> sets_;  // training, and evaluation where there is one
};

}  // namespace cli
