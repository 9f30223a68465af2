#pragma once
#include "graft/text/dataset/turns.hpp"

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "graft/text/dataset/bad_row.hpp"
#include "graft/text/dataset/calls.hpp"
#include "graft/text/dataset/fields.hpp"
#include "graft/text/dataset/read/bytes.hpp"

namespace graft::detail::dataset {

GRAFT_INLINE void remark(Turns& turns, const char* what)
{
    auto& all = turns.remarks;
    if (std::find(all.begin(), all.end(), what) == all.end()) { all.push_back(what); }
}

GRAFT_INLINE void add_turn(Turns& turns, const char* role, std::string content)
{
    turns.empty_answer |= content.empty() && role == std::string_view("assistant");
    turns.learnt.push_back(role == std::string_view("assistant"));
    turns.messages.push_back(Json{{"role", role}, {"content", std::move(content)}});
}

GRAFT_INLINE bool has_system(const Json& messages)
{
    return !messages.empty() && (messages[0]["role"] == "system" || messages[0]["role"] == "developer");
}

GRAFT_INLINE void prepend_system(Turns& turns, const std::string& text)
{
    if (text.empty()) { return; }
    if (has_system(turns.messages)) {
        if (turns.messages[0]["content"] != text) { remark(turns, other_system); }
        return;
    }
    turns.messages.insert(turns.messages.begin(), Json{{"role", "system"}, {"content", text}});
    turns.learnt.insert(turns.learnt.begin(), false);
}

GRAFT_INLINE std::string plain_role(std::string_view name)
{
    while (!name.empty() && json_space(name.front())) { name.remove_prefix(1); }
    while (!name.empty() && json_space(name.back())) { name.remove_suffix(1); }
    std::string low(name);
    for (char& c : low) { c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c == '-' || c == ' ' ? '_' : c; }
    return low;
}

GRAFT_INLINE const char* role_named(std::string_view name)
{
    const auto low = plain_role(name);
    for (const auto& known : roles) {
        if (low == known.name) { return known.role; }
    }
    return nullptr;
}

GRAFT_INLINE std::string known_roles()
{
    std::string out;
    for (const char* role : {"system", "developer", "user", "assistant", "tool"}) {
        std::string also;
        for (const auto& known : roles) {
            if (std::string_view(known.role) == role && std::string_view(known.name) != role) {
                also += (also.empty() ? "" : ", ") + std::string(known.name);
            }
        }
        out += (out.empty() ? "" : ", ") + std::string(role) + (also.empty() ? "" : " (" + also + ")");
    }
    return out;
}

GRAFT_INLINE const char* one_key(const Json& turn, std::span<const char* const> keys, const std::string& here)
{
    const char* found = nullptr;
    for (const char* key : keys) {
        if (!turn.contains(key)) { continue; }
        if (found == nullptr || turn[found].is_null()) {
            found = key;
        } else {
            row_requires(
                turn[key].is_null(),
                [&] { return std::string("a turn has both ") + found + " and " + key + "; keep one of them"; }, here);
        }
    }
    return found;
}

GRAFT_INLINE std::string content_text(const Json& content, const char* key, const std::string& here,
                                      std::string& reasoning)
{
    if (content.is_null()) { return {}; }
    if (content.is_string()) { return content.get<std::string>(); }
    row_requires(
        content.is_array(),
        [&] {
            return std::string(key) + " must be text or a list of text parts, found "
                   + std::string(content.type_name());
        },
        here);
    std::string text;
    for (const auto& part : content) {
        const bool object = part.is_object();
        const bool thought =
            object && part.contains("type") && (part["type"] == "reasoning" || part["type"] == "thinking");
        const char* field = nullptr;
        if (object && (thought || !part.contains("type") || part["type"] == "text")) {
            for (const char* name : {"text", "value", "thinking", "reasoning"}) {
                if (field == nullptr && part.contains(name) && part[name].is_string()) { field = name; }
            }
        }
        row_requires(
            field != nullptr, [&] { return std::string(key) + " has a part that is not text; only text is trained"; },
            here);
        (thought ? reasoning : text) += part[field].get<std::string>();
    }
    return text;
}

GRAFT_INLINE int take_flag(Json& turn, const char* key, bool learnt_if, const std::string& here)
{
    const auto it = turn.find(key);
    if (it == turn.end()) { return -1; }
    const Json value = *it;
    turn.erase(key);
    if (value.is_null()) { return -1; }
    const bool number = value.is_number() && (value == 0 || value == 1);
    row_requires(
        number || value.is_boolean(),
        [&] {
            return std::string(key) + " must be 0 or 1, found "
                   + printable(value.is_string() ? value.get<std::string>() : value.dump(), 40);
        },
        here);
    const bool on = number ? value == 1 : value.get<bool>();
    return on == learnt_if ? 1 : 0;
}

GRAFT_INLINE bool take_flags(Json& turn, bool assistant, const std::string& here, Turns& turns)
{
    int said = -1;
    const char* by = nullptr;
    const auto take = [&](const char* key, bool learnt_if) {
        const int flag = take_flag(turn, key, learnt_if, here);
        row_requires(
            flag < 0 || said < 0 || flag == said,
            [&] { return std::string(by) + " and " + key + " contradict each other; keep one of them"; }, here);
        if (flag >= 0) { said = flag, by = key; }
    };
    for (const char* key : learn_flags) { take(key, true); }
    for (const char* key : mask_flags) { take(key, false); }
    for (const char* key : part_flags) {
        row_requires(
            fill(turn, key) < 2,
            [&] {
                return std::string(key) + " marks parts of a turn, which is not understood; split the turn, or take "
                       + key + " out";
            },
            here);
        turn.erase(key);
    }
    if (!assistant && said == 1) { remark(turns, flag_of_no_answer); }
    return said != 0;
}

GRAFT_INLINE void alias_reasoning(Json& message)
{
    for (const char* key : reasoning_fields) {
        if (!present(message, key)) { continue; }
        const Json reasoning = message[key];
        if (!message.contains("thinking")) { message["thinking"] = reasoning; }
        message["reasoning_content"] = reasoning;
        return;
    }
}

GRAFT_INLINE const char* append_turn(Json turn, const std::string& here, Turns& turns)
{
    row_requires(
        turn.is_object(), [] { return std::string("a turn must be an object with role and content"); }, here);
    const char* role_key = one_key(turn, turn_role_keys, here);
    const char* text_key = one_key(turn, turn_text_keys, here);
    if (text_key == nullptr && turn.contains("text")) { text_key = "text"; }
    if (role_key == nullptr && text_key == nullptr && turn.size() == 2 && fill(turn, "input") > 0
        && turn["input"].is_string() && turn.contains("output") && turn["output"].is_string()) {
        add_turn(turns, "user", turn["input"].get<std::string>());
        add_turn(turns, "assistant", turn["output"].get<std::string>());
        return nullptr;
    }
    row_requires(
        role_key != nullptr, [] { return std::string("a turn has neither role nor from"); }, here);
    row_requires(
        turn[role_key].is_string(), [&] { return std::string(role_key) + " must be text"; }, here);
    const auto name = turn[role_key].get<std::string>();
    const char* role = role_named(name);
    row_requires(
        role != nullptr,
        [&] {
            return std::string("unknown ") + role_key + " '" + printable(name, 40) + "'; known are " + known_roles();
        },
        here);
    as_calls(turn, here);
    const bool calls = fill(turn, "tool_calls") == 2;
    row_requires(
        text_key != nullptr || calls, [] { return std::string("a turn has neither content nor value"); }, here);
    row_requires(
        role != std::string_view("system") || turns.messages.empty(),
        [] { return std::string("a system turn that is not the first turn; a conversation has one, at its start"); },
        here);
    const bool assistant = role == std::string_view("assistant");
    const bool silent = text_key == nullptr || turn[text_key].is_null();
    std::string reasoning;
    const auto content = text_key == nullptr ? std::string{} : content_text(turn[text_key], text_key, here, reasoning);
    turns.empty_answer |= assistant && content.empty() && !silent && !calls;
    const auto plain = plain_role(name);
    if (plain == "function_call" || plain == "tool_call") { remark(turns, call_as_text); }
    turns.learnt.push_back(take_flags(turn, assistant, here, turns) && assistant);

    Json message{{"role", role}, {"content", content}};
    if (!reasoning.empty()) { message["reasoning_content"] = reasoning; }
    for (const auto& [key, value] : turn.items()) {
        if (key != role_key && (text_key == nullptr || key != text_key) && !value.is_null()) { message[key] = value; }
    }
    alias_reasoning(message);
    turns.messages.push_back(std::move(message));
    return assistant && silent && !calls ? "the answer is null" : nullptr;
}

GRAFT_INLINE std::string append_turns(const Json& list, const char* key, Turns& turns)
{
    row_requires(list.is_array(),
                 [&] { return std::string(key) + " must be a list of turns, found " + std::string(list.type_name()); });
    std::string drop;
    for (std::size_t i = 0; i < list.size(); ++i) {
        if (const char* why = append_turn(list[i], key + ("[" + std::to_string(i) + "]"), turns)) { drop = why; }
    }
    return drop;
}

GRAFT_INLINE std::string unusable(const Turns& turns)
{
    const auto& messages = turns.messages;
    const bool only_system = messages.size() == 1 && has_system(messages);
    if (messages.empty() || only_system) { return "the conversation is empty"; }
    const bool answered =
        std::any_of(messages.begin(), messages.end(), [](const Json& m) { return m["role"] == "assistant"; });
    if (!answered) { return "no assistant turn"; }
    if (messages.back()["role"] == "user") { return "the last turn is the user's"; }
    return {};
}

}  // namespace graft::detail::dataset
