#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/text/dataset/load.hpp"
#include "graft/text/dataset/pairs.hpp"

// Files of preference pairs to a data set: examples 2 i and 2 i + 1 are prompt and chosen, prompt and rejected answer
// of pair i, and its first prompts[i] tokens are the same in both.
//
// Each side is encoded as a whole by the rules of encode.hpp, so that an answer's targets end with its end-of-turn
// token, and text with its EOS. The prompt is what both sides begin with, up to the first target, and for text no more
// than the prompt encoded by itself begins with: where a token crosses the seam, the prompt loses it on both sides and
// both answers learn it.
//
// Lengths hold for prompt + one answer. What is longer than max_length, or a prompt longer than max_prompt_length, is
// an error; with options.truncate a prompt keeps its last max_prompt_length tokens, then an answer its first ones, and
// pairs whose prompt alone fills max_length are dropped. The report counts all of it.
// Throws Error: as load_rows, and for what is too long.
namespace graft::detail::dataset {

template <class Tok, class Template> class PairEncoder {
public:
    PairEncoder(const Tok* tokens, const Template* tmpl, const DataOptions& options, DataReport& report,
                const std::vector<std::int32_t>& ends)
        : tokens_(tokens), options_(options), report_(report), ends_(ends), whole_(uncut(options)),
          encoder_(tokens, tmpl, whole_, sides_, ends)
    {
        require(options.max_length >= 2, [&] {
            return "--max-length " + std::to_string(options.max_length) + ": a prompt and an answer need 2 tokens";
        });
        report.end_of_turn = sides_.end_of_turn, report.knows_control = sides_.knows_control;
    }

    void encode(PairRow&& row, Dataset& set)
    {
        const RowPlace place = row.sides[0].place;
        if (row.drop.empty()) { to_pair(row, set); }
        if (row.drop.empty()) { return; }
        require(!options_.strict, [&] { return at(place) + ": row " + std::to_string(place.row) + ": " + row.drop; });
        report_.drop(row.drop, place);
    }

    // What both sides noticed on the way.
    void finish()
    {
        report_.control_tokens = sides_.control_tokens, report_.rows_with_control = sides_.rows_with_control;
        report_.first_control = sides_.first_control, report_.control_as_text = sides_.control_as_text;
        for (const auto& note : sides_.notes) { report_.note(note); }
        encoder_.close();
        report_.unused_turn_fields = sides_.unused_turn_fields;
        for (auto kind : sides_.remarks) { report_.remarks.push_back(std::move(kind)); }
        report_.said_chars = sides_.said_chars, report_.hidden_chars = sides_.hidden_chars;
        report_.rows_hidden = sides_.rows_hidden, report_.first_hidden = sides_.first_hidden;
    }

private:
    static DataOptions uncut(DataOptions options)
    {
        options.task = Task::sft, options.train_on = TrainOn::responses, options.strict = false;
        options.max_length = std::numeric_limits<std::int32_t>::max();
        return options;
    }

    void to_pair(PairRow& row, Dataset& set)
    {
        std::vector<Example> both;
        sides_.templates.clear();
        const bool empty = row.sides[0].turns.empty_answer || row.sides[1].turns.empty_answer;
        for (std::size_t k = 0; k < 2; ++k) {
            sides_.dropped.clear();
            encoder_.encode(std::move(row.sides[k]), both);
            if (both.size() == k + 1) { continue; }
            row.drop =
                std::string(side_names[k]) + ": " + (sides_.dropped.empty() ? "no target" : sides_.dropped[0].reason);
            return;
        }
        auto prompt = shared_prompt(row, both);
        if (!row.drop.empty()) { return; }
        fit(row, both, prompt);
        if (row.drop.empty() && both[0].ids == both[1].ids) { row.drop = "chosen and rejected are the same"; }
        if (!row.drop.empty()) { return; }
        report_.empty_answers += empty;
        count(both, set);
        set.prompts.push_back(std::int64_t(prompt));
        for (auto& side : both) { set.examples.push_back(std::move(side)); }
    }

    static std::size_t common(const std::vector<std::int32_t>& a, const std::vector<std::int32_t>& b)
    {
        std::size_t n = 0;
        while (n < a.size() && n < b.size() && a[n] == b[n]) { ++n; }
        return n;
    }

    // Tokens of the prompt; what lies between it and the first target becomes a target.
    std::size_t shared_prompt(PairRow& row, std::vector<Example>& both)
    {
        if (row.form == Form::ids) { return row.prompt_ids; }
        constexpr std::size_t most_seam = 32;
        std::array<std::size_t, 2> first{};
        for (std::size_t k = 0; k < 2; ++k) {
            while (both[k].labels[first[k]] == ignore) { ++first[k]; }
        }
        std::size_t prompt = std::min({first[0], first[1], common(both[0].ids, both[1].ids)});
        std::size_t before = std::max(first[0], first[1]);
        if (row.form == Form::prompt_completion) {
            const auto alone =
                tokens_->encode_with_spans(row.prompt, {.add_special = true, .control_tokens = true}).ids;
            prompt = std::min({prompt, common(alone, both[0].ids), common(alone, both[1].ids)});
            before = std::max(prompt, alone.size());
        }
        if (before > prompt + most_seam) {
            row.drop = "the two answers do not follow the same prompt";
            return prompt;
        }
        report_.pairs->seams += before > prompt;
        for (auto& side : both) {
            for (auto t = std::max<std::size_t>(prompt, 1); t < side.ids.size() && side.labels[t] == ignore; ++t) {
                side.labels[t] = side.ids[t];
            }
        }
        return prompt;
    }

    void fit(PairRow& row, std::vector<Example>& both, std::size_t& prompt)
    {
        auto& ledger = *report_.pairs;
        const auto most = std::size_t(options_.max_length), most_prompt = std::size_t(options_.max_prompt_length);
        const bool long_prompt = most_prompt > 0 && prompt > most_prompt;
        const auto longest = std::max(both[0].ids.size(), both[1].ids.size());
        const RowPlace& place = row.sides[0].place;
        if (!options_.truncate) {
            const auto refuse = [&](std::size_t tokens, const char* what, const char* option, std::size_t limit) {
                return at(place) + ": row " + std::to_string(place.row) + ": " + what + std::to_string(tokens)
                       + " tokens, " + option + " is " + std::to_string(limit)
                       + "; make it larger, shorten the row, or cut such rows with --truncate, which counts them";
            };
            require(!long_prompt,
                    [&] { return refuse(prompt, "the prompt has ", "--max-prompt-length", most_prompt); });
            require(longest <= most, [&] {
                const bool chosen = both[0].ids.size() == longest;
                return refuse(longest,
                              chosen ? "the prompt and the chosen answer have "
                                     : "the prompt and the rejected answer have ",
                              "--max-length", most);
            });
            return;
        }
        const auto cut = long_prompt ? prompt - most_prompt : 0;
        if (prompt - cut >= most) {
            ++ledger.dropped_for_length;
            row.drop = "the prompt alone fills --max-length " + std::to_string(most);
            return;
        }
        if (cut > 0) {
            for (auto& side : both) {
                side.ids.erase(side.ids.begin(), side.ids.begin() + std::ptrdiff_t(cut));
                side.labels.erase(side.labels.begin(), side.labels.begin() + std::ptrdiff_t(cut));
            }
            prompt -= cut, ++ledger.prompts_cut, ledger.prompt_tokens_lost += std::int64_t(cut);
        }
        for (auto& side : both) {
            if (side.ids.size() <= most) { continue; }
            const bool ended = ended_in(side);
            ++ledger.answers_cut, ledger.answer_tokens_lost += std::int64_t(side.ids.size() - most);
            side.ids.resize(most), side.labels.resize(most);
            ledger.ends_lost += ended && !ended_in(side);
            if (targets(side) == 0) { row.drop = "no target left after cutting"; }
        }
    }

    bool ended_in(const Example& side) const
    {
        return tokens_ != nullptr && all_end(answers_of(side.labels, true), side.labels, ends_, *tokens_);
    }

    void count(const std::vector<Example>& both, const Dataset& set)
    {
        DataReport::Row record{.example = std::int64_t(set.examples.size()),
                               .examples = 2,
                               .ended = ended_in(both[0]) && ended_in(both[1])};
        for (const auto& side : both) {
            report_.tokens += std::int64_t(side.ids.size());
            record.targets += targets(side);
        }
        report_.targets_min = report_.rows_used == 0 ? record.targets : std::min(report_.targets_min, record.targets);
        report_.targets_max = std::max(report_.targets_max, record.targets);
        report_.targets += record.targets, report_.examples += 2;
        report_.rows_ended += record.ended;
        report_.rows_ending_in_control += std::all_of(both.begin(), both.end(), [&](const Example& side) {
            const auto last =
                std::find_if(side.labels.rbegin(), side.labels.rend(), [](auto label) { return label != ignore; });
            return tokens_ != nullptr && tokens_->is_special(*last);
        });
        const auto& ids = both[0].ids;
        if (tokens_ != nullptr && ids.size() > 1 && ids[0] == ids[1] && tokens_->is_special(ids[0])) {
            report_.rows_bos_twice += tokens_->decode(std::span(ids).first(1)) == std::string(tokens_->bos_text());
        }
        for (const auto& side : sides_.templates) { ++report_.templates[side.first]; }
        report_.rows.push_back(record);
        ++report_.rows_used;
    }

    const Tok* tokens_;
    const DataOptions& options_;
    DataReport& report_;
    DataReport sides_;  // of both sides of all pairs
    std::vector<std::int32_t> ends_;
    DataOptions whole_;
    RowEncoder<Tok, Template> encoder_;
};

template <class Tok, class Template, class Fallback>
Dataset load_pair_rows(std::span<const std::filesystem::path> files, const Tok* tokenizer, const Template* tmpl,
                       const DataOptions& options, const Fallback& fallback, const std::string& template_names)
{
    require(!files.empty(), "no data file was named");
    Dataset set;
    std::optional<Template> alpaca;
    std::optional<PairEncoder<Tok, Template>> encoder;
    set.report.pairs.emplace();

    const auto begin = [&](const Reading& reading, const RowPlace& place) {
        const Form form = reading.form;
        set.report.form = reading.name;
        set.report.ready_made = form == Form::ids;
        require(tokenizer != nullptr || form == Form::ids, [&] {
            return at(place) + ": " + reading.name
                   + " need a tokeniser (tokenizer.json beside the model); without "
                     "one, give prompt_ids, chosen_ids and rejected_ids";
        });
        const Template* use =
            template_for(reading, place, tokenizer, tmpl, fallback, template_names, alpaca, set.report);
        const bool turns = form == Form::turns || form == Form::question;
        std::vector<std::int32_t> ends;
        if (tokenizer != nullptr) {
            const bool may_turn = form != Form::prompt_completion && use != nullptr;
            const auto turn = may_turn ? end_of_turn_id(*use, *tokenizer) : std::nullopt;
            if (turn) { ends.push_back(*turn); }
            const auto eos = tokenizer->eos();
            if (eos && !turns && turn != eos) { ends.push_back(std::int32_t(*eos)); }
        }
        encoder.emplace(tokenizer, use, options, set.report, ends);
    };
    const auto tell = [](const Json& json) { return pair_reading_of(json); };
    const auto read = [&](const Json& json, const RowPlace& place, const Reading& reading) {
        return read_pair(json, place, reading, options);
    };
    const auto take = [&](PairRow&& row) { encoder->encode(std::move(row), set); };
    const auto left = [&] { return set.examples.size(); };
    RowLoop(set.report, options, tell, begin, read, take, left, "pair", " can be used.").run(files);
    encoder->finish();
    return set;
}

}  // namespace graft::detail::dataset
