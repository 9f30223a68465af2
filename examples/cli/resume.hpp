#pragma once
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/adapter_options.hpp"
#include "cli/dpo.hpp"
#include "cli/finetune_options.hpp"
#include "cli/given_adapters.hpp"
#include "cli/program.hpp"
#include "graft/checkpoint/checkpoint.hpp"
#include "graft/io/output_folder.hpp"
#include "graft/text/dataset.hpp"
#include "graft/train/adapter_stack.hpp"
#include "graft/train/fingerprint.hpp"
#include "graft/train/manifest.hpp"
#include "graft/train/run_state.hpp"

// --save-every, --keep, --resume and --allow-changed of a training program.
namespace cli {

// What a resumed run must share with the run that it goes on with. Free to change: threads, recompute, what is shown,
// how often is saved and measured, where metrics go.
inline graft::RunSettings run_settings(const FinetuneOptions& o, std::int64_t max_length, const graft::Dataset& data,
                                       const graft::Dataset* eval)
{
    graft::RunSettings out;
    const auto add = [&](const char* name, const std::string& value) { out.push_back({name, value}); };
    const auto number = [&](const char* name, double value) { add(name, graft::detail::shortest(value)); };
    const auto flag = [&](const char* name, bool value) { add(name, value ? "true" : "false"); };
    const auto bytes = [&](const char* name, const std::string& what, const std::string& hash) {
        out.push_back({name, "sha256 " + hash.substr(0, 8) + " (" + what + ")", hash});
    };
    const auto rows = [&](const char* name, const std::string& files, const graft::Dataset& set) {
        const auto n = set.examples.size();
        bytes(name, std::to_string(n) + (n == 1 ? " example of " : " examples of ") + files,
              graft::data_fingerprint(set.examples));
    };

    bytes("model", o.model, graft::base_fingerprint(graft::Checkpoint::open(o.model)));
    rows("data", joined_names(o.data), data);
    add("method", o.method);
    if (!o.adapter.empty()) {
        bytes("adapter", o.adapter, graft::adapter_fingerprint(o.adapter));
    } else if (o.method != "full") {
        number("rank", double(o.rank));
        number("alpha", o.alpha);
        flag("rslora", o.rslora);
        number("dropout", o.dropout);
        add("target", o.target);
        if (!o.exclude.empty()) { add("exclude", o.exclude); }
        if (!o.modules_to_save.empty()) { add("modules-to-save", o.modules_to_save); }
        if (!o.train_tokens.empty()) { add("train-tokens", joined_ids(o.train_tokens)); }
    }
    if (!o.merge_adapter.empty()) { bytes("merge-adapter", merged_text(o), merged_hash(o)); }
    if (!o.stack.empty()) {
        const std::vector<std::filesystem::path> folders(o.stack.begin(), o.stack.end());
        bytes("stack", joined_names(o.stack), graft::stack_fingerprint(folders));
    }
    if (o.untie) { flag("untie", true); }
    if (o.freeze_saved) { flag("freeze-saved-modules", true); }
    if (o.embedding_lr >= 0) { number("embedding-lr", o.embedding_lr); }
    flag("double-quant", o.double_quant);
    add("task", o.task);
    add("train-on", o.train_on);
    add("template", o.chat_template);
    number("max-length", double(max_length));
    if (!o.rope_scaling.empty()) { add("rope-scaling", o.rope_scaling); }
    add_preference_settings(out, o);
    flag("no-shuffle", o.no_shuffle);
    number("batch", double(o.batch));
    number("accumulate", double(o.accumulate));
    if (o.steps >= 0) {
        number("steps", double(o.steps));
    } else {
        number("epochs", o.epochs);
    }
    number("lr", o.lr);
    add("schedule", o.schedule);
    number("warmup", o.warmup);
    number("weight-decay", o.weight_decay);
    number("clip", o.clip);
    add("seed", std::to_string(o.seed));
    add("dtype", o.dtype);
    if (eval != nullptr) { rows("eval", o.eval, *eval); }
    return out;
}

class Checkpoints {
public:
    // metadata: of the adapter in each checkpoint.
    Checkpoints(const FinetuneOptions& options, graft::OutputFolder& output, const graft::Metadata& metadata)
        : o_(options), output_(output), metadata_(metadata)
    {}

    // Whether the run leaves checkpoints: one with --resume always does, so that it can be resumed again.
    bool on() const { return o_.save_every > 0 || o_.resume; }

