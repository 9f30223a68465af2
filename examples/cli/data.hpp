#pragma once
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/finetune_options.hpp"
#include "cli/reading_progress.hpp"
#include "cli/unescaped.hpp"
#include "graft/text/dataset.hpp"
#include "graft/text/dataset/proof.hpp"
#include "graft/train/report.hpp"

// What finetune and inspect share about data.
namespace cli {

// What --split-on cuts files at; refused where there is none that it could cut.
inline std::string split_text(const FinetuneOptions& o)
{
    if (!o.given.contains("split-on") && o.split_on.empty()) { return ""; }
    graft::require(!o.split_on.empty(), "--split-on: an empty text cuts nothing: leave it out");
    const bool any = std::any_of(o.data.begin(), o.data.end(), [](const auto& f) { return graft::is_document(f); });
    graft::require(any || (!o.eval.empty() && graft::is_document(o.eval)),
                   "--split-on cuts files of text (.txt, .md), and none is named: leave it out");
    return unescaped(o.split_on, "--split-on");
}

inline graft::Dataset read_data(const FinetuneOptions& o, const std::vector<std::string>& names,
                                const std::optional<graft::Tokenizer>& tokenizer,
                                const std::optional<graft::ChatTemplate>& chat, std::int64_t max_length,
                                std::int64_t vocab)
{
    graft::require(o.task == "dpo" || (o.max_prompt_length == 0 && !o.truncate), [&] {
        return std::string(o.truncate ? "--truncate" : "--max-prompt-length")
               + " belongs to preference pairs: give --task dpo too, or leave it out";
    });
    const std::vector<std::filesystem::path> files(names.begin(), names.end());
    ReadingProgress progress;
    return graft::load_dataset(files, tokenizer ? &*tokenizer : nullptr,
                               {.task = o.task == "text"  ? graft::Task::text
                                        : o.task == "dpo" ? graft::Task::dpo
                                                          : graft::Task::sft,
                                .task_given = o.task_given,
                                .train_on = o.train_on == "all" ? graft::TrainOn::all : graft::TrainOn::responses,
                                .tmpl = chat ? &*chat : nullptr,
                                .max_length = max_length,
                                .max_prompt_length = o.max_prompt_length,
                                .split_on = split_text(o),
                                .truncate = o.truncate,
                                .vocab = std::int32_t(vocab),
                                .progress = [&](const graft::DataProgress& now) {
                                    if (!o.quiet) { progress.show(now); }
                                }});
}

// What the report of a run says of its data.
inline void report_data(graft::Report& report, const graft::Dataset& set, const graft::Tokenizer* tokenizer)
{
    report.data = graft::summary(set.report);
    report.trained_share = set.report.trained_share();
    for (const auto& bucket : graft::target_buckets(set.report)) {
        report.targets_a_row.emplace_back(graft::detail::dataset::bucket_name(bucket), bucket.count);
    }
    const auto parts_of = [&](const graft::Example& example) {
        std::vector<graft::ReportPart> parts;
        if (tokenizer == nullptr) { return parts; }
        for (const auto& part : graft::shortened(graft::marked_parts(example, *tokenizer), 8000)) {
            parts.push_back({part.text, part.learnt});
        }
        return parts;
    };
    if (!set.examples.empty()) { report.first_row = parts_of(set.examples[0]); }
    for (const auto number : graft::rows_to_look_at(set)) {
        const auto& example = set.examples[std::size_t(set.report.rows[number].example)];
        report.worst_rows.push_back({graft::row_title(set, number), parts_of(example)});
    }
}

}  // namespace cli
