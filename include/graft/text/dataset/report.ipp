#pragma once
#include "graft/text/dataset/report.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "graft/text/dataset/example.hpp"
#include "graft/text/dataset/histogram.hpp"
#include "graft/text/dataset/read/bytes.hpp"

namespace graft {

GRAFT_INLINE std::int64_t DataReport::rows_dropped() const
{
    std::int64_t sum = 0;
    for (const auto& kind : dropped) { sum += kind.rows; }
    return sum;
}

GRAFT_INLINE void DataReport::drop(const std::string& reason, const RowPlace& place, const std::string& where)
{
    count(dropped, reason, detail::dataset::at(place) + (where.empty() ? "" : " " + where));
}

GRAFT_INLINE void DataReport::remark(const std::string& what, const RowPlace& place)
{
    const auto here = detail::dataset::at(place);
    const bool same = std::any_of(remarks.begin(), remarks.end(),
                                  [&](const auto& kind) { return kind.reason == what && kind.last == here; });
    if (!same) { count(remarks, what, here); }
}

GRAFT_INLINE void DataReport::count(std::vector<Dropped>& all, const std::string& reason, const std::string& place)
{
    constexpr std::size_t named = 5, kinds = 32;
    auto kind = std::find_if(all.begin(), all.end(), [&](const auto& d) { return d.reason == reason; });
    if (kind == all.end() && all.size() >= kinds) {
        // A template may put its own words into the reason, a new one for each row.
        kind = std::find_if(all.begin(), all.end(), [](const auto& d) { return d.reason == "other"; });
        if (kind == all.end()) { kind = all.insert(all.end(), {.reason = "other", .rows = 0, .first = {}}); }
    }
    if (kind == all.end()) { kind = all.insert(all.end(), {.reason = reason, .rows = 0, .first = {}}); }
    ++kind->rows, kind->last = place;
    if (kind->first.size() < named) { kind->first.push_back(place); }
}

GRAFT_INLINE void DataReport::note(const std::string& text)
{
    if (std::find(notes.begin(), notes.end(), text) == notes.end()) { notes.push_back(text); }
}

GRAFT_INLINE void DataReport::unknown_key(const std::string& key)
{
    constexpr std::size_t listed = 32;
    const auto name = detail::dataset::printable(key, 60);
    if (std::find(unknown_keys.begin(), unknown_keys.end(), name) != unknown_keys.end()) { return; }
    if (unknown_keys.size() < listed) {
        unknown_keys.push_back(name);
    } else {
        ++unknown_keys_left_out;
    }
}

}  // namespace graft

namespace graft::detail::dataset {

GRAFT_INLINE std::string counted(std::int64_t n, const char* one, const char* many)
{
    return std::to_string(n) + " " + (n == 1 ? std::string(one) : many != nullptr ? many : std::string(one) + "s");
}

GRAFT_INLINE std::string joined(const std::vector<std::string>& names, std::size_t most)
{
    std::string out;
    for (std::size_t i = 0; i < names.size() && i < most; ++i) { out += (i == 0 ? "" : ", ") + names[i]; }
    if (names.size() > most) { out += ", and " + std::to_string(names.size() - most) + " more"; }
    return out;
}

GRAFT_INLINE std::string percent(double share)
{
    char text[32];
    std::snprintf(text, sizeof text, "%.1f %%", 100.0 * share);
    return text;
}

GRAFT_INLINE std::string places_of(const DataReport::Dropped& kind)
{
    const auto more = kind.rows - std::int64_t(kind.first.size());
    return " (" + joined(kind.first) + (more > 0 ? ", and " + std::to_string(more) + " more" : "") + ")";
}

GRAFT_INLINE std::string hidden_line(const DataReport& report)
{
    return "the template leaves out " + percent(double(report.hidden_chars) / double(report.said_chars))
           + " of what the answers say (" + std::to_string(report.hidden_chars) + " of "
           + counted(report.said_chars, "character") + "), in " + counted(report.rows_hidden, "row") + " (first "
           + report.first_hidden + "): as a rule the reasoning of earlier turns; it is not learnt";
}

GRAFT_INLINE std::string cut_line(const DataReport& report)
{
    auto line = "cut " + counted(report.rows_cut, "row") + " at the maximum length, "
                + counted(report.tokens_lost, "token") + " and " + counted(report.targets_lost, "target") + " lost";
    if (report.end_of_turn.empty()) { return line; }
    return line + "; " + counted(report.rows_end_lost, "row") + " lost the end of turn";
}

GRAFT_INLINE std::string ledger_line(const PairLedger& pairs)
{
    const auto line = counted(pairs.prompts_cut, "prompt") + " cut (" + counted(pairs.prompt_tokens_lost, "token")
                      + " lost), " + counted(pairs.answers_cut, "answer") + " cut ("
                      + counted(pairs.answer_tokens_lost, "token") + " lost), " + counted(pairs.ends_lost, "answer")
                      + " lost the end of turn, " + counted(pairs.dropped_for_length, "pair") + " dropped for length";
    const bool any = pairs.prompts_cut + pairs.answers_cut + pairs.dropped_for_length > 0;
    return any ? "ledger: " + line : "nothing is cut";
}

GRAFT_INLINE std::string control_line(const DataReport& report)
{
    return counted(report.control_tokens, "control token") + " inside the contents of "
           + counted(report.rows_with_control, "row") + ", encoded as "
           + (report.control_as_text ? "plain text" : "control tokens") + " (first " + report.first_control + ")";
}

GRAFT_INLINE std::string end_line(const DataReport& report)
{
    const auto of =
        " of "
        + (report.pairs ? counted(report.rows_used, "pair") + ", in both answers" : counted(report.rows_used, "row"));
    if (report.end_of_turn.empty()) {
        return "no control token ends a turn; the last target is a control token in "
               + std::to_string(report.rows_ending_in_control) + of;
    }
    const char* what = report.form == "text" ? "text " : "turn ";
    auto line = std::string("the end of ") + what + report.end_of_turn + " is a target in "
                + std::to_string(report.rows_ended) + of;
    if (report.rows_ended == 0) { line += ": the model will not learn to stop"; }
    return line;
}

}  // namespace graft::detail::dataset

