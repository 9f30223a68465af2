#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/text/dataset/read.hpp"

// Turns of a conversation as chat templates expect them: {role, content, ...} with the roles system, user, assistant
// and tool, from either pair of keys (role and content, from and value).
//
// Roles, case and outer space ignored: system; user, human, input; assistant, gpt, output, function_call; tool,
// observation. Content is text, a list of text parts (joined), or null: an empty text where nothing is said, a reason
// to drop the row where an assistant without tool calls says it. Other keys of a turn (tool_calls, name, ...) are kept
// for the template; weight and loss_weight (0: not learnt, 1) are taken out.
// Throws Error: unknown role, two role or content keys or none, other content, a late or second system turn.
namespace graft::detail::dataset {

struct Turns {
    Json              messages = Json::array();
    std::vector<bool> learnt;                 // one a message: its tokens may be targets
    bool              empty_answer = false;
};

inline void add_turn(Turns& turns, const char* role, std::string content)
{
    turns.empty_answer |= content.empty() && role == std::string_view("assistant");
    turns.learnt.push_back(role == std::string_view("assistant"));
    turns.messages.push_back(Json{{"role", role}, {"content", std::move(content)}});
}

inline void prepend_system(Turns& turns, const std::string& text)
{
    turns.messages.insert(turns.messages.begin(), Json{{"role", "system"}, {"content", text}});
    turns.learnt.insert(turns.learnt.begin(), false);
}

inline const char* role_named(std::string_view name)
{
    while (!name.empty() && json_space(name.front())) { name.remove_prefix(1); }
    while (!name.empty() && json_space(name.back())) { name.remove_suffix(1); }
    std::string low(name);
    for (char& c : low) { c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; }
    for (const char* alias : {"user", "human", "input"}) {
        if (low == alias) { return "user"; }
    }
    for (const char* alias : {"assistant", "gpt", "output", "function_call"}) {
        if (low == alias) { return "assistant"; }
    }
    for (const char* alias : {"tool", "observation"}) {
        if (low == alias) { return "tool"; }
    }
    return low == "system" ? "system" : nullptr;
}

// The one of two keys that the turn has; `needed` says whether it must have one.
inline const char* one_key(const Json& turn, const char* a, const char* b, bool needed, const std::string& here)
{
    require(!(turn.contains(a) && turn.contains(b)), [&] {
        return here + "has both " + a + " and " + b + "; keep one of them";
    });
    const char* key = turn.contains(a) ? a : turn.contains(b) ? b : nullptr;
    require(key != nullptr || !needed, [&] { return here + "has neither " + a + " nor " + b; });
    return key;
}

inline std::string content_text(const Json& content, const char* key, const std::string& here)
{
    if (content.is_null()) { return {}; }
    if (content.is_string()) { return content.get<std::string>(); }
    require(content.is_array(), [&] {
        return here + key + " must be text or a list of text parts, found " + std::string(content.type_name());
    });
    std::string text;
    for (const auto& part : content) {
        const bool  object = part.is_object() && (!part.contains("type") || part["type"] == "text");
        const char* field  = object && part.contains("text") ? "text" : "value";
        require(object && part.contains(field) && part[field].is_string(), [&] {
            return here + key + " has a part that is not text; only text is trained";
        });
        text += part[field].get<std::string>();
    }
    return text;
}

// Takes weight or loss_weight out of the turn; true unless it is 0.
inline bool take_weight(Json& turn, const std::string& here)
{
    bool learnt = true;
    for (const char* key : {"weight", "loss_weight"}) {
        if (!turn.contains(key)) { continue; }
        const auto& value = turn[key];
        require(value.is_null() || (value.is_number() && (value == 0 || value == 1)), [&] {
            return here + key + " must be 0 or 1, found "
                   + printable(value.is_string() ? value.get<std::string>() : value.dump(), 40);
        });
        learnt = learnt && (value.is_null() || value == 1);
        turn.erase(key);
    }
    return learnt;
}

// Appends the turns of a list; returns why the row must be dropped, or nothing.
inline std::string append_turns(const Json& list, const char* key, const RowPlace& place, Turns& turns)
{
    require(list.is_array(), [&] {
        return at(place) + ": " + key + " must be a list of turns, found " + std::string(list.type_name());
    });
    std::string drop;
    for (std::size_t i = 0; i < list.size(); ++i) {
        const std::string here =
            at(place) + ": row " + std::to_string(place.row) + ", " + key + "[" + std::to_string(i) + "] ";
        require(list[i].is_object(), [&] { return here + "must be an object with role and content"; });
        Json        turn     = list[i];
        const char* role_key = one_key(turn, "role", "from", true, here);
        const char* text_key = one_key(turn, "content", "value", false, here);
        const bool calls = turn.contains("tool_calls") && !turn["tool_calls"].is_null() && !turn["tool_calls"].empty();
        require(turn[role_key].is_string(), [&] { return here + role_key + " must be text"; });
        const auto  name = turn[role_key].get<std::string>();
        const char* role = role_named(name);
        require(role != nullptr, [&] {
            return here + "has the unknown " + role_key + " '" + printable(name, 40)
                   + "'; known are system, user (human, input), assistant (gpt, output, function_call), tool "
                     "(observation)";
        });
        require(text_key != nullptr || calls, [&] { return here + "has neither content nor value"; });
        require(role != std::string_view("system") || turns.messages.empty(), [&] {
            return here + "is a system turn that is not the first turn; a conversation has one, at its start";
        });
        const bool assistant = role == std::string_view("assistant");
        const bool silent    = text_key == nullptr || turn[text_key].is_null();
        const auto content   = text_key == nullptr ? std::string{} : content_text(turn[text_key], text_key, here);
        if (assistant && silent && !calls) { drop = "the answer is null"; }
        turns.empty_answer |= assistant && content.empty() && !silent && !calls;
        turns.learnt.push_back(take_weight(turn, here) && assistant);

        Json message{{"role", role}, {"content", content}};
        for (const auto& [name_of, value] : turn.items()) {
            if (name_of != role_key && (text_key == nullptr || name_of != text_key)) { message[name_of] = value; }
        }
        turns.messages.push_back(std::move(message));
    }
    return drop;
}

// Why a conversation cannot be learnt from, or nothing.
inline std::string unusable(const Turns& turns)
{
    const auto& messages = turns.messages;
    const bool  only_system = messages.size() == 1 && messages[0]["role"] == "system";
    if (messages.empty() || only_system) { return "the conversation is empty"; }
    const bool answered =
        std::any_of(messages.begin(), messages.end(), [](const Json& m) { return m["role"] == "assistant"; });
    if (!answered) { return "no assistant turn"; }
    if (messages.back()["role"] == "user") { return "the last turn is the user's"; }
    return {};
}

}  // namespace graft::detail::dataset
