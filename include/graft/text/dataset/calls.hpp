#pragma once
#include <cstddef>
#include <string>

#include "graft/core/inline.hpp"
#include "graft/text/dataset/read/bytes.hpp"

// Calls of tools in the turns of an assistant, as chat templates expect them: tool_calls, a list of objects.
//
//   as_calls(turn, here)     in place: tool_calls given as JSON text; function_call, OpenAI's older form of one call;
//                            null for none
//   each_call(messages, f)   f(function) for what each call calls: {name, arguments}, within "function" or by itself
//   spaced(json)             JSON text as Python's json.dumps writes it, the way arguments look in recorded calls
//   parsed(text)             the JSON that a text holds; a discarded value where it holds none, or one too deep
namespace graft::detail::dataset {

Json parsed(const std::string& text);

std::string spaced(const Json& json);

void as_calls(Json& turn, const std::string& here);

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

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset/calls.ipp"
#endif
