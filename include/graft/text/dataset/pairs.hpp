#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/labels.hpp"
#include "graft/text/dataset/forms.hpp"

// Rows of preference pairs: one prompt, a chosen and a rejected answer. Each row becomes two rows of forms.hpp, prompt
// and answer together, of which the answer is learnt.
//
//   prompt, chosen, rejected                 text; without prompt it is what both answers begin with
//   prompt, chosen, rejected                 turns; the answers may repeat the prompt's turns, and without prompt (or
//                                            with one that is text) the turns that both begin with are the prompt
//   conversations or messages, chosen,       ShareGPT and OpenAI: the conversation is the prompt, an answer is a turn,
//     rejected                               a list of turns, or text
//   prompt_ids, chosen_ids, rejected_ids     ready-made ids
//
// tools, system and chat_template_kwargs stand beside turns. Null counts as absent; a pair that cannot be learnt from
// (an answer is missing, both are the same) is not an error: `drop` says why.
// Throws Error with file, line, row and key: no known form, a wrong type, an unknown role, ids outside the vocabulary.
namespace graft::detail::dataset {

enum class PairForm { text, turns, conversations, ids };

inline const char* form_name(PairForm form)
{
    switch (form) {
    case PairForm::text: return "preference pairs (text)";
    case PairForm::turns: return "preference pairs (turns)";
    case PairForm::conversations: return "preference pairs (conversations)";
    case PairForm::ids: return "preference pairs (ids)";
    }
    return "";
}

struct PairRow {
    PairForm               form = PairForm::text;
    std::array<DataRow, 2> sides;          // chosen, rejected
    std::string            prompt;         // of text
    std::size_t            prompt_ids = 0; // of ids
    std::string            drop;
};

inline constexpr std::array<const char*, 2> side_names = {"chosen", "rejected"};

inline PairForm pair_form_of(const Json& row, const RowPlace& place)
{
    const auto named = [&](const char* key) { return row.contains(key); };
    if (named("chosen_ids") || named("rejected_ids")) {
        require(named("prompt_ids") && named("chosen_ids") && named("rejected_ids"), [&] {
            return at(place) + ": ready-made pairs need prompt_ids, chosen_ids and rejected_ids, found " +
                   fields_of(row);
        });
        return PairForm::ids;
    }
    require(named("chosen") && named("rejected"), [&] {
        return at(place) + ": row " + std::to_string(place.row) + " has " + fields_of(row) +
               "; --task dpo expects chosen and rejected with a prompt or a conversation before them, or prompt_ids, "
               "chosen_ids and rejected_ids";
    });
    if (present(row, "conversations") || present(row, "messages")) { return PairForm::conversations; }
    const auto turns = [&](const char* key) {
        return present(row, key) && (row[key].is_array() || row[key].is_object());
    };
    return turns("prompt") || turns("chosen") || turns("rejected") ? PairForm::turns : PairForm::text;
}

// What both answers begin with, as characters: one less where it ends in a space, and where nothing of one answer is
// left behind it.
inline std::string common_text(const std::string& a, const std::string& b)
{
    std::size_t n = 0;
    while (n < a.size() && n < b.size() && a[n] == b[n]) { ++n; }
    const auto inside = [&] { return n > 0 && n < a.size() && (a[n] & 0xC0) == 0x80; };    // inside a character
    while (inside()) { --n; }
    if (n > 0 && (n == a.size() || n == b.size() || a[n - 1] == ' ')) {
        do { --n; } while (inside());
    }
    return a.substr(0, n);
}

inline void read_pair_text(const Json& row, PairRow& out)
{
    const RowPlace& place = out.sides[0].place;
    const std::array<std::string, 2> answers = {text_field(row, "chosen", place), text_field(row, "rejected", place)};
    out.prompt = text_field(row, "prompt", place);
    const bool inside = !present(row, "prompt");
    if (inside) { out.prompt = common_text(answers[0], answers[1]); }
    for (std::size_t k = 0; k < 2; ++k) {
        auto& side = out.sides[k];
        side.form = Form::prompt_completion, side.prompt = out.prompt;
        side.text = inside ? answers[k] : out.prompt + answers[k];
        side.turns.empty_answer = side.text.size() == out.prompt.size();
    }
}

// A list of turns, a lone turn, or text as the assistant's.
inline std::string answer_turns(const Json& value, const char* key, const RowPlace& place, Turns& to)
{
    if (value.is_string()) {
        add_turn(to, "assistant", value.get<std::string>());
        return {};
    }
    if (value.is_object()) { return append_turns(Json::array({value}), key, place, to); }
    return append_turns(value, key, place, to);
}

inline std::size_t common_turns(const Json& a, const Json& b)
{
    std::size_t n = 0;
    while (n < a.size() && n < b.size() && a[n] == b[n]) { ++n; }
    return n;
}

inline void read_pair_turns(const Json& row, PairRow& out)
{
    const RowPlace& place = out.sides[0].place;
    Turns prompt;
    const char* key = out.form == PairForm::turns ? "prompt" : present(row, "messages") ? "messages" : "conversations";
    const bool given = present(row, key) && !row[key].is_string();
    if (given) { out.drop = answer_turns(row[key], key, place, prompt); }

    std::array<Turns, 2> answers;
    for (std::size_t k = 0; k < 2 && out.drop.empty(); ++k) {
        // A system turn may only come first, so what repeats the prompt is read by itself.
        out.drop = answer_turns(row[side_names[k]], side_names[k], place, answers[k]);
    }
    if (!out.drop.empty()) { return; }

    std::array<std::size_t, 2> from = {0, 0};
    if (given) {
        for (std::size_t k = 0; k < 2; ++k) {
            const auto same = common_turns(prompt.messages, answers[k].messages);
            from[k] = same == prompt.messages.size() ? same : 0;
        }
    } else {
        const auto same = common_turns(answers[0].messages, answers[1].messages);
        for (std::size_t i = 0; i < same; ++i) { prompt.messages.push_back(answers[0].messages[i]); }
        from = {same, same};
        if (same == 0 && present(row, "prompt")) { add_turn(prompt, "user", text_field(row, "prompt", place)); }
    }
    const auto system = text_field(row, "system", place);
    if (!system.empty() && (prompt.messages.empty() || prompt.messages[0]["role"] != "system")) {
        prepend_system(prompt, system);
    }
    for (std::size_t k = 0; k < 2; ++k) {
        auto& side = out.sides[k];
        side.form = Form::messages;
        read_extra(row, side);
        side.turns.messages = prompt.messages;
        side.turns.learnt.assign(prompt.messages.size(), false);
        for (std::size_t i = from[k]; i < answers[k].messages.size(); ++i) {
            require(answers[k].messages[i]["role"] != "system" || i > 0 || side.turns.messages.empty(), [&] {
                return at(place) + ": row " + std::to_string(place.row) + ", " + side_names[k] +
                       " begins with a system turn that the prompt does not have";
            });
            side.turns.messages.push_back(answers[k].messages[i]);
            side.turns.learnt.push_back(answers[k].learnt[i]);
        }
        side.turns.empty_answer = answers[k].empty_answer;
        if (out.drop.empty() && side.turns.messages.size() == prompt.messages.size()) {
            out.drop = std::string("the ") + side_names[k] + " answer is missing";
        }
        if (out.drop.empty()) { out.drop = unusable(side.turns); }
    }
}

inline void read_pair_ids(const Json& row, const DataOptions& options, PairRow& out)
{
    const RowPlace& place = out.sides[0].place;
    const auto prompt = present(row, "prompt_ids") ? read_ids(row, "prompt_ids", options, false, place)
                                                   : std::vector<std::int32_t>();
    out.prompt_ids = prompt.size();
    for (std::size_t k = 0; k < 2; ++k) {
        auto& side = out.sides[k];
        const auto answer = read_ids(row, k == 0 ? "chosen_ids" : "rejected_ids", options, false, place);
        side.form = Form::ids, side.has_labels = true, side.ids = prompt, side.labels.assign(prompt.size(), ignore);
        side.ids.insert(side.ids.end(), answer.begin(), answer.end());
        side.labels.insert(side.labels.end(), answer.begin(), answer.end());
        side.turns.empty_answer = answer.empty();
    }
}

inline bool is_known_field(PairForm form, std::string_view key)
{
    const auto among = [&](std::initializer_list<std::string_view> names) {
        return std::find(names.begin(), names.end(), key) != names.end();
    };
    if (form == PairForm::ids) { return among({"prompt_ids", "chosen_ids", "rejected_ids"}); }
    if (among({"prompt", "chosen", "rejected"})) { return form != PairForm::conversations || key != "prompt"; }
    if (form == PairForm::text) { return false; }
    return among({"tools", "chat_template_kwargs", "system"})
           || (form == PairForm::conversations && among({"conversations", "messages"}));
}

inline PairRow understand_pair(const Json& row, const RowPlace& place, const DataOptions& options)
{
    PairRow out;
    out.form = pair_form_of(row, place);
    for (auto& side : out.sides) { side.place = place; }
    for (std::size_t k = 0; k < 2; ++k) {
        const char* key = out.form == PairForm::ids ? (k == 0 ? "chosen_ids" : "rejected_ids") : side_names[k];
        if (!present(row, key)) { out.drop = std::string("the ") + side_names[k] + " answer is missing"; }
    }
    if (!out.drop.empty()) { return out; }
    switch (out.form) {
    case PairForm::text: read_pair_text(row, out); break;
    case PairForm::ids: read_pair_ids(row, options, out); break;
    default: read_pair_turns(row, out); break;
    }
    return out;
}

}  // namespace graft::detail::dataset
