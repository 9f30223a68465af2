#pragma once
#include "graft/text/labels/ends.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/text/chat_template.hpp"
#include "graft/text/labels/probe.hpp"
#include "graft/text/labels/prompts.hpp"
#include "graft/text/named_templates.hpp"

namespace graft::detail::labels {

GRAFT_INLINE std::size_t first_token(const ChatTemplate& chat, std::string_view tail)
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

GRAFT_INLINE TurnEnd Ends::end(std::size_t k)
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

GRAFT_INLINE void Ends::fail(std::size_t k, const std::string& following) const
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
        hint =
            "; give --template a file that ends every answer, or the name of another (" + named_template_list() + ")";
    }
    all_.fail(k, "no end-of-turn token follows it, so that a model would not learn to stop" + hint);
}

GRAFT_INLINE std::string Ends::named_with(const std::string& token) const
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

GRAFT_INLINE std::string Ends::shared_end(std::size_t k, std::string& following)
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

GRAFT_INLINE std::string Ends::behind(const std::string& text, std::size_t k) const
{
    const Probe probe(all_, text, calls_);
    if (probe.places[k].begin == none) { all_.fail(k, "its content is not shown exactly once"); }
    return text.substr(probe.places[k].end);
}

GRAFT_INLINE const std::string& Ends::plain_end(std::size_t k)
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

GRAFT_INLINE const std::string& Ends::keep(std::string_view token)
{
    const auto from = token.find_first_not_of(" \t\r\n");
    return plain_.emplace(token.substr(std::min(from, token.size())));
}

}  // namespace graft::detail::labels
