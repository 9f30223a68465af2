#pragma once
#include "graft/text/dataset/pairs.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/labels.hpp"
#include "graft/text/dataset/bad_row.hpp"
#include "graft/text/dataset/fields.hpp"
#include "graft/text/dataset/forms.hpp"
#include "graft/text/dataset/options.hpp"
#include "graft/text/dataset/read/bytes.hpp"
#include "graft/text/dataset/turns.hpp"

namespace graft::detail::dataset {

GRAFT_INLINE const char* question_of_pair(const Json& row)
{
    auto found = fields_for(row, Holds::question);
    const auto none = [&](const char* key) { return fill(row, key) < 1; };
    found.erase(std::remove_if(found.begin(), found.end(), none), found.end());
    const bool other =
        std::none_of(found.begin(), found.end(), [](auto* key) { return std::string_view(key) == "prompt"; });
    if (other && fill(row, "prompt") == 2 && (found.empty() || row[found[0]] != row["prompt"])) {
        found.insert(found.begin(), "prompt");
    }
    if (found.size() > 1) {
        two_readings(std::string("preference pairs of ") + found[0], std::string("of ") + found[1]);
    }
    if (!found.empty()) { return found[0]; }
    return fill(row, "input") == 2 ? "input" : nullptr;
}

GRAFT_INLINE Reading pair_reading_of(const Json& row)
{
    Reading out;
    const auto named = [&](const char* key) { return row.contains(key); };
    const auto as = [&](Form form, const std::string& name, const std::string& kind) {
        out.form = form, out.name = "preference pairs (" + name + ")", out.kind = "preference pairs (" + kind + ")";
        return out;
    };
    if (named("chosen_ids") || named("rejected_ids")) {
        if (!named("prompt_ids") || !named("chosen_ids") || !named("rejected_ids")) {
            BadForm bad("ready-made pairs need prompt_ids, chosen_ids and rejected_ids, found " + fields_of(row));
            bad.of_row = false;
            throw bad;
        }
        return as(Form::ids, "ids", "ids");
    }
    out.chosen = field_for(row, Holds::chosen), out.rejected = field_for(row, Holds::rejected);
    if (out.chosen == nullptr || out.rejected == nullptr) {
        BadForm bad("has " + fields_of(row)
                    + "; --task dpo expects chosen and rejected with a prompt or a conversation "
                      "before them ("
                    + names_of(Holds::question) + ", " + names_of(Holds::turns)
                    + "), or prompt_ids, chosen_ids and rejected_ids");
        bad.unknown = true;
        throw bad;
    }
    const auto talks = fields_for(row, Holds::turns);
    if (talks.size() > 1) { two_readings(talks[0], talks[1]); }
    if (!talks.empty() && fill(row, talks[0]) == 2 && !row[talks[0]].is_string()) { out.turns = talks[0]; }
    out.question = question_of_pair(row);
    out.system = field_for(row, Holds::system);
    if (out.question != nullptr && std::string_view(out.question) != "prompt") {
        find_question(row, out, std::string_view(out.question) == "input" ? nullptr : out.question);
    }
    const auto turns = [&](const char* key) {
        return key != nullptr && named(key) && (row[key].is_array() || row[key].is_object());
    };
    if (out.turns != nullptr) { return as(Form::turns, "conversations", "turns"); }
    if (turns(out.chosen) || turns(out.rejected) || turns("prompt")) { return as(Form::turns, "turns", "turns"); }
    if (out.question != nullptr && std::string_view(out.question) != "prompt") {
        return as(Form::question, out.question, out.question);
    }
    if (!named("prompt")) {
        throw BadForm("has " + fields_of(row) + " and no prompt for its answers; give one (" + names_of(Holds::question)
                      + "; or turns: " + names_of(Holds::turns) + "): what both texts begin with is not taken for it");
    }
    out.question = "prompt";
    return as(Form::prompt_completion, "text", "text");
}

GRAFT_INLINE void read_pair_text(const Json& row, const Reading& reading, PairRow& out)
{
    out.prompt = text_field(row, "prompt");
    if (!present(row, "prompt")) { out.drop = "the prompt is null"; }
    for (std::size_t k = 0; k < 2; ++k) {
        auto& side = out.sides[k];
        side.form = Form::prompt_completion, side.prompt = out.prompt;
        side.text = out.prompt + text_field(row, k == 0 ? reading.chosen : reading.rejected);
        side.turns.empty_answer = side.text.size() == out.prompt.size();
    }
}

GRAFT_INLINE std::string answer_turns(const Json& value, const char* key, Turns& to)
{
    if (value.is_string()) {
        add_turn(to, "assistant", value.get<std::string>());
        return {};
    }
    if (value.is_object()) { return append_turns(Json::array({value}), key, to); }
    return append_turns(value, key, to);
}

GRAFT_INLINE std::size_t common_turns(const Json& a, const Json& b)
{
    std::size_t n = 0;
    while (n < a.size() && n < b.size() && a[n] == b[n]) { ++n; }
    return n;
}

GRAFT_INLINE bool asks(const Json& messages)
{
    return std::any_of(messages.begin(), messages.end(), [](const Json& m) { return m["role"] == "user"; });
}

GRAFT_INLINE void take_conversation(const Json& row, const Reading& reading, const std::array<Turns, 2>& answers,
                                    PairPrompt& prompt)
{
    Turns talk;
    prompt.drop = append_turns(row[reading.turns], reading.turns, talk);
    if (!prompt.drop.empty()) { return; }
    auto& given = prompt.turns.messages;
    for (const auto& answer : answers) {
        const Json& own = answer.messages;
        Json whole = given;
        for (const auto& turn : own) { whole.push_back(turn); }
        if (talk.messages == own || talk.messages == whole) {
            if (!given.empty() || own.size() > 1) { return; }
        }
        if (given.empty() && own.size() == 1 && talk.messages.size() > 1 && talk.messages.back() == own[0]) {
            talk.messages.erase(talk.messages.end() - 1);
            break;
        }
    }
    const std::string name = reading.turns;
    if (!given.empty()) {
        if (given != talk.messages) { prompt.drop = "prompt and " + name + " are two prompts; keep one of them"; }
        return;
    }
    prompt.turns = std::move(talk);
}

GRAFT_INLINE void take_common(const std::array<Turns, 2>& answers, PairPrompt& prompt)
{
    const auto same = common_turns(answers[0].messages, answers[1].messages);
    auto& given = prompt.turns.messages;
    Json shared = Json::array();
    for (std::size_t i = 0; i < same; ++i) { shared.push_back(answers[0].messages[i]); }
    if (given.empty()) {
        given = std::move(shared), prompt.from = {same, same};
        return;
    }
    if (has_system(shared) && !has_system(given)) {  // the answers repeat it with their system turn
        Json behind = shared;
        behind.erase(behind.begin());
        if (begins_with(behind, given)) { given.insert(given.begin(), shared[0]); }
    }
    for (std::size_t k = 0; k < 2; ++k) { prompt.from[k] = begins_with(answers[k].messages, given) ? given.size() : 0; }
}

GRAFT_INLINE void take_text(const std::string& text, const std::array<Turns, 2>& answers, PairPrompt& prompt)
{
    if (text.empty()) { return; }
    if (!asks(prompt.turns.messages)) {
        add_turn(prompt.turns, "user", text);
        for (std::size_t k = 0; k < 2; ++k) {
            if (begins_with(answers[k].messages, prompt.turns.messages)) {
                prompt.from[k] = prompt.turns.messages.size();
            }
        }
        return;
    }
    const auto bare = [](std::string_view all) {
        while (!all.empty() && json_space(all.front())) { all.remove_prefix(1); }
        while (!all.empty() && json_space(all.back())) { all.remove_suffix(1); }
        return std::string(all);
    };
    const auto wanted = bare(text);
    bool within = true, again = false;  // the text holds all that is asked, or is one of the turns
    for (const auto& turn : prompt.turns.messages) {
        const auto said = bare(turn["content"].get_ref<const std::string&>());
        again = again || (turn["role"] == "user" && said == wanted);
        within =
            within && (turn["role"] != "user" || (said.size() < wanted.size() && wanted.find(said) != wanted.npos));
    }
    if (!again && !within) { prompt.drop = "the prompt is none of the turns before the answers; keep one of the two"; }
}

GRAFT_INLINE PairPrompt pair_prompt(const Json& row, const Reading& reading, const std::array<Turns, 2>& answers,
                                    DataRow& ask)
{
    PairPrompt prompt;
    if (reading.form == Form::question) {
        read_question(row, reading, ask);
        prompt.turns = ask.turns;
        if (ask.instruction.empty() && ask.input.empty() && !ask.history) { prompt.drop = "the prompt is empty"; }
        take_common(answers, prompt);
        return prompt;
    }
    const bool turns = row.contains("prompt") && (row["prompt"].is_array() || row["prompt"].is_object());
    if (turns) { prompt.drop = answer_turns(row["prompt"], "prompt", prompt.turns); }
    if (prompt.drop.empty() && reading.turns != nullptr) { take_conversation(row, reading, answers, prompt); }
    if (!prompt.drop.empty()) { return prompt; }
    take_common(answers, prompt);
    if (reading.question != nullptr && !row[reading.question].is_array() && !row[reading.question].is_object()) {
        auto text = text_field(row, reading.question);
        const auto more = text_field(row, reading.context);
        take_text(more.empty() ? text : text + (text.empty() ? "" : "\n") + more, answers, prompt);
    }
    if (prompt.drop.empty()) {
        DataRow before;
        read_history(row, before);
        if (before.history) { prompt.drop = "a history beside turns; write it into the turns"; }
        prepend_system(prompt.turns, system_text(row, reading, ask));
    }
    return prompt;
}

GRAFT_INLINE std::string misfit(const Json& row, const std::array<Turns, 2>& answers, const PairPrompt& prompt)
{
    const Json& before = prompt.turns.messages;
    if (answers[0].messages == answers[1].messages) { return "chosen and rejected are the same"; }
    for (std::size_t k = 0; k < 2; ++k) {
        const Json& turns = answers[k].messages;
        const auto side = std::string(side_names[k]);
        if (prompt.from[k] == turns.size()) { return "the " + side + " answer is missing"; }
        const auto role = turns[prompt.from[k]]["role"].get<std::string>();
        if (role == "system" || role == "developer") {
            return side + " begins with a system turn that the prompt does not have";
        }
        if (role == "user") { return "chosen and rejected do not answer the same turns"; }
    }
    if (before.empty() || (before.size() == 1 && has_system(before))) {
        return "no prompt: nothing says what the answers answer (" + fields_of(row) + ")";
    }
    const bool two = before.back()["role"] == "assistant"
                     && (answers[0].messages[prompt.from[0]]["role"] == "assistant"
                         || answers[1].messages[prompt.from[1]]["role"] == "assistant");
    return two ? "the prompt ends with an answer" : "";
}

GRAFT_INLINE void read_pair_turns(const Json& row, const Reading& reading, PairRow& out)
{
    std::array<Turns, 2> answers;
    for (std::size_t k = 0; k < 2 && out.drop.empty(); ++k) {
        // A system turn may only come first, so what repeats the prompt is read by itself.
        const char* key = k == 0 ? reading.chosen : reading.rejected;
        out.drop = answer_turns(row[key], key, answers[k]);
    }
    if (!out.drop.empty()) { return; }
    DataRow ask;
    const auto prompt = pair_prompt(row, reading, answers, ask);
    out.drop = prompt.drop.empty() ? misfit(row, answers, prompt) : prompt.drop;
    read_extra(row, ask);
    out.used.insert(out.used.end(), ask.used.begin(), ask.used.end());
    for (std::size_t k = 0; k < 2; ++k) {
        auto& side = out.sides[k];
        side.form = reading.form, side.extra = ask.extra, side.history = ask.history;
        side.instruction = ask.instruction, side.input = ask.input;
        side.turns.messages = prompt.turns.messages, side.turns.remarks = prompt.turns.remarks;
        side.turns.learnt.assign(prompt.turns.messages.size(), false);
        for (std::size_t i = prompt.from[k]; i < answers[k].messages.size(); ++i) {
            side.turns.messages.push_back(answers[k].messages[i]);
            side.turns.learnt.push_back(answers[k].learnt[i]);
        }
        for (const char* what : answers[k].remarks) { remark(side.turns, what); }
        side.turns.empty_answer = answers[k].empty_answer;
        if (out.drop.empty()) { out.drop = unusable(side.turns); }
    }
}

GRAFT_INLINE void read_pair_ids(const Json& row, const DataOptions& options, PairRow& out)
{
    const auto prompt =
        present(row, "prompt_ids") ? read_ids(row, "prompt_ids", options, false) : std::vector<std::int32_t>();
    out.prompt_ids = prompt.size();
    for (std::size_t k = 0; k < 2; ++k) {
        auto& side = out.sides[k];
        const auto answer = read_ids(row, k == 0 ? "chosen_ids" : "rejected_ids", options, false);
        side.form = Form::ids, side.has_labels = true, side.ids = prompt, side.labels.assign(prompt.size(), ignore);
        side.ids.insert(side.ids.end(), answer.begin(), answer.end());
        side.labels.insert(side.labels.end(), answer.begin(), answer.end());
        side.turns.empty_answer = answer.empty();
    }
}

GRAFT_INLINE PairRow read_pair(const Json& row, const RowPlace& place, const Reading& reading,
                               const DataOptions& options)
{
    PairRow out;
    out.form = reading.form;
    for (auto& side : out.sides) { side.place = place; }
    out.used = {"prompt"};
    if (out.form == Form::ids) { out.used = {"prompt_ids", "chosen_ids", "rejected_ids"}; }
    for (const char* key : {reading.chosen, reading.rejected, reading.turns, reading.question, reading.context}) {
        if (key != nullptr) { out.used.push_back(key); }
    }
    for (std::size_t k = 0; k < 2; ++k) {
        const char* key = out.form == Form::ids ? (k == 0 ? "chosen_ids" : "rejected_ids")
                                                : (k == 0 ? reading.chosen : reading.rejected);
        if (!present(row, key)) { out.drop = std::string("the ") + side_names[k] + " answer is missing"; }
    }
    if (!out.drop.empty()) { return out; }
    switch (out.form) {
    case Form::prompt_completion: read_pair_text(row, reading, out); break;
    case Form::ids: read_pair_ids(row, options, out); break;
    default: read_pair_turns(row, reading, out); break;
    }
    return out;
}

}  // namespace graft::detail::dataset
