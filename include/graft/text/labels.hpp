#pragma once
#include "graft/core/error.hpp"
#include "graft/core/labels.hpp"
#include "graft/text/chat_template.hpp"
#include "graft/text/span.hpp"
#include "graft/text/tokenizer.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Which tokens of a conversation are learnt: what the assistant says, in every assistant turn, from the end of the
// generation prompt to the end-of-turn token, included; nothing else.
//
// It is found from the template's structure, not by searching for markers: each assistant turn is replaced by a word
// that occurs nowhere else, the conversation is rendered again, and what stands before and after the word in that text
// must stand before and after the answer in the given one. So markers typed by a user, white space at the seams, tool
// calls and answers that end like a turn do not disturb it. {% generation %} marks are not asked: published ones begin
// and end in different places.
//
//   begin   the end of the generation prompt: what add_generation_prompt adds behind the turns before. Where that opens
//           (and closes) a think block, the block is a target only if the answer has another one in its place. Where a
//           template has no generation prompt (Mistral) or it holds text that the answer replaces: the first character
//           of the content.
//   end     behind the first token after the content: EOS, or what stands in <…>, or all that stands there both before
//           another turn and at the end of the conversation.
//
// Refused with the reason (Error): a template that does not show an assistant turn, or its tool calls, exactly once;
// that renders other turns differently when this one changes; that cannot render the turns before the answer alone.
// labels[t] = ids[t] where token t overlaps a span, else graft::ignore; not shifted.
// Source: our own rule; checked against recorded targets (tests/text/labels.cpp).
namespace graft {

namespace detail {

using Messages = nlohmann::ordered_json;

// Finds the span of one assistant turn.
class AssistantTurn {
public:
    AssistantTurn(const ChatTemplate& chat, const Messages& messages, std::size_t turn, const std::string& rendered,
                  const Messages& extra)
        : chat_(chat), messages_(messages), turn_(turn), rendered_(rendered), extra_(extra)
    {
        for (std::size_t n = 0; word_.empty(); ++n) {
            const std::string candidate = "sentinel" + std::to_string(n) + "word";
            if (rendered.find(candidate) == std::string::npos && messages.dump().find(candidate) == std::string::npos) {
                word_ = candidate;
            }
        }
    }

    TextSpan find() const
    {
        Messages changed = messages_;
        Messages& message = changed[turn_];
        message["content"] = word_;
        if (const auto calls = message.find("tool_calls"); calls != message.end()) {
            if (calls->is_array() && !calls->empty()) { check_tool_calls(); }
            message.erase("tool_calls");
        }
        const std::string probe = render(changed);
        const std::size_t at = only(probe);
        const std::string_view tail = std::string_view(probe).substr(at + word_.size());

        std::size_t begin = content_begin(probe, at);
        const std::string_view head = std::string_view(probe).substr(0, begin);
        if (!rendered_.starts_with(head) || !rendered_.ends_with(tail)
            || head.size() + tail.size() > rendered_.size()) {
            fail("other turns render differently when this one changes");
        }
        const std::string_view block = think_block_;
        if (!block.empty() && std::string_view(rendered_).substr(begin).starts_with(block)
            && begin + block.size() + tail.size() <= rendered_.size()) {
            begin += block.size();
        }
        const std::size_t end = rendered_.size() - tail.size();
        return {begin, end + end_of_turn(tail, changed)};
    }

private:
    [[noreturn]] void fail(const std::string& why) const
    {
        throw Error("cannot tell what the assistant says in message " + std::to_string(turn_ + 1)
                    + " from the chat template \"" + chat_.name() + "\": " + why);
    }

    std::string render(const Messages& messages, bool prompt = false) const
    {
        try {
            return chat_.render(messages, prompt, extra_);
        } catch (const Error& error) {
            fail(std::string("it cannot render a changed conversation (") + error.what() + ")");
        }
    }

    std::size_t only(const std::string& text) const
    {
        const std::size_t at = text.find(word_);
        if (at == std::string::npos || text.find(word_, at + 1) != std::string::npos) {
            fail("its content is not shown exactly once");
        }
        return at;
    }

    void check_tool_calls() const
    {
        Messages changed = messages_;
        std::size_t number = 0;
        for (auto& call : changed[turn_]["tool_calls"]) {
            if (!call.is_object()) { fail("a tool call is not an object"); }
            auto& function = call.contains("function") && call["function"].is_object() ? call["function"] : call;
            function["name"] = word_ + "call" + std::to_string(number++) + "x";
        }
        const std::string text = render(changed);
        while (number-- > 0) {
            if (text.find(word_ + "call" + std::to_string(number) + "x") == std::string::npos) {
                fail("its tool calls are not shown");
            }
        }
    }

