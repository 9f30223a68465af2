#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/finetune_options.hpp"
#include "cli/text.hpp"
#include "graft/text/dataset.hpp"
#include "graft/train/report.hpp"

// What finetune and inspect share about data.
namespace cli {

inline graft::Dataset read_data(const FinetuneOptions& o, const std::vector<std::string>& names,
                                const std::optional<graft::Tokenizer>&    tokenizer,
                                const std::optional<graft::ChatTemplate>& chat, std::int64_t max_length,
                                std::int64_t vocab)
{
    graft::require(o.task == "dpo" || (o.max_prompt_length == 0 && !o.truncate), [&] {
        return std::string(o.truncate ? "--truncate" : "--max-prompt-length") +
               " belongs to preference pairs: give --task dpo too, or leave it out";
    });
    const std::vector<std::filesystem::path> files(names.begin(), names.end());
    return graft::load_dataset(files, tokenizer ? &*tokenizer : nullptr,
                               {.task = o.task == "text"  ? graft::Task::text
                                        : o.task == "dpo" ? graft::Task::dpo : graft::Task::sft,
                                .task_given = o.task_given,
                                .train_on = o.train_on == "all" ? graft::TrainOn::all : graft::TrainOn::responses,
                                .tmpl = chat ? &*chat : nullptr,
                                .max_length = max_length,
                                .max_prompt_length = o.max_prompt_length,
                                .truncate = o.truncate,
                                .vocab = std::int32_t(vocab)});
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
