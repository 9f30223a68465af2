#pragma once
#include "graft/text/labels/probe.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Where each answer begins: behind the generation prompt.
//
// What add_generation_prompt adds is learnt from the turns before one answer, rendered with it and without, once for
// each role that stands before an answer; that it stands before every other answer too is seen in the text itself, in
// which all that users and tools say is words. An answer that this does not fit is asked for by itself, `most` in all.
// Reasoning that the template writes as a message of its own (gpt-oss) is the answer's: the prompt before it counts.
// Nobody can ask before the first turn of all where the template reads messages[0]: then what is added behind a
// question is looked for.
// Errors: as Conversation.
namespace graft::detail::labels {

inline std::size_t common_prefix(std::string_view a, std::string_view b)
{
    return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

struct Prompt {
    std::string added;       // up to a think block that it opens
    std::string think;       // from there on
    std::string stands;      // what is seen before a word: the prompt, and what the template writes behind it
    std::size_t behind = 0;  // bytes of `stands` behind the prompt
    bool nothing = false;
};

class Prompts {
public:
    // probe: every answer replaced; changed: its conversation; others: the same with words for users and tools, or null
    Prompts(const Conversation& all, Calls calls, const Probe& probe, const Messages& changed, const Probe* others)
        : all_(all), calls_(calls), probe_(probe), changed_(changed), others_(others)
    {}

    // The begin of answer k, in bytes of the probe, and its prompt.
    std::pair<std::size_t, const Prompt*> begin(std::size_t k)
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

private:
    static constexpr std::size_t most = 8;

    std::string role_before(std::size_t k) const
    {
        if (all_.turns[k] == 0) { return ""; }
        const auto& message = all_.messages[all_.turns[k] - 1];
        const auto role = message.find("role");
        return role != message.end() && role->is_string() ? role->get<std::string>() : "?";
    }

    void require_more(std::size_t k) const
    {
        if (known_.size() >= most) { all_.fail(k, "the generation prompt does not stand before it"); }
    }

    std::size_t learn(std::size_t k, Prompt& prompt)
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

    std::size_t seen(std::size_t k, std::size_t begin, Prompt& prompt) const
    {
        prompt.behind = probe_.places[k].begin - begin;
        prompt.stands = prompt.added + std::string(probe_.between(begin, probe_.places[k].begin));
        return begin;
    }

    // Where no prompt is added, an answer begins with its content; calls begin where the turns before end.
    std::size_t in_front(std::size_t k, const std::string& closed, bool asked)
    {
        const std::size_t at = probe_.places[k].begin;
        if (calls_ == Calls::taken_away || !has_calls(all_.messages[all_.turns[k]])) { return at; }
        const bool whole = !asked && std::string_view(probe_.text).starts_with(closed);
        if (!whole || closed.size() > at || closed.size() < probe_.gap_begin(k)) {
            all_.fail(k, "nothing shows where its tool calls begin");
        }
        return closed.size();
    }

    std::optional<std::size_t> search(std::size_t k, const Prompt& prompt) const
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
        if (bytes && typed(k, prompt.added)) {
            all_.fail(k, "an earlier message holds the text of the generation prompt");
        }
        return bytes ? std::optional(at - *bytes) : std::nullopt;
    }

    // Whether a message between the answer before and this one holds the text.
    bool typed(std::size_t k, const std::string& text) const
    {
        for (std::size_t i = k == 0 ? 0 : all_.turns[k - 1] + 1; i < all_.turns[k]; ++i) {
            const auto content = all_.messages[i].find("content");
            if (content == all_.messages[i].end() || !content->is_string()) { continue; }
            if (content->get_ref<const std::string&>().find(text) != std::string::npos) { return true; }
        }
        return false;
    }

    const Conversation& all_;
    Calls calls_;
    const Probe& probe_;
    const Messages& changed_;
    const Probe* others_;
    std::vector<std::pair<std::string, std::unique_ptr<Prompt>>> known_;
};

}  // namespace graft::detail::labels
