#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/dataset/example.hpp"
#include "graft/text/dataset/histogram.hpp"
#include "graft/text/dataset/read.hpp"
#include "graft/text/dataset/read/bytes.hpp"

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
    std::int64_t rows_dropped() const;

    // where: the place inside the row
    void drop(const std::string& reason, const RowPlace& place, const std::string& where = {});
    // Once a row, also where both sides of a pair have it.
    void remark(const std::string& what, const RowPlace& place);
    static void count(std::vector<Dropped>& all, const std::string& reason, const std::string& place);
    void note(const std::string& text);
    void unknown_key(const std::string& key);
};

namespace detail::dataset {

std::string counted(std::int64_t n, const char* one, const char* many = nullptr);

std::string joined(const std::vector<std::string>& names, std::size_t most = 8);

std::string percent(double share);

std::string places_of(const DataReport::Dropped& kind);

std::string hidden_line(const DataReport& report);

std::string cut_line(const DataReport& report);

// What became of pairs that were too long.
std::string ledger_line(const PairLedger& pairs);

std::string control_line(const DataReport& report);

std::string end_line(const DataReport& report);

}  // namespace detail::dataset

std::vector<Bucket> target_buckets(const DataReport& report);

// The report as lines of text, without line ends; the histogram as one of them unless it is shown otherwise.
std::vector<std::string> summary(const DataReport& report, bool histogram = true);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset/report.ipp"
#endif
