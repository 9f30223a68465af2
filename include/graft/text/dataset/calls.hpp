#pragma once
#include <cstddef>
#include <string>
#include <utility>

#include "graft/text/dataset/bad_row.hpp"
#include "graft/text/dataset/read.hpp"

// Calls of tools in the turns of an assistant, as chat templates expect them: tool_calls, a list of objects.
//
//   as_calls(turn, here)     in place: tool_calls given as JSON text; function_call, OpenAI's older form of one call;
//                            null for none
//   each_call(messages, f)   f(function) for what each call calls: {name, arguments}, within "function" or by itself
//   spaced(json)             JSON text as Python's json.dumps writes it, the way arguments look in recorded calls
//   parsed(text)             the JSON that a text holds; a discarded value where it holds none, or one too deep
namespace graft::detail::dataset {

inline Json parsed(const std::string& text)
{
    JsonEnd end;
    try {
        for (char c : text) { end.take(c, {}); }
    } catch (const Error&) {
        return Json(Json::value_t::discarded);
    }
    return Json::parse(text, nullptr, false);
}

inline std::string spaced(const Json& json)
{
    std::string out;
    if (json.is_object()) {
        for (const auto& [key, value] : json.items()) {
            out += (out.empty() ? "" : ", ") + Json(key).dump() + ": " + spaced(value);
        }
        return "{" + out + "}";
    }
    if (json.is_array()) {
        for (const auto& value : json) { out += (out.empty() ? "" : ", ") + spaced(value); }
        return "[" + out + "]";
    }
    return json.dump();
}

inline void as_calls(Json& turn, const std::string& here)
{
    for (const char* key : {"function_call", "tool_calls"}) {
        if (const auto it = turn.find(key); it != turn.end() && it->is_null()) { turn.erase(it); }
    }
    if (const auto old = turn.find("function_call"); old != turn.end()) {
        Json function = std::move(*old);
        turn.erase("function_call");
        if (function.is_string()) { function = parsed(function.get<std::string>()); }
        row_requires(
            function.is_object() && !turn.contains("tool_calls"),
            [] {
                return std::string(
                    "function_call must be an object of name and arguments, without tool_calls beside it");
            },
            here);
        turn["tool_calls"] = Json::array({Json{{"type", "function"}, {"function", std::move(function)}}});
    }
    const auto calls = turn.find("tool_calls");
    if (calls == turn.end()) { return; }
    if (calls->is_string()) { *calls = parsed(calls->get<std::string>()); }
    const auto wrong = [] { return std::string("tool_calls must be a list of objects, or such a list as JSON text"); };
    row_requires(calls->is_array(), wrong, here);
    for (auto& call : *calls) {
        if (call.is_string()) { call = parsed(call.get<std::string>()); }
        row_requires(call.is_object(), wrong, here);
    }
}

template <class Use> void each_call(Json& messages, Use&& use)
{
    for (auto& message : messages) {
        const auto calls = message.find("tool_calls");
        if (calls == message.end() || !calls->is_array()) { continue; }
        for (auto& call : *calls) {
            if (!call.is_object()) { continue; }
            const auto inner = call.find("function");
            use(inner != call.end() && inner->is_object() ? *inner : call);
        }
    }
}

}  // namespace graft::detail::dataset
