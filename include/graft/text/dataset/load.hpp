#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/core/labels.hpp"
#include "graft/text/dataset/each_row.hpp"
#include "graft/text/dataset/encode.hpp"
#include "graft/text/dataset/end_id.hpp"
#include "graft/text/dataset/example.hpp"
#include "graft/text/dataset/forms.hpp"
#include "graft/text/dataset/options.hpp"
#include "graft/text/dataset/read.hpp"
#include "graft/text/dataset/read/bytes.hpp"
#include "graft/text/dataset/report.hpp"

// Files of rows to a whole data set, for any tokeniser and template: what load_dataset of dataset.hpp does.
namespace graft {

struct Dataset {
    std::vector<Example> examples;  // of preference pairs: chosen and rejected in turn
    DataReport report;
    std::vector<std::int64_t> prompts{};  // of preference pairs: the tokens that both answers follow
};

struct MarkedPart {
    std::string text;
    bool learnt = false;
};

namespace detail::dataset {

// The template of a set, or null where it needs none. Questions and answers take the Alpaca text where there is none;
// whatever else needs one is refused with the names of those that there are.
template <class Tok, class Template, class Fallback>
const Template* template_for(const Reading& reading, const RowPlace& place, const Tok* tokenizer, const Template* tmpl,
                             const Fallback& fallback, const std::string& names, std::optional<Template>& alpaca,
                             DataReport& report)
{
    const bool texts = reading.text_as_turns;
    if (texts) {
        report.note("prompts and answers are rendered as turns, since a system text, tools or a history stands beside "
                    "them");
    }
    if (tmpl != nullptr || tokenizer == nullptr) { return tmpl; }
    if (reading.form == Form::question && !texts) {
        alpaca.emplace(fallback());
        report.note("instruction rows take the Alpaca text: this tokeniser has no chat template (choose another with "
                    "--template)");
        return &*alpaca;
    }
    require(!texts, [&] {
        return at(place)
               + ": a system text, tools or a history beside a prompt needs a chat template and this tokeniser "
                 "has none; name one with --template: "
               + names + ", or write it into the prompt";
    });
    require(reading.form != Form::turns && reading.form != Form::prompt_completion_turns, [&] {
        return at(place)
               + ": conversations need a chat template and this tokeniser has none; name one with "
                 "--template: "
               + names;
    });
    return nullptr;
}

// The whole set with any tokeniser and template; `fallback` makes the Alpaca template when it is needed.
template <class Tok, class Template, class Fallback>
Dataset load_rows(std::span<const std::filesystem::path> files, const Tok* tokenizer, const Template* tmpl,
                  const DataOptions& options, const Fallback& fallback, const std::string& template_names)
{
    require(!files.empty(), "no data file was named");
    Dataset set;
    std::optional<Template> alpaca;
    std::optional<RowEncoder<Tok, Template>> encoder;

    // What the first row tells; later rows must be of its kind.
    const auto begin = [&](const Reading& reading, const RowPlace& place) {
        const Form form = reading.form;
        set.report.form = reading.name;
        require(tokenizer != nullptr || form == Form::ids, [&] {
            return at(place) + ": rows of " + reading.name
                   + " need a tokeniser (tokenizer.json beside the model); "
                     "without one, give input_ids";
        });
        const Template* use =
            template_for(reading, place, tokenizer, tmpl, fallback, template_names, alpaca, set.report);
        set.report.ready_made = form == Form::ids;
        std::vector<std::int32_t> ends;
        if (tokenizer != nullptr) {
            const bool answers = form != Form::text && form != Form::prompt_completion;
            const auto turn = answers && use != nullptr ? end_of_turn_id(*use, *tokenizer) : std::nullopt;
            if (turn) { ends.push_back(*turn); }
            const auto eos = tokenizer->eos();
            if (eos && (!answers || (form == Form::ids && turn != eos))) { ends.push_back(std::int32_t(*eos)); }
        }
        encoder.emplace(tokenizer, use, options, set.report, std::move(ends));
    };

    const auto tell = [&](const Json& json) { return reading_of(json, options); };
    const auto read = [&](const Json& json, const RowPlace& place, const Reading& reading) {
        return read_row(json, place, reading, options);
    };
    const auto take = [&](DataRow&& row) { encoder->encode(std::move(row), set.examples); };
    const auto left = [&] { return set.examples.size(); };
    RowLoop(set.report, options, tell, begin, read, take, left, "row", " has a target.").run(files);
    encoder->close();
    return set;
}

// Where the text of the first k tokens ends inside the text of all of them.
std::size_t common_prefix(const std::string& all, const std::string& part);

template <class Decode> std::vector<MarkedPart> mark_parts(const Example& example, const Decode& decode)
{
    std::vector<MarkedPart> parts;
    const auto& ids = example.ids;
    const std::string all = decode(std::span(ids));
    std::size_t from = 0;
    for (std::size_t i = 0; i < ids.size();) {
        const bool learnt = example.labels[i] != ignore;
        std::size_t end = i + 1;
        while (end < ids.size() && (example.labels[end] != ignore) == learnt) { ++end; }
        const auto to =
            end == ids.size() ? all.size() : std::max(from, common_prefix(all, decode(std::span(ids).first(end))));
        if (to > from) { parts.push_back({.text = all.substr(from, to - from), .learnt = learnt}); }
        from = to, i = end;
    }
    return parts;
}

std::string join_marked(const std::vector<MarkedPart>& parts);

}  // namespace detail::dataset

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset/load.ipp"
#endif
