#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "graft/text/dataset/example.hpp"
#include "graft/text/dataset/read.hpp"

// What became of a data set: nothing is dropped, cut or learnt without being counted here.
//
//   DataReport        counts
//   summary(report)   the report as lines for a person
namespace graft {

struct DataReport {
    struct Dropped {
        std::string              reason;
        std::int64_t             rows = 0;
        std::vector<std::string> first;   // the first few, as FILE:LINE
    };

    std::string          form;                 // "messages", "text", ...
    std::int64_t         rows_read = 0, rows_used = 0, examples = 0;
    std::vector<Dropped> dropped;
    std::int64_t         rows_cut = 0, tokens_lost = 0;        // sft: too long, the end cut away
    std::int64_t         rows_split = 0, pieces = 0;           // text: too long, cut into pieces, nothing lost
    std::int64_t         tokens = 0, targets = 0;              // over all examples
    std::int64_t         targets_min = 0, targets_max = 0;     // of a used row
    std::int64_t         rows_without_target = 0;              // dropped for that reason
    std::int64_t         empty_answers = 0;
    std::int64_t         rows_with_control = 0, control_tokens = 0;   // control tokens typed inside contents
    std::int64_t rows_ending_in_control = 0;  // rows whose last target is a control token (end of turn)
    bool                 knows_control = false;                // false for ready-made ids without a tokeniser
    std::vector<std::string> unknown_keys;                     // fields that were not used, each once
    std::int64_t         unknown_keys_left_out = 0;
    std::vector<std::string> notes;                            // what a person should be told

    double targets_mean() const { return rows_used == 0 ? 0.0 : double(targets) / double(rows_used); }
    double trained_share() const { return tokens == 0 ? 0.0 : double(targets) / double(tokens); }
    std::int64_t rows_dropped() const
    {
        std::int64_t sum = 0;
        for (const auto& kind : dropped) { sum += kind.rows; }
        return sum;
    }

    void drop(const std::string& reason, const RowPlace& place)
    {
        constexpr std::size_t named = 5, kinds = 32;
        auto kind = std::find_if(dropped.begin(), dropped.end(), [&](const auto& d) { return d.reason == reason; });
        if (kind == dropped.end() && dropped.size() >= kinds) {
            // A template may put its own words into the reason, a new one for each row.
            kind = std::find_if(dropped.begin(), dropped.end(), [](const auto& d) { return d.reason == "other"; });
            if (kind == dropped.end()) {
                kind = dropped.insert(dropped.end(), {.reason = "other", .rows = 0, .first = {}});
            }
        }
        if (kind == dropped.end()) { kind = dropped.insert(dropped.end(), {.reason = reason, .rows = 0, .first = {}}); }
        ++kind->rows;
        if (kind->first.size() < named) { kind->first.push_back(detail::dataset::at(place)); }
    }
    void note(const std::string& text)
    {
        if (std::find(notes.begin(), notes.end(), text) == notes.end()) { notes.push_back(text); }
    }
    void unknown_key(const std::string& key)
    {
        constexpr std::size_t listed = 32;
        const auto            name   = detail::dataset::printable(key, 60);
        if (std::find(unknown_keys.begin(), unknown_keys.end(), name) != unknown_keys.end()) { return; }
        if (unknown_keys.size() < listed) {
            unknown_keys.push_back(name);
        } else {
            ++unknown_keys_left_out;
        }
    }
};

namespace detail::dataset {

inline std::string counted(std::int64_t n, const char* one, const char* many = nullptr)
{
    return std::to_string(n) + " " + (n == 1 ? std::string(one) : many != nullptr ? many : std::string(one) + "s");
}

inline std::string joined(const std::vector<std::string>& names, std::size_t most = 8)
{
    std::string out;
    for (std::size_t i = 0; i < names.size() && i < most; ++i) { out += (i == 0 ? "" : ", ") + names[i]; }
    if (names.size() > most) { out += ", and " + std::to_string(names.size() - most) + " more"; }
    return out;
}

inline std::string percent(double share)
{
    char text[32];
    std::snprintf(text, sizeof text, "%.1f %%", 100.0 * share);
    return text;
}

}  // namespace detail::dataset

// The report as lines of text, without line ends.
inline std::vector<std::string> summary(const DataReport& report)
{
    using detail::dataset::counted;
    std::vector<std::string> lines;
    lines.push_back(counted(report.rows_read, "row") + " of " + report.form + ", " + std::to_string(report.rows_used)
                    + " used, " + std::to_string(report.rows_dropped()) + " dropped; " + counted(report.tokens, "token")
                    + ", " + counted(report.targets, "target") + " (" + detail::dataset::percent(report.trained_share())
                    + ")");
    char mean[64];
    std::snprintf(mean, sizeof mean, "%.1f", report.targets_mean());
    lines.push_back("targets a row: min " + std::to_string(report.targets_min) + ", mean " + mean + ", max " +
                    std::to_string(report.targets_max));
    for (const auto& kind : report.dropped) {
        auto line =
            "dropped " + counted(kind.rows, "row") + ": " + kind.reason + " (" + detail::dataset::joined(kind.first);
        if (kind.rows > std::int64_t(kind.first.size())) {
            line += ", and " + std::to_string(kind.rows - std::int64_t(kind.first.size())) + " more";
        }
        lines.push_back(line + ")");
    }
    if (report.rows_cut > 0) {
        lines.push_back("cut " + counted(report.rows_cut, "row") + " at the maximum length, " +
                        counted(report.tokens_lost, "token") + " lost");
    }
    if (report.rows_split > 0) {
        lines.push_back("split " + counted(report.rows_split, "long row") + " into " + counted(report.pieces, "piece") +
                        ", nothing lost");
    }
    if (report.empty_answers > 0) {
        lines.push_back(
            counted(report.empty_answers, "row with an empty answer", "rows with an empty answer") + ", kept");
    }
    if (report.rows_with_control > 0) {
        lines.push_back(counted(report.control_tokens, "control token") + " inside the contents of " +
                        counted(report.rows_with_control, "row"));
    }
    if (report.knows_control && report.rows_used > 0) {
        lines.push_back("the last target is a control token (end of turn or of text) in " +
                        std::to_string(report.rows_ending_in_control) + " of " + counted(report.rows_used, "row"));
    }
    if (!report.unknown_keys.empty()) {
        auto line = "fields not used: " + detail::dataset::joined(report.unknown_keys);
        lines.push_back(line);
    }
    lines.insert(lines.end(), report.notes.begin(), report.notes.end());
    return lines;
}

}  // namespace graft