namespace graft {

GRAFT_INLINE std::vector<Bucket> target_buckets(const DataReport& report)
{
    std::vector<std::int64_t> values;
    for (const auto& row : report.rows) { values.push_back(row.targets); }
    auto buckets = detail::dataset::buckets_of(values);
    if (const auto dropped = report.rows_dropped(); dropped > 0) {
        buckets.insert(buckets.begin(), {.low = 0, .high = 0, .count = dropped});
    }
    return buckets;
}

GRAFT_INLINE std::vector<std::string> summary(const DataReport& report, bool histogram)
{
    using namespace detail::dataset;
    std::vector<std::string> lines;
    lines.push_back(counted(report.rows_read, "row") + " of " + report.form + ", " + std::to_string(report.rows_used)
                    + " used, " + std::to_string(report.rows_dropped()) + " dropped; " + counted(report.tokens, "token")
                    + ", " + counted(report.targets, "target") + " (" + percent(report.trained_share()) + ")");
    char mean[64];
    std::snprintf(mean, sizeof mean, "%.1f", report.targets_mean());
    lines.push_back("targets a row: min " + std::to_string(report.targets_min) + ", mean " + mean + ", max "
                    + std::to_string(report.targets_max));
    if (histogram && !report.rows.empty()) {
        lines.push_back("rows by targets: " + histogram_text(target_buckets(report)));
    }
    for (const auto& kind : report.dropped) {
        lines.push_back("dropped " + counted(kind.rows, "row") + ": " + kind.reason + places_of(kind));
    }
    if (2 * report.rows_dropped() > report.rows_read) {
        lines.push_back("more than half of the rows are dropped: " + std::to_string(report.rows_dropped()) + " of "
                        + std::to_string(report.rows_read));
    }
    if (report.rows_split > 0) {
        lines.push_back("split " + counted(report.rows_split, "long row") + " into " + counted(report.pieces, "piece")
                        + ", nothing lost");
    }
    if (report.pairs) {
        lines.push_back(ledger_line(*report.pairs));
        if (report.pairs->seams > 0) {
            lines.push_back("in " + counted(report.pairs->seams, "pair")
                            + " a token crosses the seam of prompt and answer, and is learnt as the answer's");
        }
    } else if (report.rows_cut > 0) {
        lines.push_back(cut_line(report));
    } else if (report.rows_cut_away == 0 && report.rows_split == 0) {
        lines.push_back("no row is cut");
    }
    if (report.empty_answers > 0) {
        lines.push_back(counted(report.empty_answers, "row with an empty answer", "rows with an empty answer")
                        + ", kept");
    }
    if (report.rows_with_control > 0) {
        lines.push_back(control_line(report));
    } else if (report.knows_control && !report.ready_made) {
        lines.push_back("no control tokens inside the contents");
    }
    if (report.knows_control && report.rows_used > 0) { lines.push_back(end_line(report)); }
    for (const auto& [name, rows] : report.templates) {
        lines.push_back(counted(rows, "row") + " by the checkpoint's template " + detail::dataset::printable(name, 60));
    }
    if (report.rows_bos_twice > 0) {
        lines.push_back(counted(report.rows_bos_twice, "row begins", "rows begin") + " with BOS twice");
    }
    if (report.rows_with_seam > 0) {
        lines.push_back("in " + counted(report.rows_with_seam, "row")
                        + " the first token of an answer begins inside the prompt: asked, the model is given other "
                          "tokens than it learnt to go on from; end the prompt where a token ends (a line end, say)");
    }
    if (report.hidden_chars > 0) { lines.push_back(hidden_line(report)); }
    if (!report.unknown_keys.empty()) { lines.push_back("fields not used: " + joined(report.unknown_keys)); }
    if (!report.unused_turn_fields.empty()) {
        lines.push_back("fields of turns that change no text: " + joined(report.unused_turn_fields));
    }
    for (const auto& kind : report.remarks) {
        lines.push_back("in " + counted(kind.rows, "row") + ": " + kind.reason + places_of(kind));
    }
    lines.insert(lines.end(), report.notes.begin(), report.notes.end());
    return lines;
}

}  // namespace graft