    // Where the generation prompt ends in the probe, whose word stands at `at`.
    std::size_t content_begin(const std::string& probe, std::size_t at) const
    {
        Messages before = Messages::array();
        for (std::size_t i = 0; i < turn_; ++i) { before.push_back(messages_[i]); }
        const std::string closed = render(before), open = render(before, true);
        const std::size_t common = common_prefix(closed, open);
        if (common == open.size()) { return at; }    // nothing is added

        std::string_view prompt = open;
        if (const std::size_t think = open.find("<think>", common); think != std::string::npos) {
            think_block_ = open.substr(think);
            prompt = prompt.substr(0, think);
        }
        if (probe.starts_with(prompt) && prompt.size() <= at) { return prompt.size(); }
        if (at > common && prompt.starts_with(std::string_view(probe).substr(0, at))) { return at; }
        // The turns before may render differently when more follow: then it is the last prompt before the word, which
        // must not be one that somebody typed.
        const std::string_view added = prompt.substr(std::min(common, prompt.size()));
        const std::size_t found = added.empty() ? std::string::npos : probe.rfind(added, at);
        if (found == std::string::npos || found + added.size() > at) {
            fail("the generation prompt does not stand before it");
        }
        for (const auto& message : before) {
            const auto content = message.find("content");
            if (content != message.end() && content->is_string()
                && content->get_ref<const std::string&>().find(added) != std::string::npos) {
                fail("an earlier message holds the text of the generation prompt");
            }
        }
        return found + added.size();
    }

    static std::size_t common_prefix(std::string_view a, std::string_view b)
    {
        return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
    }

    // Bytes from the end of the content to behind the end-of-turn token.
    std::size_t end_of_turn(std::string_view tail, const Messages& changed) const
    {
        const std::size_t token = tail.find_first_not_of(" \t\r\n");
        if (token != std::string_view::npos) {
            const std::string_view rest = tail.substr(token);
            for (const auto& [name, text] : chat_.special_tokens()) {
                if (name != "bos_token" && !text.empty() && rest.starts_with(text)) { return token + text.size(); }
            }
            if (rest.starts_with('<')) {
                const std::size_t close = rest.find('>');
                if (close != std::string_view::npos
                    && rest.substr(0, close).find_first_of(" \t\r\n") == std::string_view::npos) {
                    return token + close + 1;
                }
            }
        }
        Messages ending = Messages::array();
        for (std::size_t i = 0; i <= turn_; ++i) { ending.push_back(changed[i]); }
        Messages going_on = ending;
        going_on.push_back({{"role", "user"}, {"content", "and"}});
        const std::string last = render(ending), middle = render(going_on);
        const std::string_view a = std::string_view(last).substr(only(last) + word_.size());
        const std::string_view b = std::string_view(middle).substr(only(middle) + word_.size());
        std::string_view shared = a.substr(0, common_prefix(a, b));
        shared = shared.substr(0, shared.find_last_not_of(" \t\r\n") + 1);
        if (shared.empty() || !tail.starts_with(shared)) {
            fail("no end-of-turn token follows it, so that a model would not learn to stop");
        }
        return shared.size();
    }

    const ChatTemplate& chat_;
    const Messages& messages_;
    std::size_t turn_;
    const std::string& rendered_;
    const Messages& extra_;
    std::string word_;
    mutable std::string think_block_;    // what the generation prompt opens with <think>, if it does
};

}  // namespace detail

// The spans of `rendered` = chat.render(messages, false, extra) that are learnt, in order.
inline std::vector<TextSpan> assistant_spans(const ChatTemplate& chat, const nlohmann::ordered_json& messages,
                                             const std::string& rendered, const nlohmann::ordered_json& extra = {})
{
    std::vector<TextSpan> spans;
    require(messages.is_array(), "messages must be an array");
    for (std::size_t i = 0; i < messages.size(); ++i) {
        const auto& message = messages[i];
        require(message.is_object(), [&] { return "message " + std::to_string(i + 1) + " is not an object"; });
        const auto role = message.find("role");
        if (role == message.end() || *role != "assistant") { continue; }
        spans.push_back(detail::AssistantTurn(chat, messages, i, rendered, extra).find());
    }
    return spans;
}

// The spans may not overlap and must stand in rising order, as assistant_spans gives them.
inline std::vector<std::int32_t> labels_from_spans(const Encoding& encoding, std::span<const TextSpan> spans)
{
    std::vector<std::int32_t> labels(encoding.ids.size(), ignore);
    for (std::size_t t = 0; t < labels.size(); ++t) {
        const TextSpan token = encoding.spans[t];
        const auto next = std::partition_point(spans.begin(), spans.end(),
                                               [&](const TextSpan& s) { return s.end <= token.begin; });
        if (next != spans.end() && next->begin < token.end && token.begin < token.end) { labels[t] = encoding.ids[t]; }
    }
    return labels;
}

}  // namespace graft
