#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "graft/text/dataset/example.hpp"
#include "graft/text/dataset/histogram.hpp"
#include "graft/text/dataset/read.hpp"

// What became of a data set: nothing is dropped, cut or learnt without being counted here.
//
//   DataReport           counts, and what became of each row that is used
//   summary(report)      the report as lines for a person
//   target_buckets(report)   how many rows have how many targets; rows that were dropped have 0
//
// The end of turn is the control token that ends what the assistant says (text/end_of_turn.hpp), and of a text its EOS;
// ready-made ids may use either. A row learns it where the last target of each of its answers is that token (white
// space that the template writes behind it aside).
namespace graft {

// What became of the lengths of preference pairs.
struct PairLedger {
    std::int64_t prompts_cut = 0, prompt_tokens_lost = 0;
    std::int64_t answers_cut = 0, answer_tokens_lost = 0, ends_lost = 0;
    std::int64_t dropped_for_length = 0;
    std::int64_t seams = 0;  // a token crosses from the prompt into an answer, and counts as the answer's
};

struct DataReport {
    // A row that is used.
    struct Row {
        std::int64_t example = 0, examples = 1;  // its first example, and how many it became
        std::int64_t targets = 0;
        std::int64_t tokens_lost = 0, targets_lost = 0;  // cut away
        std::int64_t control = 0;                        // control tokens typed inside its contents
        bool ended = false, end_lost = false;            // the end of turn is a target; it was until the row was cut
    };
    struct Dropped {
        std::string reason;
        std::int64_t rows = 0;
        std::vector<std::string> first;  // the first few, as FILE:LINE
        std::string last{};              // the last one
    };

    std::string form;                 // "messages", "text", ...
    std::optional<PairLedger> pairs;  // preference pairs: a row is a pair, and has two examples
    std::int64_t rows_read = 0, rows_used = 0, examples = 0;
    std::vector<Dropped> dropped;
    std::int64_t rows_cut = 0, tokens_lost = 0;        // sft: too long, the end cut away
    std::int64_t targets_lost = 0, rows_end_lost = 0;  // of these: targets, rows that lost their end of turn
    std::int64_t rows_cut_away = 0;                    // dropped: the cut left no target
    std::int64_t rows_split = 0, pieces = 0;           // text: too long, cut into pieces, nothing lost
    std::int64_t tokens = 0, targets = 0;              // over all examples
    std::int64_t targets_min = 0, targets_max = 0;     // of a used row
    std::int64_t rows_without_target = 0;              // dropped for that reason
    std::int64_t empty_answers = 0;
    std::int64_t rows_with_control = 0, control_tokens = 0;  // control tokens typed inside contents
    std::string first_control;                               // the first of them: place and token
    bool control_as_text = false;                            // they are encoded as plain text
    std::int64_t rows_ending_in_control = 0;                 // rows whose last target is a control token
    bool knows_control = false;                              // false for ready-made ids without a tokeniser
    std::string end_of_turn;                                 // the token's text; empty: there is none, or not known
    std::int64_t rows_ended = 0;                             // rows that learn it
    std::int64_t rows_bos_twice = 0;                         // rows that begin with two BOS
    std::int64_t rows_with_seam = 0;                         // an answer begins inside a token of its prompt
    bool ready_made = false;                                 // ids as they came: there are no contents to look into
    std::vector<Row> rows;                                   // one for each row that is used
    std::map<std::string, std::int64_t> templates;           // rows by template, where the checkpoint has several
    std::vector<std::string> unknown_keys;                   // fields that were not used, each once
    std::int64_t unknown_keys_left_out = 0;
    std::vector<std::string> unused_turn_fields;    // as "user.name": the template writes nothing of them
    std::vector<Dropped> remarks;                   // rows that are used, of which something is to be said
    std::int64_t said_chars = 0, hidden_chars = 0;  // of answers that are learnt; not shown by the template
    std::int64_t rows_hidden = 0;                   // rows with hidden ones
    std::string first_hidden;
    std::vector<std::string> notes;  // what a person should be told

