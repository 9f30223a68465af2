#pragma once
#include <cmath>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/finetune_options.hpp"
#include "cli/program.hpp"
#include "graft/checkpoint/adapter.hpp"
#include "graft/core/machine.hpp"
#include "graft/io/output_folder.hpp"
#include "graft/train/manifest.hpp"
#include "graft/train/probe.hpp"
#include "graft/train/row_count.hpp"
#include "graft/train/trained_set.hpp"

// What a run proves of itself: which tensors it changed, that every row had its turn, and that a continued adapter
// does what it did when it was written. It ends as run.json in the output folder.
namespace cli {

class RunRecord {
public:
    RunRecord(const FinetuneOptions& o, graft::OptionValues options, const graft::RunSettings& settings,
              std::int64_t format)
        : o_(o)
    {
        run_.format = format;
        run_.target = graft::name(graft::machine().target);
        run_.options = std::move(options);
        run_.settings = settings;
        if (!o.adapter.empty() && graft::has_manifest(o.adapter)) { earlier_ = graft::read_manifest(o.adapter); }
        if (earlier_) { run_.earlier = earlier_->sha256; }
    }

    // Before the first step, and before a resumed run takes its state: what the run finds.
    template <class Model> void begin(const Model& model)
    {
        hashes_ = graft::tensor_hashes(model);
        run_.probe_before = graft::probe_loss(model);
        if (earlier_) { compare_with_earlier(); }
    }

    // After the last step: what it leaves. Throws where that is not what was declared.
    template <class Model, class AdamW>
    void end(const Model& model, AdamW& adamw, const std::vector<std::string>& declared, const graft::RowCount& count,
             const std::vector<graft::StepMetrics>& steps)
    {
        const auto after = graft::tensor_hashes(model);
        const auto set = graft::trained_set(hashes_, after, declared, graft::with_gradient(adamw));
        bool rate = false;
        for (const auto& step : steps) { rate = rate || step.lr > 0; }
        set.check(rate);
        run_.declared = set.declared();
        run_.trained = std::int64_t(set.changed.size());
        run_.without_gradient = std::int64_t(set.without_gradient.size());
        run_.frozen = set.frozen;
        run_.before = graft::combined(hashes_, declared);
        run_.after = graft::combined(after, declared);
        run_.probe_after = graft::probe_loss(model);
        run_.least = count.least(), run_.most = count.most(), run_.order = count.order();
        run_.steps = std::int64_t(steps.size());
        run_.metrics = graft::metrics_hash(steps);
        if (!steps.empty()) { run_.first_loss = steps.front().loss, run_.last_loss = steps.back().loss; }
    }

    void rows(std::int64_t rows, std::int64_t planned, const std::vector<std::string>& changed)
    {
        run_.rows = rows, run_.planned = planned, run_.changed = changed;
    }

    // When all of the result is in its folder but the file that makes it count.
    graft::BeforeLast writer(const graft::OutputFolder& output)
    {
        return [this, &output](const std::string& last, const std::string& text) {
            run_.files = graft::hash_files(output.path(), graft::OutputFolder::result_files(output.path()));
            run_.files[last] = {std::int64_t(text.size()), graft::sha256(text)};
            graft::write_manifest(output.path(), run_);
        };
    }

    std::string text() const
    {
        const auto number = [](std::int64_t n) { return graft::with_commas(n); };
        std::string out = "proof: " + number(run_.trained) + " of " + number(run_.declared)
                          + " trainable tensors changed, 0 of " + number(run_.frozen) + " frozen ones";
        if (run_.without_gradient > 0) { out += " (" + number(run_.without_gradient) + " had no gradient but zero)"; }
        out += "; each row was trained on " + number(run_.least);
        if (run_.most != run_.least) { out += " to " + number(run_.most); }
        return out + (run_.most == 1 ? " time\n" : " times\n");
    }

private:
    // The settings under which a continued adapter must do what it did.
    bool same_model() const
    {
        for (const auto& change : graft::setting_changes(earlier_->run.settings, run_.settings)) {
            for (const char* name : {"model", "dtype", "double-quant", "stack", "merge-adapter", "rope-scaling"}) {
                if (change.name == name) { return false; }
            }
            const bool nf4 = change.was == "qlora" || change.now == "qlora";
            if (change.name == "method" && nf4) { return false; }
        }
        return true;
    }

    void compare_with_earlier() const
    {
        const double was = earlier_->run.probe_after, now = run_.probe_before;
        const std::string both = "probe loss " + loss_text(was) + " when its run ended, " + loss_text(now) + " now";
        if (!same_model()) {
            print("adapter " + graft::printable(o_.adapter, 300) + ": " + both
                  + "; its run had another base, element type or quantisation\n");
            return;
        }
        // A sum of some thousand products, rounded in other orders on another processor.
        const double tolerance = (o_.dtype == "bf16" ? 0x1p-6 : 0x1p-13) * std::abs(was);
        graft::require(std::abs(was - now) <= tolerance, [&] {
            return "--adapter " + graft::printable(o_.adapter, 1000)
                   + ": does not do here what it did when it was written: " + both
                   + "; are its files those of one run? (inspect --verify-run)";
        });
        print("adapter " + graft::printable(o_.adapter, 300) + ": " + both + "\n");
    }

    const FinetuneOptions& o_;
    graft::RunManifest run_;
    std::optional<graft::FoundManifest> earlier_;
    graft::TensorHashes hashes_;
};

}  // namespace cli
