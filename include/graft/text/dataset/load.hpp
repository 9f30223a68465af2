#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/labels.hpp"
#include "graft/text/dataset/encode.hpp"
#include "graft/text/dataset/end_id.hpp"
#include "graft/text/dataset/forms.hpp"
#include "graft/text/dataset/options.hpp"
#include "graft/text/dataset/read.hpp"
#include "graft/text/dataset/report.hpp"

// Files of rows to a whole data set, for any tokeniser and template: what load_dataset of dataset.hpp does.
namespace graft {

struct Dataset {
    std::vector<Example>      examples;      // of preference pairs: chosen and rejected in turn
    DataReport                report;
    std::vector<std::int64_t> prompts{};     // of preference pairs: the tokens that both answers follow
};

struct MarkedPart {
    std::string text;
    bool        learnt = false;
};

namespace detail::dataset {

// Counts a record that is no row; an Error with options.strict.
inline std::function<void(const std::string&, const RowPlace&)> drop_of(DataReport& report, const DataOptions& options)
{
    if (options.strict) { return {}; }
    return [&report](const std::string& reason, const RowPlace& place) {
        ++report.rows_read;
        report.drop(reason, place);
    };
}

// Every row of the files: understood, held to the form of the first, which begin() is told of, counted, and taken.
template <class Understand, class Begin, class Take>
void each_row(std::span<const std::filesystem::path> files, DataReport& report, const DataOptions& options,
              const Understand& understand, const Begin& begin, const Take& take)
{
    const ReadOptions reading{.split_on = options.split_on, .drop = drop_of(report, options)};
    using Row = std::invoke_result_t<const Understand&, Json&, const RowPlace&>;
    std::optional<RowPlace> first;
    decltype(Row::form)     form{};
    for (const auto& file : files) {
        read_rows(file, [&](Json&& json, const RowPlace& place) {
            auto row = understand(json, place);
            if (!first) {
                first = place, form = row.form;
                begin(row, place);
            }
            require(row.form == form, [&] {
                return at(place) + ": this row is " + form_name(row.form) + ", but the row at " + at(*first) + " is " +
                       form_name(form) + "; one data set holds rows of one kind";
            });
            for (const auto& [key, value] : json.items()) {
                if (!is_known_field(form, key)) { report.unknown_key(key); }
            }
            ++report.rows_read;
            take(std::move(row));
        }, reading);
    }
}

// A set without an example is refused, with every reason. what: of which there is none; lacks: what none of them has.
inline void require_examples(const Dataset& set, std::span<const std::filesystem::path> files, const char* what,
                             const char* lacks)
{
    require(!set.examples.empty(), [&] {
        std::string reasons;
        for (const auto& kind : set.report.dropped) {
            reasons += (reasons.empty() ? " " : "; ") + counted(kind.rows, what) + ": " + kind.reason + " (first " +
                       kind.first.front() + ")";
        }
        return printable(files.front().string(), 400) + ": nothing to learn: none of " +
               counted(set.report.rows_read, what) + lacks + reasons;
    });
}

// The whole set with any tokeniser and template; `fallback` makes the Alpaca template when it is needed.
template <class Tok, class Template, class Fallback>
Dataset load_rows(std::span<const std::filesystem::path> files, const Tok* tokenizer, const Template* tmpl,
                  const DataOptions& options, const Fallback& fallback, const std::string& template_names)
{
    require(!files.empty(), "no data file was named");
    Dataset                 set;
    std::optional<Template> alpaca;
    Form                    form = Form::text;
    std::optional<RowEncoder<Tok, Template>> encoder;

    // What the first row tells; later rows must be of its kind.
    const auto begin = [&](const DataRow& row) {
        form = row.form, set.report.form = form_name(form);
        const Template* use = tmpl;
        if (form == Form::instruction && tmpl == nullptr && tokenizer != nullptr) {
            alpaca.emplace(fallback());
            use = &*alpaca;
            set.report.note("instruction rows take the Alpaca text: this tokeniser has no chat template "
                            "(choose another with --template)");
        }
        const bool turns =
            form == Form::messages || form == Form::conversations || form == Form::prompt_completion_turns;
        require(!turns || use != nullptr, [&] {
            return at(row.place) + ": conversations need a chat template and this tokeniser has none; name one with "
                                   "--template: " + template_names;
        });
        set.report.ready_made = form == Form::ids;
        std::vector<std::int32_t> ends;
        if (tokenizer != nullptr) {
            const bool answers = form != Form::text && form != Form::prompt_completion;
            const auto turn    = answers && use != nullptr ? end_of_turn_id(*use, *tokenizer) : std::nullopt;
            if (turn) { ends.push_back(*turn); }
            const auto eos = tokenizer->eos();
            if (eos && (!answers || (form == Form::ids && turn != eos))) { ends.push_back(std::int32_t(*eos)); }
        }
        encoder.emplace(tokenizer, use, options, set.report, std::move(ends));
    };

    each_row(
        files, set.report, options,
        [&](const Json& json, const RowPlace& place) { return understand(json, place, options); },
        [&](const DataRow& row, const RowPlace&) { begin(row); },
        [&](DataRow&& row) {
            tell(options, row.place.file, set.report.rows_read, set.report.rows_used);
            encoder->encode(std::move(row), set.examples);
        });
    require_examples(set, files, "row", " has a target.");
    return set;
}

// Where the text of the first k tokens ends inside the text of all of them.
inline std::size_t common_prefix(const std::string& all, const std::string& part)
{
    std::size_t n = 0;
    while (n < all.size() && n < part.size() && all[n] == part[n]) { ++n; }
    while (n > 0 && n < all.size() && (all[n] & 0xC0) == 0x80) { --n; }   // never inside a character
    return n;
}

template <class Decode> std::vector<MarkedPart> mark_parts(const Example& example, const Decode& decode)
{
    std::vector<MarkedPart> parts;
    const auto&             ids = example.ids;
    const std::string       all = decode(std::span(ids));
    std::size_t             from = 0;
    for (std::size_t i = 0; i < ids.size();) {
        const bool  learnt = example.labels[i] != ignore;
        std::size_t end    = i + 1;
        while (end < ids.size() && (example.labels[end] != ignore) == learnt) { ++end; }
        const auto to =
            end == ids.size() ? all.size() : std::max(from, common_prefix(all, decode(std::span(ids).first(end))));
        if (to > from) { parts.push_back({.text = all.substr(from, to - from), .learnt = learnt}); }
        from = to, i = end;
    }
    return parts;
}

inline std::string join_marked(const std::vector<MarkedPart>& parts)
{
    std::string out;
    for (const auto& part : parts) { out += part.learnt ? "«" + part.text + "»" : part.text; }
    return out;
}

}  // namespace detail::dataset

}  // namespace graft