    double targets_mean() const { return rows_used == 0 ? 0.0 : double(targets) / double(rows_used); }
    double trained_share() const { return tokens == 0 ? 0.0 : double(targets) / double(tokens); }
    std::int64_t rows_dropped() const
    {
        std::int64_t sum = 0;
        for (const auto& kind : dropped) { sum += kind.rows; }
        return sum;
    }

    // where: the place inside the row
    void drop(const std::string& reason, const RowPlace& place, const std::string& where = {})
    {
        count(dropped, reason, detail::dataset::at(place) + (where.empty() ? "" : " " + where));
    }
    // Once a row, also where both sides of a pair have it.
    void remark(const std::string& what, const RowPlace& place)
    {
        const auto here = detail::dataset::at(place);
        const bool same = std::any_of(remarks.begin(), remarks.end(),
                                      [&](const auto& kind) { return kind.reason == what && kind.last == here; });
        if (!same) { count(remarks, what, here); }
    }
    static void count(std::vector<Dropped>& all, const std::string& reason, const std::string& place)
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
    void note(const std::string& text)
    {
        if (std::find(notes.begin(), notes.end(), text) == notes.end()) { notes.push_back(text); }
    }
    void unknown_key(const std::string& key)
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

inline std::string places_of(const DataReport::Dropped& kind)
{
    const auto more = kind.rows - std::int64_t(kind.first.size());
    return " (" + joined(kind.first) + (more > 0 ? ", and " + std::to_string(more) + " more" : "") + ")";
}

inline std::string hidden_line(const DataReport& report)
{
    return "the template leaves out " + percent(double(report.hidden_chars) / double(report.said_chars))
           + " of what the answers say (" + std::to_string(report.hidden_chars) + " of "
           + counted(report.said_chars, "character") + "), in " + counted(report.rows_hidden, "row") + " (first "
           + report.first_hidden + "): as a rule the reasoning of earlier turns; it is not learnt";
}

inline std::string cut_line(const DataReport& report)
{
    auto line = "cut " + counted(report.rows_cut, "row") + " at the maximum length, "
                + counted(report.tokens_lost, "token") + " and " + counted(report.targets_lost, "target") + " lost";
    if (report.end_of_turn.empty()) { return line; }
    return line + "; " + counted(report.rows_end_lost, "row") + " lost the end of turn";
}

// What became of pairs that were too long.
inline std::string ledger_line(const PairLedger& pairs)
{
    const auto line = counted(pairs.prompts_cut, "prompt") + " cut (" + counted(pairs.prompt_tokens_lost, "token")
                      + " lost), " + counted(pairs.answers_cut, "answer") + " cut ("
                      + counted(pairs.answer_tokens_lost, "token") + " lost), " + counted(pairs.ends_lost, "answer")
                      + " lost the end of turn, " + counted(pairs.dropped_for_length, "pair") + " dropped for length";
    const bool any = pairs.prompts_cut + pairs.answers_cut + pairs.dropped_for_length > 0;
    return any ? "ledger: " + line : "nothing is cut";
}

inline std::string control_line(const DataReport& report)
{
    return counted(report.control_tokens, "control token") + " inside the contents of "
           + counted(report.rows_with_control, "row") + ", encoded as "
           + (report.control_as_text ? "plain text" : "control tokens") + " (first " + report.first_control + ")";
}

inline std::string end_line(const DataReport& report)
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

}  // namespace detail::dataset

inline std::vector<Bucket> target_buckets(const DataReport& report)
{
    std::vector<std::int64_t> values;
    for (const auto& row : report.rows) { values.push_back(row.targets); }
    auto buckets = detail::dataset::buckets_of(values);
    if (const auto dropped = report.rows_dropped(); dropped > 0) {
        buckets.insert(buckets.begin(), {.low = 0, .high = 0, .count = dropped});
    }
    return buckets;
}

// The report as lines of text, without line ends; the histogram as one of them unless it is shown otherwise.
inline std::vector<std::string> summary(const DataReport& report, bool histogram = true)
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
