#pragma once
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "cli/finetune_options.hpp"
#include "cli/text.hpp"
#include "graft/text/dataset.hpp"
#include "graft/train/progress.hpp"
#include "graft/train/report.hpp"

// What finetune and inspect share about data.
namespace cli {

// The text that an option means, with \n, \r, \t, \f, \v, \\, \xHH and \uHHHH (no surrogate) in it.
inline std::string unescaped(const std::string& text, const std::string& option)
{
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\') { out += text[i]; continue; }
        const char c = i + 1 < text.size() ? text[i + 1] : '\0';
        constexpr std::string_view from = "nrtfv\\", to = "\n\r\t\f\v\\";
        if (const auto at = from.find(c); c != '\0' && at != std::string_view::npos) {
            out += to[at], ++i;
            continue;
        }
        const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 0;
        std::uint32_t code = 0;
        const char* const begin = text.data() + std::min(i + 2, text.size());
        const char* const end = text.data() + std::min(i + 2 + digits, text.size());
        const auto read = std::from_chars(begin, end, code, 16);
        const bool whole = digits > 0 && read.ec == std::errc() && std::size_t(read.ptr - begin) == digits
                        && code > 0 && (code < 0xD800 || code > 0xDFFF);
        graft::require(whole, [&] {
            return option + ": \\" + (c == '\0' ? "" : graft::printable(std::string(1, c))) + " means nothing here: \\n is a "
                   "line end, \\t a tab, \\\\ a backslash, \\xHH and \\uHHHH a character";
        });
        if (code < 0x80) { out += char(code); }
        else if (code < 0x800) { out += {char(0xC0 | (code >> 6)), char(0x80 | (code & 63))}; }
        else { out += {char(0xE0 | (code >> 12)), char(0x80 | ((code >> 6) & 63)), char(0x80 | (code & 63))}; }
        i += 1 + digits;
    }
    return out;
}

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
