#pragma once
#include "graft/text/labels/probe.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/text/chat_template.hpp"

namespace graft::detail::labels {

GRAFT_INLINE bool has_calls(const Messages& message)
{
    const auto calls = message.find("tool_calls");
    return calls != message.end() && calls->is_array() && !calls->empty();
}

GRAFT_INLINE bool is_blank(const Messages& message)
{
    const auto content = message.find("content");
    return content == message.end() || content->is_null()
           || (content->is_string() && content->get_ref<const std::string&>().empty());
}

GRAFT_INLINE Conversation::Conversation(const ChatTemplate& chat, const Messages& messages, const Messages& extra,
                                        const std::string& rendered)
    : chat(chat), messages(messages), extra(extra), rendered(rendered)
{
    for (std::size_t i = 0; i < messages.size(); ++i) {
        require(messages[i].is_object(), [&] { return "message " + std::to_string(i + 1) + " is not an object"; });
        const auto role = messages[i].find("role");
        if (role == messages[i].end() || *role != "assistant") { continue; }
        turns.push_back(i);
        any_calls = any_calls || has_calls(messages[i]);
    }
    if (turns.empty()) { return; }
    const auto dump = messages.dump(-1, ' ', false, Messages::error_handler_t::ignore);
    for (std::size_t n = 0; word_.empty(); ++n) {
        const std::string candidate = "sentinel" + std::to_string(n) + "word";
        if (rendered.find(candidate) == std::string::npos && dump.find(candidate) == std::string::npos) {
            word_ = candidate;
        }
    }
}

GRAFT_INLINE void Conversation::fail(std::size_t turn, const std::string& why) const
{
    throw Error("cannot tell what the assistant says in message " + std::to_string(turns[turn] + 1)
                + " from the chat template \"" + chat.name() + "\": " + why);
}

GRAFT_INLINE std::string Conversation::render(const Messages& changed, std::size_t turn, bool prompt) const
{
    try {
        return chat.render(changed, prompt, extra);
    } catch (const Error& error) {
        fail(turn, std::string("it cannot render a changed conversation (") + error.what() + ")");
    }
}

GRAFT_INLINE std::string Conversation::word(char kind, std::size_t owner, std::size_t item) const
{
    return word_ + kind + std::to_string(owner) + "n" + std::to_string(item) + "x";
}

GRAFT_INLINE std::vector<Word> Conversation::words_in(std::string_view text) const
{
    std::vector<Word> out;
    for (std::size_t at = text.find(word_); at != text.npos; at = text.find(word_, at + 1)) {
        const char* const end = text.data() + text.size();
        const char* p = text.data() + at + word_.size();
        Word found{p < end ? *p : '\0', 0, 0, at, 0};
        const auto owner = p < end ? std::from_chars(p + 1, end, found.owner) : std::from_chars_result{};
        if (p >= end || owner.ec != std::errc{} || owner.ptr == end || *owner.ptr != 'n') { continue; }
        const auto item = std::from_chars(owner.ptr + 1, end, found.item);
        if (item.ec != std::errc{} || item.ptr == end || *item.ptr != 'x') { continue; }
        found.end = std::size_t(item.ptr + 1 - text.data());
        out.push_back(found);
    }
    return out;
}

GRAFT_INLINE Messages Conversation::changed(Calls calls, bool others) const
{
    return changed(
        calls, [](std::size_t) { return true; }, others);
}

GRAFT_INLINE void Conversation::check_calls() const
{
    Messages out = messages;
    std::vector<std::size_t> calls(turns.size(), 0);
    for (std::size_t k = 0; k < turns.size(); ++k) {
        if (has_calls(out[turns[k]])) { calls[k] = rename(out[turns[k]], k, false); }
    }
    std::vector<std::vector<bool>> shown;
    for (const auto count : calls) { shown.emplace_back(count, false); }
    const auto first = std::find_if(calls.begin(), calls.end(), [](std::size_t count) { return count > 0; });
    const auto text = render(out, std::size_t(first - calls.begin()));
    for (const Word& w : words_in(text)) {
        if (w.kind == 'c' && w.owner < shown.size() && w.item < shown[w.owner].size()) {
            shown[w.owner][w.item] = true;
        }
    }
    for (std::size_t k = 0; k < shown.size(); ++k) {
        if (std::find(shown[k].begin(), shown[k].end(), false) != shown[k].end()) {
            fail(k, "its tool calls are not shown");
        }
    }
}

GRAFT_INLINE void Conversation::replace(Messages& message, std::size_t turn, Calls calls) const
{
    for (const char* key : {"reasoning_content", "reasoning", "thinking"}) {
        const auto found = message.find(key);
        if (found != message.end() && found->is_string() && !found->get_ref<const std::string&>().empty()) {
            *found = thought();
        }
    }
    const bool keep = calls == Calls::renamed && has_calls(message);
    if (!keep || !is_blank(message)) { message["content"] = word('s', turn); }
    if (keep) {
        rename(message, turn, true);
    } else {
        message.erase("tool_calls");
    }
}

GRAFT_INLINE std::size_t Conversation::rename(Messages& message, std::size_t turn, bool arguments) const
{
    std::size_t number = 0;
    for (auto& call : message["tool_calls"]) {
        if (!call.is_object()) { fail(turn, "a tool call is not an object"); }
        auto& function = call.contains("function") && call["function"].is_object() ? call["function"] : call;
        function["name"] = word('c', turn, number);
        if (const auto given = function.find("arguments"); arguments && given != function.end()) {
            if (given->is_object() && !given->empty()) { *given = {{"argument", word('a', turn, number)}}; }
            if (given->is_string()) { *given = word('a', turn, number); }
        }
        ++number;
    }
    return number;
}

GRAFT_INLINE Probe::Probe(const Conversation& all, std::string rendered, Calls calls) : text(std::move(rendered))
{
    words = all.words_in(text);
    places.resize(all.turns.size());
    std::vector<std::size_t> contents(all.turns.size(), 0);
    std::vector<std::vector<std::size_t>> named(all.turns.size());
    for (const Word& w : words) {
        if (w.kind == 'o' || w.owner >= places.size()) { continue; }
        if (w.kind == 's') { ++contents[w.owner]; }
        auto& seen = named[w.owner];
        // A tool's answer may repeat the name of its call.
        if (w.kind == 'c' && std::find(seen.begin(), seen.end(), w.item) != seen.end()) { continue; }
        if (w.kind == 'c') { seen.push_back(w.item); }
        auto& place = places[w.owner];
        place.begin = std::min(place.begin, w.begin), place.end = std::max(place.end, w.end);
    }
    for (std::size_t k = 0; k < places.size(); ++k) {
        const bool called = calls == Calls::renamed && has_calls(all.messages[all.turns[k]]);
        if (contents[k] > 1 || (contents[k] == 0 && (!called || named[k].empty()))) { missing.push_back(k); }
    }
}

GRAFT_INLINE std::string_view Probe::between(std::size_t from, std::size_t to) const
{
    return std::string_view(text).substr(from, to - from);
}

GRAFT_INLINE void Probe::check(const Conversation& all) const
{
    for (std::size_t k = 0; k < places.size(); ++k) {
        const bool shown = std::find(missing.begin(), missing.end(), k) == missing.end();
        if (!shown || (k > 0 && places[k].begin < places[k - 1].end)) {
            all.fail(k, "its content is not shown exactly once");
        }
    }
}

}  // namespace graft::detail::labels
