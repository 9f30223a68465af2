#pragma once
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "cli/finetune_options.hpp"
#include "cli/text.hpp"
#include "graft/text/dataset.hpp"
#include "graft/train/progress.hpp"
#include "graft/train/report.hpp"

// What finetune and inspect share about data.
namespace cli {

// Tells a waiting person how far the reading is, once it takes longer than a second: a line that is written again on a
// terminal, else one after 1, 2, 4, 8, … seconds. On stderr: what a program finds goes to stdout.
class ReadingProgress {
public:
    ReadingProgress() : terminal_(isatty(STDERR_FILENO) == 1), start_(Clock::now()) {}
    ReadingProgress(const ReadingProgress&) = delete;
    ReadingProgress& operator=(const ReadingProgress&) = delete;
    ~ReadingProgress()
    {
        if (open_) { write("\r\033[K"); }
    }

    void show(const graft::DataProgress& now)
    {
        const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
        if (seconds < next_) { return; }
        next_ = terminal_ ? seconds + 0.1 : 2 * next_;
        open_ = terminal_;
        const auto line = "reading " + graft::printable(now.file, 200) + ": " + graft::with_commas(now.rows_read)
                          + " rows, " + graft::with_commas(now.rows_used) + " used, " + graft::duration_text(seconds);
        write(terminal_ ? "\r\033[K" + line : line + "\n");
    }

private:
    using Clock = std::chrono::steady_clock;

    static void write(const std::string& text)
    {
        std::fwrite(text.data(), 1, text.size(), stderr);
        std::fflush(stderr);
    }

    bool              terminal_, open_ = false;
    double            next_ = 1;
    Clock::time_point start_;
};

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
    ReadingProgress progress;
    return graft::load_dataset(files, tokenizer ? &*tokenizer : nullptr,
                               {.task = o.task == "text"  ? graft::Task::text
                                        : o.task == "dpo" ? graft::Task::dpo : graft::Task::sft,
                                .task_given = o.task_given,
                                .train_on = o.train_on == "all" ? graft::TrainOn::all : graft::TrainOn::responses,
                                .tmpl = chat ? &*chat : nullptr,
                                .max_length = max_length,
                                .max_prompt_length = o.max_prompt_length,
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
