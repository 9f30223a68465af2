#pragma once
#include "graft/text/dataset/calls.hpp"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/text/dataset/bad_row.hpp"
#include "graft/text/dataset/read.hpp"
#include "graft/text/dataset/read/bytes.hpp"

namespace graft::detail::dataset {

GRAFT_INLINE Json parsed(const std::string& text)
{
    JsonEnd end;
    try {
        for (char c : text) { end.take(c, {}); }
    } catch (const Error&) {
        return Json(Json::value_t::discarded);
    }
    return Json::parse(text, nullptr, false);
}

GRAFT_INLINE std::string spaced(const Json& json)
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

GRAFT_INLINE void as_calls(Json& turn, const std::string& here)
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

}  // namespace graft::detail::dataset