    // With --resume the steps that are done, of the newest whole checkpoint; before weights are loaded. Nothing where
    // --resume auto finds the run finished, which it says.
    std::optional<std::vector<graft::StepMetrics>> begin(graft::RunSettings settings, std::int64_t total)
    {
        using Steps = std::vector<graft::StepMetrics>;
        settings_ = std::move(settings);
        total_ = total;
        if (!output_.resumes()) { return Steps(); }
        if (o_.resume_auto && !graft::OutputFolder::has_checkpoint(output_.path())) {
            require_same_result();
            return std::nullopt;
        }
        found_ = graft::newest_run_state(output_.path());
        graft::require(!found_.folder.empty(), [&] {
            return o_.output + ": nothing to resume: no checkpoint is whole: " + graft::name_list(found_.reasons);
        });
        for (const auto& reason : found_.reasons) { print("passed over: " + reason + "\n"); }
        refuse_changes();
        const std::string name = found_.folder.filename().string();
        const std::int64_t done = found_.state.step();
        if (o_.resume_auto && done == total && graft::OutputFolder::is_finished(output_.path())) {
            say_finished();
            return std::nullopt;
        }
        graft::require(done < total || !graft::OutputFolder::is_finished(output_.path()), [&] {
            return o_.output + ": nothing to resume: the run is finished, all " + std::to_string(total)
                   + " steps are done; train on with more --steps and --allow-changed steps, or with --adapter "
                   + o_.output + " and another --output";
        });
        graft::require(done <= total, [&] {
            return o_.output + ": " + name + " is past the " + std::to_string(total) + " steps that are asked for";
        });
        print("resuming " + o_.output + " from " + name + ": " + std::to_string(done) + " of " + std::to_string(total)
              + " steps are done\n");
        saved_ = done;
        return found_.state.steps;
    }

    // The values of that checkpoint into the model and its optimiser. Damaged ones step aside.
    template <class Model, class AdamW> void load(Model& model, AdamW& adamw)
    {
        if (!output_.resumes()) { return; }
        graft::load_run_state(found_.folder, model, adamw);
        for (const auto& folder : found_.damaged) { graft::set_aside(folder); }
    }

    // Settings that --allow-changed let change on the way, as "lr after step 30".
    const std::vector<std::string>& changed() const { return changed_; }

    bool due(std::int64_t done) const { return o_.save_every > 0 && done % o_.save_every == 0; }

    // A checkpoint of the steps done, unless there is one.
    template <class Model, class AdamW>
    void save(const std::vector<graft::StepMetrics>& steps, Model& model, AdamW& adamw,
              const graft::KeptTensors& kept = {})
    {
        if (std::int64_t(steps.size()) == saved_) { return; }
        graft::RunState state{.steps = steps, .settings = settings_, .changed = changed_};
        saved_ = state.step();
        // What was measured only because the run was asked to stop is not part of the run that goes on.
        if (saved_ < total_ && saved_ > 0 && (o_.eval_every == 0 || saved_ % o_.eval_every != 0)) {
            state.steps.back().eval_loss.reset();
        }
        graft::save_run_state(output_.path(), state, model, adamw,
                              {.keep = o_.keep, .metadata = metadata_, .kept = kept});
        output_.hold();
    }

private:
    void say_finished() const
    {
        print(o_.output + ": the run is finished, all " + std::to_string(total_) + " steps are done: nothing to do\n");
    }

    // A result without a checkpoint: what it was made of is in its run.json.
    void require_same_result()
    {
        const auto& folder = output_.path();
        graft::require(graft::has_manifest(folder), [&] {
            return o_.output
                   + ": nothing to resume: what it holds is finished, and has neither a checkpoint nor a "
                     "run.json that says whose run it was; name another folder";
        });
        const auto run = graft::read_manifest(folder).run;
        found_.state.settings = run.settings, found_.state.changed = run.changed;
        refuse_changes();
        graft::require(run.steps == total_, [&] {
            return o_.output + ": nothing to resume: the run in it ended after " + std::to_string(run.steps) + " of "
                   + std::to_string(total_) + " steps and has no checkpoint; go on from its adapter with --adapter "
                   + o_.output + " and another --output";
        });
        say_finished();
    }

    void refuse_changes()
    {
        changed_ = found_.state.changed;
        std::vector<graft::SettingChange> refused;
        std::vector<std::string> known;
        for (const auto& setting : found_.state.settings) { known.push_back(setting.name); }
        for (const auto& setting : settings_) { known.push_back(setting.name); }
        std::vector<std::string> allowed;
        for (std::string name : o_.allow_changed) {
            name.erase(0, name.find_first_not_of('-'));
            graft::require(std::find(known.begin(), known.end(), name) != known.end(), [&] {
                return "--allow-changed " + graft::printable(name)
                       + ": not a setting that is compared; those are: " + graft::name_list(known, known.size());
            });
            allowed.push_back(name);
        }
        for (const auto& change : graft::setting_changes(found_.state.settings, settings_)) {
            if (std::find(allowed.begin(), allowed.end(), change.name) == allowed.end()) {
                refused.push_back(change);
            } else {
                print("changed: " + graft::changes_text({change}) + "\n");
                changed_.push_back(change.name + " after step " + std::to_string(found_.state.step()));
            }
        }
        graft::require(refused.empty(), [&] {
            return o_.output + ": cannot be resumed with other settings than the run had: "
                   + graft::changes_text(refused) + "; give them as they were, or --allow-changed NAME";
        });
    }

    const FinetuneOptions& o_;
    graft::OutputFolder& output_;
    const graft::Metadata& metadata_;  // may gain the base's fingerprint when the run begins
    graft::RunSettings settings_;
    graft::FoundRunState found_;
    std::vector<std::string> changed_;
    std::int64_t total_ = 0, saved_ = -1;
};

}  // namespace cli
