#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/labels.hpp"
#include "graft/text/dataset/answers.hpp"
#include "graft/text/dataset/example.hpp"
#include "graft/text/dataset/fit.hpp"
#include "graft/text/dataset/forms.hpp"
#include "graft/text/dataset/report.hpp"
#include "graft/text/dataset/seams.hpp"
#include "graft/text/dataset/shown.hpp"
#include "graft/text/span.hpp"

// Rows to tokens and labels.
//
//   conversations      fitted to the template (fit.hpp), rendered by it, encoded without further special tokens;
//                      targets are what the assistant says, to the end of its turn. The Alpaca text has no BOS of its
//                      own: there the tokeniser adds it
//   prompt/completion  joined as they are, special tokens as the tokeniser adds them, EOS appended once; targets are
//                      the tokens that overlap the completion, and the EOS
//   text               special tokens as the tokeniser adds them, EOS appended once; every token but the first is a
//                      target
//   ready-made ids     as they are
//
// Too long for max_length L: conversations, prompts and ids keep their start. Documents (task text) are cut into pieces
// that overlap by one token: piece k holds tokens k(L-1) to k(L-1)+L-1, and its first token, which the piece before has
// learnt already, is context alone. So every token but the document's first is a target exactly once.
//
// Control tokens that are typed inside the contents of a conversation are counted, and encoded as plain text unless
// control_in_contents: where they lie is found by rendering the row again with sentinels in their place.
namespace graft::detail::dataset {

// Whether the tokeniser puts its special tokens around what a template rendered: only around the Alpaca text, which
// has no BOS of its own.
template <class Template, class Tok> bool adds_special(const Template& tmpl, const Tok& tokens, std::string_view text)
{
    const std::string bos(tokens.bos_text());
    return tmpl.name() == "alpaca" && !(!bos.empty() && text.substr(0, bos.size()) == bos);
}

// Tok and Template are Tokenizer and ChatTemplate; tests put small ones in their place.
template <class Tok, class Template> class RowEncoder {
public:
    // `ends`: the tokens that end a turn.
    RowEncoder(const Tok* tokens, const Template* tmpl, const DataOptions& options, DataReport& report,
               std::vector<std::int32_t> ends)
        : tokens_(tokens), tmpl_(tmpl), options_(options), report_(report), ends_(std::move(ends))
    {
        require(options.max_length >= 2, [&] {
            return "--max-length " + std::to_string(options.max_length) + ": an example needs at least 2 tokens";
        });
        report.knows_control = tokens != nullptr;
        for (const auto id : ends_) {
            report.end_of_turn +=
                (report.end_of_turn.empty() ? "" : " or ") + printable(tokens->decode(std::span(&id, 1)), 60);
        }
    }

    // Appends the row's examples, or counts why there are none.
    void encode(DataRow&& row, std::vector<Example>& out)
    {
        try {
            if (row.drop.empty()) { to_tokens(row); }
        } catch (const Error& problem) {  // of this row alone
            row.drop = printable(problem.what(), 300);
        }
        if (!row.drop.empty()) { return drop(row.drop, row.place); }
        if (row.turns.empty_answer) { ++report_.empty_answers; }
        for (const char* what : row.turns.remarks) { report_.remark(what, row.place); }
        finish(row, out);
    }

    // What only all rows tell.
    void close() { report_.unused_turn_fields = fields_.unused(); }

private:
    void drop(const std::string& reason, const RowPlace& place)
    {
        require(!options_.strict, [&] { return at(place) + ": row " + std::to_string(place.row) + ": " + reason; });
        report_.drop(reason, place);
    }

    void to_tokens(DataRow& row)
    {
        switch (row.form) {
        case Form::ids: return;
        case Form::text: return plain_text(row, 0);
        case Form::prompt_completion: return plain_text(row, row.prompt.size());
        default: return conversation(row);
        }
    }

    void plain_text(DataRow& row, std::size_t prompt)
    {
        auto coded = tokens_->encode_with_spans(row.text, {.add_special = true, .control_tokens = true});
        const bool all = row.form == Form::text || options_.train_on == TrainOn::all;
        row.ids = coded.ids;
        row.labels = all ? coded.ids : labels_from_spans(coded, std::vector<TextSpan>{{prompt, row.text.size()}});
        bool seam = false;
        for (std::size_t i = 0; i < coded.ids.size(); ++i) {
            const auto span = coded.spans[i];
            seam = seam || (!all && span.begin < prompt && prompt < span.end);
            if (span.begin < span.end && tokens_->is_special(coded.ids[i])) {
                found_control(row, "", std::string_view(row.text).substr(span.begin, span.end - span.begin));
            }
        }
        report_.rows_with_seam += seam;
        const std::int32_t eos = id_or_none(tokens_->eos());
        if (eos < 0) {
            report_.note("no end of text is learnt: this tokeniser has no EOS token");
        } else if (row.ids.empty() || row.ids.back() != eos) {
            row.ids.push_back(eos), row.labels.push_back(eos);
        } else {
            row.labels.back() = eos;
        }
    }

    void conversation(DataRow& row)
    {
        require(tmpl_ != nullptr, [&] { return at(row.place) + ": conversations need a chat template"; });
        if (row.form == Form::question && !row.history && tmpl_->name() == "alpaca") {
            row.extra["instruction"] = row.instruction;
            row.extra["input"] = row.input;
        }
        row.drop = fitter_.fit(*tmpl_, row, report_);
        if (!row.drop.empty()) { return; }
        std::string text;
        std::vector<AssistantTurn> turns;
        try {
            text = tmpl_->render(row.turns.messages, false, row.extra);
        } catch (const Error& refusal) {
            row.drop = "the template refuses: " + printable(refusal.what(), 300);
            return;
        }
        try {
            if (options_.train_on == TrainOn::responses) {
                turns = assistant_turns(*tmpl_, row.turns.messages, text, row.extra);
            }
        } catch (const Error& unclear) {
            row.drop = printable(unclear.what(), 300);
            return;
        }
        if (options_.train_on == TrainOn::responses && !keep_learnt(row, turns)) { return; }
        std::vector<TextSpan> spans;
        for (const auto& turn : turns) { spans.push_back(turn.whole); }
        if constexpr (requires { tmpl_->chosen(row.extra); }) { row.tmpl = tmpl_->chosen(row.extra); }

        const bool add_special = adds_special(*tmpl_, *tokens_, text);
        auto coded = tokens_->encode_with_spans(text, {.add_special = add_special, .control_tokens = true});
        plain_contents(row, text, coded);
        if (!row.drop.empty()) { return; }
        report_.rows_with_seam +=
            row.control == 0 && begins_in_prompt(*tokens_, *tmpl_, row, coded, spans, add_special);
        const bool all = options_.train_on == TrainOn::all;
        row.labels = all ? coded.ids : labels_from_spans(coded, learnt_spans(turns));
        row.answers = answers_of(coded, spans);
        row.ids = std::move(coded.ids);
        what_is_shown(row, text);
    }

    void what_is_shown(const DataRow& row, const std::string& text)
    {
        fields_.look(*tmpl_, row, text);
        const auto [said, hidden] = hidden_chars(row, text, options_.train_on == TrainOn::all);
        report_.said_chars += said, report_.hidden_chars += hidden;
        report_.rows_hidden += hidden > 0;
        if (hidden > 0 && report_.first_hidden.empty()) { report_.first_hidden = at(row.place); }
    }

    // Leaves the spans of the turns that are to be learnt. False, with a reason, where they cannot be told apart.
    bool keep_learnt(DataRow& row, std::vector<AssistantTurn>& spans)
    {
        const auto& messages = row.turns.messages;
        std::vector<bool> answers;
        for (std::size_t i = 0; i < messages.size(); ++i) {
            if (messages[i]["role"] == "assistant") { answers.push_back(row.turns.learnt[i]); }
        }
        if (std::find(answers.begin(), answers.end(), false) == answers.end()) { return true; }
        if (answers.size() != spans.size()) {
            row.drop = "some turns are not to be learnt, and the template does not show each turn by itself";
            return false;
        }
        std::vector<AssistantTurn> kept;
        for (std::size_t i = 0; i < spans.size(); ++i) {
            if (answers[i]) { kept.push_back(spans[i]); }
        }
        spans = std::move(kept);
        return true;
    }

    void found_control(DataRow& row, const std::string& where, std::string_view token)
    {
        ++report_.control_tokens;
        report_.rows_with_control += ++row.control == 1;
        if (report_.first_control.empty()) {
            report_.first_control = at(row.place) + where + ": " + printable(token, 60);
        }
    }

    // Counts control tokens typed inside the contents and, unless they are wanted, encodes them as plain text.
    template <class Coded> void plain_contents(DataRow& row, const std::string& text, Coded& coded)
    {
        std::set<std::string, std::greater<>> control;  // texts of the control tokens of this row; longer ones first
        for (std::size_t i = 0; i < coded.ids.size(); ++i) {
            if (!tokens_->is_special(coded.ids[i])) { continue; }
            auto token = std::string_view(text).substr(coded.spans[i].begin, coded.spans[i].end - coded.spans[i].begin);
            while (!token.empty() && json_space(token.front())) { token.remove_prefix(1); }
            while (!token.empty() && json_space(token.back())) { token.remove_suffix(1); }
            if (!token.empty()) { control.emplace(token); }
        }
        std::string mark = sentinel(text);
        Json marked = row.turns.messages;
        std::vector<std::string> typed;
        const auto replace = [&](const std::string& from) {
            std::string to;
            for (std::size_t i = 0; i < from.size();) {
                const auto hit = std::find_if(control.begin(), control.end(), [&](const auto& token) {
                    return from.compare(i, token.size(), token) == 0;
                });
                if (hit == control.end()) {
                    to += from[i++];
                } else {
                    to += mark + std::to_string(typed.size()) + ";";
                    typed.push_back(*hit), i += hit->size();
                }
            }
            return to;
        };
        for (auto& message : marked) {
            if (message["content"].is_string()) {
                message["content"] = replace(message["content"].template get<std::string>());
            }
            const auto role = printable(message["role"].template get<std::string>(), 40);
            for (auto k = std::size_t(row.control); k < typed.size(); ++k) {
                found_control(row, ", " + role, typed[k]);
            }
        }
        report_.control_as_text = !options_.control_in_contents;
        if (typed.empty() || options_.control_in_contents) { return; }

        Json extra = row.extra;
        for (const char* key : {"instruction", "input"}) {
            // The Alpaca text prints these two, not the turn.
            if (extra.contains(key)) { extra[key] = replace(extra[key].template get<std::string>()); }
        }
        std::vector<TextSpan> plain;
        std::string again;
        try {
            again = restore(tmpl_->render(marked, false, extra), mark, typed, plain);
        } catch (const Error&) {
            again.clear();
        }
        if (again != text) {
            row.drop = cannot_separate;
            return;
        }
        coded = encode_plain(row, text, plain, coded);
    }

    // A start for sentinels that occurs nowhere in the text: private-use characters.
    static std::string sentinel(std::string_view text)
    {
        std::string mark = "\xee\x80\x80";
        while (text.find(mark) != text.npos) { mark += "\xee\x80\x81"; }
        return mark;
    }

    // The rendered text with the typed tokens back in place of their sentinels, and where they lie.
    static std::string restore(std::string_view text, const std::string& mark, const std::vector<std::string>& typed,
                               std::vector<TextSpan>& plain)
    {
        std::string out;
        for (std::size_t i = 0; i < text.size();) {
            const auto hit = text.find(mark, i);
            out.append(text.substr(i, hit - i));
            if (hit == text.npos) { break; }
            std::size_t number = 0;
            for (i = hit + mark.size(); i < text.size() && text[i] != ';'; ++i) {
                number = std::min<std::size_t>(number * 10 + std::size_t(text[i] - '0'), typed.size());
            }
            ++i;
            if (number >= typed.size()) { return {}; }
            plain.push_back({out.size(), out.size() + typed[number].size()});
            out += typed[number];
        }
        return out;
    }

    // Encodes the text so that the spans `plain` hold no control tokens. Tokenisers cut a text at its control tokens
    // and encode what lies between by itself; so does this, at the template's own control tokens alone, and only where
    // something was typed. Sets row.drop where the tokeniser treats a piece differently by itself.
    template <class Coded>
    Coded encode_plain(DataRow& row, const std::string& text, const std::vector<TextSpan>& plain, const Coded& coded)
    {
        const auto overlaps = [](const TextSpan& a, const TextSpan& b) { return a.begin < b.end && b.begin < a.end; };
        const auto of_template = [&](std::size_t i) {
            return tokens_->is_special(coded.ids[i])
                   && std::none_of(plain.begin(), plain.end(),
                                   [&](const TextSpan& p) { return overlaps(p, coded.spans[i]); });
        };
        Coded out;
        const auto keep = [&](std::int32_t id, std::size_t begin, std::size_t end) {
            out.ids.push_back(id), out.spans.push_back({begin, end});
        };
        std::size_t text_from = 0;
        for (std::size_t i = 0; i < coded.ids.size();) {
            if (of_template(i)) {
                keep(coded.ids[i], coded.spans[i].begin, coded.spans[i].end);
                text_from = coded.spans[i++].end;
                continue;
            }
            std::size_t next = i;
            while (next < coded.ids.size() && !of_template(next)) { ++next; }
            const auto text_end = next == coded.ids.size() ? text.size() : coded.spans[next].begin;
            const bool typed = std::any_of(plain.begin(), plain.end(), [&](const TextSpan& p) {
                return overlaps(p, {text_from, text_end});
            });
            if (typed) {
                if (i > 0 && coded.spans[i - 1].begin < coded.spans[i - 1].end
                    && !splits_cleanly(text, coded.spans[i - 1])) {
                    row.drop = cannot_separate;
                    return out;
                }
                const auto part =
                    tokens_->encode_with_spans(std::string_view(text).substr(text_from, text_end - text_from),
                                               {.add_special = false, .control_tokens = false});
                for (std::size_t k = 0; k < part.ids.size(); ++k) {
                    keep(part.ids[k], part.spans[k].begin + text_from, part.spans[k].end + text_from);
                }
            } else {
                for (auto k = i; k < next; ++k) { keep(coded.ids[k], coded.spans[k].begin, coded.spans[k].end); }
            }
            i = next;
        }
        return out;
    }

    // Whether text behind this control token encodes as it does by itself (some tokenisers put a space in front of
    // the first text alone).
    bool splits_cleanly(const std::string& text, TextSpan control) const
    {
        const auto token = text.substr(control.begin, control.end - control.begin);
        const auto behind = tokens_->encode_with_spans(token + "a", {.add_special = false, .control_tokens = true}).ids;
        const auto alone = tokens_->encode_with_spans("a", {.add_special = false, .control_tokens = true}).ids;
        return behind.size() == alone.size() + 1 && std::equal(alone.begin(), alone.end(), behind.begin() + 1);
    }

    void finish(DataRow& row, std::vector<Example>& out)
    {
        const auto length = std::int64_t(row.ids.size()), most = options_.max_length;
        if (!row.labels.empty()) { row.labels[0] = ignore; }
        Example whole{
            .ids = std::move(row.ids), .labels = std::move(row.labels), .row = row.place.row, .source = row.place.file};
        const auto learnt = targets(whole);
        if (learnt == 0) { return without_target(row, length < 2 ? "too short to have a target" : "no target"); }

        if (row.answers.empty()) { row.answers = answers_of(whole.labels, row.form == Form::ids); }
        DataReport::Row record{
            .example = std::int64_t(out.size()), .control = row.control, .ended = ended_in(row, whole.labels)};
        if (length <= most) {
            out.push_back(std::move(whole));
        } else if (options_.task == Task::text) {
            cut_into_pieces(whole, out);
        } else {
            whole.ids.resize(std::size_t(most)), whole.labels.resize(std::size_t(most));
            const auto left = targets(whole);
            if (left == 0) {
                ++report_.rows_cut_away;
                return without_target(row, "no target left after cutting to " + std::to_string(most) + " tokens");
            }
            record.tokens_lost = length - most, record.targets_lost = learnt - left;
            const bool was = std::exchange(record.ended, ended_in(row, whole.labels));
            record.end_lost = was && !record.ended;
            ++report_.rows_cut, report_.rows_end_lost += record.end_lost;
            report_.tokens_lost += record.tokens_lost, report_.targets_lost += record.targets_lost;
            out.push_back(std::move(whole));
        }
        count_used(out, record);
        if (!row.tmpl.empty()) { ++report_.templates[row.tmpl]; }
    }

    void without_target(const DataRow& row, const std::string& reason)
    {
        ++report_.rows_without_target;
        drop(reason, row.place);
    }

    void cut_into_pieces(const Example& whole, std::vector<Example>& out)
    {
        const auto step = std::size_t(options_.max_length - 1);
        std::int64_t pieces = 0;
        for (std::size_t begin = 0; begin + 1 < whole.ids.size(); begin += step) {
            const auto end = std::min(begin + step + 1, whole.ids.size());
            const auto cut = [&](const std::vector<std::int32_t>& all) {
                return std::vector<std::int32_t>(all.begin() + std::ptrdiff_t(begin),
                                                 all.begin() + std::ptrdiff_t(end));
            };
            Example piece{.ids = cut(whole.ids), .labels = cut(whole.labels), .row = whole.row, .source = whole.source};
            piece.labels[0] = ignore;
            if (targets(piece) == 0) { continue; }  // ready-made labels may leave a piece without any
            out.push_back(std::move(piece)), ++pieces;
        }
        ++report_.rows_split, report_.pieces += pieces;
    }

    void count_used(const std::vector<Example>& examples, DataReport::Row& record)
    {
        const auto first = std::size_t(record.example);
        std::int32_t last = ignore;
        record.examples = std::int64_t(examples.size() - first);
        for (auto i = first; i < examples.size(); ++i) {
            report_.tokens += std::int64_t(examples[i].ids.size());
            record.targets += targets(examples[i]);
            for (auto label : examples[i].labels) { last = label == ignore ? last : label; }
        }
        const auto learnt = record.targets;
        report_.targets_min = report_.rows_used == 0 ? learnt : std::min(report_.targets_min, learnt);
        report_.targets_max = std::max(report_.targets_max, learnt);
        report_.targets += learnt;
        report_.examples += record.examples;
        report_.rows_ending_in_control += tokens_ != nullptr && tokens_->is_special(last);
        report_.rows_ended += record.ended;
        const auto& ids = examples[first].ids;
        if (tokens_ != nullptr && ids.size() > 1 && ids[0] == ids[1] && tokens_->is_special(ids[0])) {
            report_.rows_bos_twice += tokens_->decode(std::span(ids).first(1)) == std::string(tokens_->bos_text());
        }
        report_.rows.push_back(record);
        ++report_.rows_used;
    }

    bool ended_in(const DataRow& row, const std::vector<std::int32_t>& labels) const
    {
        return tokens_ != nullptr && all_end(row.answers, labels, ends_, *tokens_);
    }

    // A token id that may be missing, whichever way that is said.
    template <class Id> static std::int32_t id_or_none(const Id& id)
    {
        if constexpr (requires { id.has_value(); }) {
            return id.has_value() ? std::int32_t(*id) : -1;
        } else {
            return std::int32_t(id);
        }
    }

    static constexpr const char* cannot_separate =
        "control tokens inside the contents cannot be told from the template's own";

    const Tok* tokens_;
    const Template* tmpl_;
    const DataOptions& options_;
    DataReport& report_;
    std::vector<std::int32_t> ends_;
    TurnFitter<Template> fitter_;
    TurnFields<Template> fields_;
};

}  // namespace graft::detail::dataset
