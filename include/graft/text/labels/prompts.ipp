#pragma once
#include "graft/text/labels/prompts.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/text/labels/probe.hpp"

namespace graft::detail::labels {

GRAFT_INLINE std::size_t common_prefix(std::string_view a, std::string_view b)
{
    return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

GRAFT_INLINE std::pair<std::size_t, const Prompt*> Prompts::begin(std::size_t k)
{
    const auto before = role_before(k);
    for (const auto& [role, prompt] : known_) {
        if (role != before) { continue; }
        if (const auto at = search(k, *prompt)) { return {*at, prompt.get()}; }
    }
    require_more(k);
    auto prompt = std::make_unique<Prompt>();
    const auto at = learn(k, *prompt);
    known_.emplace_back(before, std::move(prompt));
    return {at, known_.back().second.get()};
}

GRAFT_INLINE std::string Prompts::role_before(std::size_t k) const
{
    if (all_.turns[k] == 0) { return ""; }
    const auto& message = all_.messages[all_.turns[k] - 1];
    const auto role = message.find("role");
    return role != message.end() && role->is_string() ? role->get<std::string>() : "?";
}

GRAFT_INLINE void Prompts::require_more(std::size_t k) const
{
    if (known_.size() >= most) { all_.fail(k, "the generation prompt does not stand before it"); }
}

GRAFT_INLINE std::size_t Prompts::learn(std::size_t k, Prompt& prompt)
{
    Messages before = Messages::array();
    for (std::size_t i = 0; i < all_.turns[k]; ++i) { before.push_back(changed_[i]); }
    std::string closed, open;
    bool asked = false;  // behind a question of ours
    try {
        closed = all_.chat.render(before, false, all_.extra), open = all_.chat.render(before, true, all_.extra);
    } catch (const Error&) {
        const bool system = !before.empty() && before[0].contains("role") && before[0]["role"] == "system";
        Messages question = Messages::array();
        if (system) { question.push_back(before[0]); }
        question.push_back({{"role", "user"}, {"content", "and"}});
        closed = all_.render(question, k), open = all_.render(question, k, true), asked = true;
    }
    const std::size_t common = common_prefix(closed, open), at = probe_.places[k].begin;
    prompt.nothing = common == open.size();
    if (prompt.nothing) { return in_front(k, closed, asked); }

    std::string_view all = open;
    if (const std::size_t think = open.find("<think>", common); think != std::string::npos) {
        prompt.think = open.substr(think);
        all = all.substr(0, think);
    }
    prompt.added = all.substr(common);
    const std::string_view text = probe_.text;
    if (!asked && text.starts_with(all) && all.size() <= at && all.size() >= probe_.gap_begin(k)) {
        return seen(k, all.size(), prompt);
    }
    if (!asked && at > common && all.starts_with(text.substr(0, at))) {  // it goes on where the answer begins
        prompt.stands = all.substr(common, at - common);
        return at;
    }
    const auto found = search(k, prompt);
    if (!found) { all_.fail(k, "the generation prompt does not stand before it"); }
    return seen(k, *found, prompt);
}

GRAFT_INLINE std::size_t Prompts::seen(std::size_t k, std::size_t begin, Prompt& prompt) const
{
    prompt.behind = probe_.places[k].begin - begin;
    prompt.stands = prompt.added + std::string(probe_.between(begin, probe_.places[k].begin));
    return begin;
}

GRAFT_INLINE std::size_t Prompts::in_front(std::size_t k, const std::string& closed, bool asked)
{
    const std::size_t at = probe_.places[k].begin;
    if (calls_ == Calls::taken_away || !has_calls(all_.messages[all_.turns[k]])) { return at; }
    const bool whole = !asked && std::string_view(probe_.text).starts_with(closed);
    if (!whole || closed.size() > at || closed.size() < probe_.gap_begin(k)) {
        all_.fail(k, "nothing shows where its tool calls begin");
    }
    return closed.size();
}

GRAFT_INLINE std::optional<std::size_t> Prompts::search(std::size_t k, const Prompt& prompt) const
{
    const std::size_t at = probe_.places[k].begin;
    const auto gap = probe_.gap(k);
    if (prompt.nothing) {
        const bool called = calls_ == Calls::renamed && has_calls(all_.messages[all_.turns[k]]);
        return called ? std::nullopt : std::optional(at);
    }
    // Behind the last word of somebody else nothing is typed. The text there must be the same in both.
    std::string_view open;
    if (others_ != nullptr) {
        std::size_t from = others_->gap_begin(k);
        const auto to = others_->gap_end(k);
        const auto next = std::lower_bound(others_->words.begin(), others_->words.end(), to,
                                           [](const Word& w, std::size_t end) { return w.begin < end; });
        for (auto w = next; w != others_->words.begin() && (--w)->end > from;) { from = w->end; }
        open = others_->between(from, to);
        if (!gap.ends_with(open)) { open = {}; }
    }
    const auto thought = all_.thought();
    const auto behind = [&](std::string_view text) -> std::optional<std::size_t> {
        const auto last = [&](std::string_view piece) -> std::optional<std::size_t> {
            const auto found = prompt.added.empty() ? piece.npos : piece.rfind(prompt.added);
            return found == piece.npos ? std::nullopt : std::optional(text.size() - found - prompt.added.size());
        };
        // Reasoning may have a message of its own, behind which the prompt stands again.
        const bool plain = prompt.stands.find(thought) == prompt.stands.npos;
        if (const auto at_thought = text.find(thought); plain && at_thought != text.npos) {
            if (const auto bytes = last(text.substr(0, at_thought))) { return bytes; }
        }
        if (!prompt.stands.empty() && text.ends_with(prompt.stands)) { return prompt.behind; }
        return last(text);
    };
    if (const auto bytes = behind(open)) { return at - *bytes; }
    const auto bytes = behind(gap);
    if (bytes && typed(k, prompt.added)) { all_.fail(k, "an earlier message holds the text of the generation prompt"); }
    return bytes ? std::optional(at - *bytes) : std::nullopt;
}

GRAFT_INLINE bool Prompts::typed(std::size_t k, const std::string& text) const
{
    for (std::size_t i = k == 0 ? 0 : all_.turns[k - 1] + 1; i < all_.turns[k]; ++i) {
        const auto content = all_.messages[i].find("content");
        if (content == all_.messages[i].end() || !content->is_string()) { continue; }
        if (content->get_ref<const std::string&>().find(text) != std::string::npos) { return true; }
    }
    return false;
}

}  // namespace graft::detail::labels
