#pragma once
#include "graft/text/labels/probe.hpp"
#include "graft/text/labels/prompts.hpp"
#include "graft/text/named_templates.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Where each answer ends: behind the first token after it. That is a special token but BOS, or what stands in <…>, or
// all that stands there both before another turn and at the end of the conversation.
//
// Behind tool calls that are kept there is text of the calls first: there it is the token that ends an answer without
// calls, looked for up to the next word.
//
// A template that writes nothing behind the last answer, and <…> as soon as something follows, is refused: a model
// would not learn to stop. Which of the named templates writes that token behind every answer is said with it.
// Errors: as Conversation.
namespace graft::detail::labels {

struct TurnEnd {
    std::size_t close = 0, end = 0;
};  // the token with white space in front, in bytes of the gap behind

// The first token of a text, white space in front of it included; 0: none.
inline std::size_t first_token(const ChatTemplate& chat, std::string_view tail)
{
    const std::size_t token = tail.find_first_not_of(" \t\r\n");
    if (token == tail.npos) { return 0; }
    const std::string_view rest = tail.substr(token);
    for (const auto& [name, text] : chat.special_tokens()) {
        if (name != "bos_token" && !text.empty() && rest.starts_with(text)) { return token + text.size(); }
    }
    const std::size_t close = rest.starts_with('<') ? rest.find('>') : rest.npos;
    if (close == rest.npos || rest.substr(0, close).find_first_of(" \t\r\n") != rest.npos) { return 0; }
    return token + close + 1;
}

class Ends {
public:
    Ends(const Conversation& all, Calls calls, const Probe& probe, const Messages& changed)
        : all_(all), calls_(calls), probe_(probe), changed_(changed)
    {}

    TurnEnd end(std::size_t k)
    {
        const auto gap = probe_.gap(k + 1);
        if (calls_ == Calls::renamed && has_calls(all_.messages[all_.turns[k]])) {
            const auto& token = plain_end(k);
            const auto at = gap.find(token);
            if (token.empty() || at == gap.npos) { fail(k, {}); }
            return {at, at + token.size()};
        }
        if (const auto token = first_token(all_.chat, gap)) { return {0, token}; }
        for (const auto& text : shared_) {
            if (gap.starts_with(text)) { return {0, text.size()}; }
        }
        std::string following;
        if (shared_.size() < most) {
            const auto text = shared_end(k, following);
            if (!text.empty()) { shared_.push_back(text); }
            if (!text.empty() && gap.starts_with(text)) { return {0, text.size()}; }
        }
        fail(k, following);
    }

private:
    static constexpr std::size_t most = 4;

    // following: what the template writes behind an answer once another turn follows.
    [[noreturn]] void fail(std::size_t k, const std::string& following) const
    {
        std::string hint;
        const std::size_t token = first_token(all_.chat, following);
        if (token > 0) {
            const auto from = following.find_first_not_of(" \t\r\n");
            const auto text = following.substr(from, token - from);
            const auto names = named_with(text);
            hint = "; it writes " + text + " only once another turn follows: "
                   + (names.empty() ? "give --template a file that ends every answer with it"
                                    : names + " writes it behind every answer");
        } else if (!following.empty()) {
            hint = "; give --template a file that ends every answer, or the name of another (" + named_template_list()
                   + ")";
        }
        all_.fail(k, "no end-of-turn token follows it, so that a model would not learn to stop" + hint);
    }

    // The named templates that end an answer with the token, as options; those that also begin it alike, if any do.
    std::string named_with(const std::string& token) const
    {
        const auto word = all_.word('s', 0);
        const auto small =
            Messages::array({{{"role", "user"}, {"content", "and"}}, {{"role", "assistant"}, {"content", word}}});
        const auto parts = [&](const ChatTemplate& chat) -> std::pair<std::string, std::string> {
            try {
                const auto text = chat.render(small);
                const auto at = text.find(word), asked = text.rfind("and", at);
                if (at == text.npos || asked == text.npos) { return {}; }
                return {text.substr(asked, at - asked), text.substr(at + word.size())};
            } catch (const Error&) {
                return {};
            }
        };
        const auto start = parts(all_.chat).first;
        std::string alike, others;
        for (const auto& each : named_templates) {
            const auto [head, tail] = parts(ChatTemplate::named(each.name, all_.chat.special_tokens()));
            const auto from = tail.find_first_not_of(" \t\r\n");
            if (from == tail.npos || tail.compare(from, token.size(), token) != 0) { continue; }
            auto& list = head == start ? alike : others;
            list += (list.empty() ? "--template " : " or --template ") + std::string(each.name);
        }
        return alike.empty() ? others : alike;
    }

    // What stands behind an answer both when it is the last turn and when another follows.
    std::string shared_end(std::size_t k, std::string& following)
    {
        Messages ending = Messages::array();
        for (std::size_t i = 0; i <= all_.turns[k]; ++i) { ending.push_back(changed_[i]); }
        Messages going_on = ending;
        going_on.push_back({{"role", "user"}, {"content", "and"}});
        const auto last = behind(all_.render(ending, k), k), middle = behind(all_.render(going_on, k), k);
        following = middle;
        const auto shared = last.substr(0, common_prefix(last, middle));
        return shared.substr(0, shared.find_last_not_of(" \t\r\n") + 1);
    }

    std::string behind(const std::string& text, std::size_t k) const
    {
        const Probe probe(all_, text, calls_);
        if (probe.places[k].begin == none) { all_.fail(k, "its content is not shown exactly once"); }
        return text.substr(probe.places[k].end);
    }

    // The token behind an answer without calls: of this conversation, or of a small one.
    const std::string& plain_end(std::size_t k)
    {
        if (plain_) { return *plain_; }
        for (std::size_t i = 0; i < all_.turns.size(); ++i) {
            if (has_calls(all_.messages[all_.turns[i]])) { continue; }
            const auto gap = probe_.gap(i + 1);
            if (const auto token = first_token(all_.chat, gap)) { return keep(gap.substr(0, token)); }
        }
        const auto word = all_.word('s', 0);
        const auto small =
            Messages::array({{{"role", "user"}, {"content", "and"}}, {{"role", "assistant"}, {"content", word}}});
        const auto text = all_.render(small, k);
        const auto at = text.find(word);
        if (at == text.npos) { return keep({}); }
        const auto rest = std::string_view(text).substr(at + word.size());
        return keep(rest.substr(0, first_token(all_.chat, rest)));
    }
    const std::string& keep(std::string_view token)
    {
        const auto from = token.find_first_not_of(" \t\r\n");
        return plain_.emplace(token.substr(std::min(from, token.size())));
    }

    const Conversation& all_;
    Calls calls_;
    const Probe& probe_;
    const Messages& changed_;
    std::vector<std::string> shared_;
    std::optional<std::string> plain_;
};

}  // namespace graft::detail::labels
