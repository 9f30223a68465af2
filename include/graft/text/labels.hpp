#pragma once
#include "graft/core/error.hpp"
#include "graft/core/labels.hpp"
#include "graft/text/chat_template.hpp"
#include "graft/text/labels/ends.hpp"
#include "graft/text/labels/foreign.hpp"
#include "graft/text/labels/probe.hpp"
#include "graft/text/labels/prompts.hpp"
#include "graft/text/span.hpp"
#include "graft/text/tokenizer.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Which tokens of a conversation are learnt: what the assistant says, in every assistant turn, from the end of the
// generation prompt to the end-of-turn token, included; nothing else.
//
// It is found from the template's structure, not by searching for markers: all answers are replaced by words that occur
// nowhere else, and the conversation is rendered again; then every second one, so that each stands by itself between
// two words. What stands around the words must stand around the answers in the given text, to the last byte. So markers
// typed by a user, white space at the seams, tool calls and answers that end like a turn do not disturb it.
// {% generation %} marks are not asked: published ones begin and end in different places.
//
//   begin   the end of the generation prompt: what add_generation_prompt adds behind the turns before. Where that opens
//           (and closes) a think block, the block is a target only if the answer has another one in its place. Where a
//           template has no generation prompt (Mistral) or it holds text that the answer replaces: the first character
//           of the content (labels/prompts.hpp)
//   end     behind the first token after the content: EOS, or what stands in <…>, or all that stands there both before
//           another turn and at the end of the conversation (labels/ends.hpp)
//   cut     what a template prints of a tool's results between the two, with the markers around them
//           (labels/foreign.hpp)
//
// An answer is replaced without its tool calls; where a template refuses that (it checks the order of roles) or prints
// something else, with its calls renamed.
//
// A conversation is rendered at most `most_renderings` times, however many turns it has; 4 to 8 times as a rule.
// Refused with the reason (Error): a template that does not show an assistant turn, or its tool calls, exactly once;
// that renders other turns differently when this one changes; that cannot render the turns before an answer; that
// prints what others say inside of a turn, where that cannot be cut out.
// labels[t] = ids[t] where token t overlaps a span, else graft::ignore; not shifted.
// Source: our own rule; checked against recorded targets (tests/text/labels.cpp).
namespace graft {

namespace detail::labels {

// calls shown; twice (calls taken away, then renamed) 3 probes, one of others, 16 for prompts, 9 for ends; with foreign
// text 2 more and once more all of these; 8 where a hint is looked for.
inline constexpr std::size_t most_renderings = 150;

class Finder {
public:
    explicit Finder(const Conversation& all) : all_(all) {}

    std::vector<AssistantTurn> find()
    {
        if (all_.turns.empty()) { return {}; }
        auto out = pieces();
        if (may_hold_others()) { cut_foreign(out); }
        return out;
    }

private:
    // Calls taken away, and else renamed. The reason of the first is the better one: it speaks of contents.
    std::vector<AssistantTurn> pieces()
    {
        if (!all_.any_calls) { return pieces(Calls::taken_away); }
        all_.check_calls();
        try {
            return pieces(Calls::taken_away);
        } catch (const Error& error) {
            try {
                return pieces(Calls::renamed);
            } catch (const Error&) {}
            throw Error(error.what());
        }
    }

    std::vector<AssistantTurn> pieces(Calls calls)
    {
        const auto changed = all_.changed(calls);
        const Probe probe(all_, all_.render(changed, 0), calls);
        probe.check(all_);
        others_.reset();
        if (all_.turns.size() < all_.messages.size()) { probe_others(calls); }

        Prompts prompts(all_, calls, probe, changed, others_ ? &*others_ : nullptr);
        Ends ends(all_, calls, probe, changed);
        std::vector<std::size_t> begins;
        std::vector<TurnEnd> tails;
        std::vector<std::string> thinks;
        prompts_.clear(), tokens_.clear();
        for (std::size_t k = 0; k < all_.turns.size(); ++k) {
            const auto [begin, prompt] = prompts.begin(k);
            const auto end = ends.end(k);
            begins.push_back(begin), tails.push_back(end), thinks.push_back(prompt->think);
            prompts_.push_back(prompt->added);
            const auto token = probe.gap(k + 1).substr(end.close, end.end - end.close);
            tokens_.emplace_back(token.substr(std::min(token.find_first_not_of(" \t\r\n"), token.size())));
            // What the next answer begins with, be it in <…>, ends none.
            const bool apart = k > 0 && all_.turns[k] > all_.turns[k - 1] + 1;
            if (apart && begin < probe.gap_begin(k) + tails[k - 1].end + prompt->added.size()
                && probe.between(probe.gap_begin(k), begin).ends_with(prompt->added)) {
                all_.fail(k - 1, "no end-of-turn token follows it, so that a model would not learn to stop");
            }
        }
        return together(probe, begins, tails, thinks, answers(probe, calls, begins, tails));
    }

    // The same with words for what users and tools say; a template may refuse it.
    void probe_others(Calls calls)
    {
        try {
            Probe others(all_, all_.chat.render(all_.changed(calls, true), false, all_.extra), calls);
            if (others.missing.empty()) { others_ = std::move(others); }
        } catch (const Error&) {}
    }

    // What each answer says, from a text in which the answers beside it are replaced.
    std::vector<std::string> answers(const Probe& probe, Calls calls, const std::vector<std::size_t>& begins,
                                     const std::vector<TurnEnd>& tails) const
    {
        const std::size_t count = all_.turns.size();
        std::vector<std::string> out(count);
        for (std::size_t odd = count == 1 ? 1 : 0; odd < 2; ++odd) {
            const auto replaced = [&](std::size_t k) { return k % 2 == odd; };
            const Probe half(all_, count == 1 ? all_.rendered : all_.render(all_.changed(calls, replaced), 0), calls);
            for (std::size_t k = 1 - odd; k < count; k += 2) {
                const bool last = k + 1 == count;
                if ((k > 0 && half.places[k - 1].begin == none) || (!last && half.places[k + 1].begin == none)) {
                    changes(k);
                }
                const auto from = half.gap_begin(k), to = last ? half.text.size() : half.places[k + 1].begin;
                const auto head = probe.between(probe.gap_begin(k), begins[k]);
                const auto tail = probe.gap(k + 1).substr(tails[k].close);
                const auto text = half.between(from, std::max(from, to));
                if (to < from || !text.starts_with(head) || !text.ends_with(tail)
                    || head.size() + tail.size() > text.size()) {
                    changes(k);
                }
                out[k] = text.substr(head.size(), text.size() - head.size() - tail.size());
            }
        }
        return out;
    }

    // All of it put together must be the given text.
    std::vector<AssistantTurn> together(const Probe& probe, const std::vector<std::size_t>& begins,
                                        const std::vector<TurnEnd>& tails, const std::vector<std::string>& thinks,
                                        const std::vector<std::string>& said) const
    {
        const std::string_view text = all_.rendered;
        std::vector<AssistantTurn> out;
        std::size_t at = 0;
        for (std::size_t k = 0; k <= said.size(); ++k) {
            const auto from = probe.gap_begin(k) + (k == 0 ? 0 : tails[k - 1].close);
            const auto to = k == said.size() ? probe.text.size() : begins[k];
            const auto turn = std::min(k, said.size() - 1);
            if (to < from || (k > 0 && to < probe.gap_begin(k) + tails[k - 1].end)) { changes(turn); }
            const auto fixed = probe.between(from, to);
            if (text.compare(at, fixed.size(), fixed) != 0) { changes(turn); }
            at += fixed.size();
            if (k == said.size()) { break; }
            if (text.compare(at, said[k].size(), said[k]) != 0) { changes(k); }
            const bool block = !thinks[k].empty() && said[k].starts_with(thinks[k]);
            out.push_back(
                {{at + (block ? thinks[k].size() : 0), at + said[k].size() + tails[k].end - tails[k].close}, {}});
            at += said[k].size();
        }
        if (at != text.size()) { changes(said.size() - 1); }
        return out;
    }

    [[noreturn]] void changes(std::size_t k) const
    {
        all_.fail(k, "other turns render differently when this one changes");
    }

    bool may_hold_others() const { return all_.turns.size() < all_.messages.size(); }

    void cut_foreign(std::vector<AssistantTurn>& turns)
    {
        const bool tools = std::any_of(all_.messages.begin(), all_.messages.end(),
                                       [](const Messages& m) { return m.contains("role") && m["role"] == "tool"; });
        if (all_.any_calls) { others_.reset(), probe_others(Calls::renamed); }
        if (!others_) {
            if (!tools) { return; }
            all_.fail(0, "whether a tool's results stand inside of it cannot be seen");
        }
        const std::vector<std::string_view> prompts(prompts_.begin(), prompts_.end());
        const auto held = find_foreign(all_, *others_, prompts, tokens_);
        if (std::all_of(held.begin(), held.end(), [](const Held& h) { return h.words.empty(); })) { return; }

        auto without = Messages::array(), worded = all_.messages;
        const auto replaced = all_.changed(Calls::renamed, true);
        for (std::size_t i = 0; i < worded.size(); ++i) {
            const bool tool = worded[i]["role"] == "tool";
            if (!tool) { without.push_back(replaced[i]); }
            if (tool && !is_blank(worded[i])) { worded[i]["content"] = all_.word('o', i); }
        }
        const Probe gone(all_, all_.render(without, 0), Calls::renamed);
        const auto text = all_.render(worded, 0);
        const Conversation other(all_.chat, worded, all_.extra, text);
        const auto places = Finder(other).pieces();
        for (std::size_t k = 0; k < held.size(); ++k) {
            if (held[k].words.empty()) { continue; }
            if (gone.places[k].begin == none) { all_.fail(k, not_told); }
            const auto blocks = blocks_of(all_, *others_, held[k], gone, k);
            const auto whole = turns[k].whole;
            const auto piece = [](const std::string& from, TextSpan span) {
                return std::string_view(from).substr(span.begin, span.end - span.begin);
            };
            turns[k].foreign = cut(all_, piece(all_.rendered, whole), piece(text, places[k].whole), blocks, k);
            for (auto& span : turns[k].foreign) { span.begin += whole.begin, span.end += whole.begin; }
        }
    }

    const Conversation& all_;
    std::optional<Probe> others_;
    std::vector<std::string> prompts_, tokens_;  // what each answer begins behind, and ends with
};

}  // namespace detail::labels

// The assistant's turns of `rendered` = chat.render(messages, false, extra), in order.
inline std::vector<AssistantTurn> assistant_turns(const ChatTemplate& chat, const nlohmann::ordered_json& messages,
                                                  const std::string& rendered, const nlohmann::ordered_json& extra = {})
{
    require(messages.is_array(), "messages must be an array");
    const detail::labels::Conversation all(chat, messages, extra, rendered);
    return detail::labels::Finder(all).find();
}

// What is learnt of it: learnt_spans of these.
inline std::vector<TextSpan> assistant_spans(const ChatTemplate& chat, const nlohmann::ordered_json& messages,
                                             const std::string& rendered, const nlohmann::ordered_json& extra = {})
{
    return learnt_spans(assistant_turns(chat, messages, rendered, extra));
}

// The spans may not overlap and must stand in rising order, as assistant_spans gives them.
inline std::vector<std::int32_t> labels_from_spans(const Encoding& encoding, std::span<const TextSpan> spans)
{
    std::vector<std::int32_t> labels(encoding.ids.size(), ignore);
    for (std::size_t t = 0; t < labels.size(); ++t) {
        const TextSpan token = encoding.spans[t];
        const auto next =
            std::partition_point(spans.begin(), spans.end(), [&](const TextSpan& s) { return s.end <= token.begin; });
        if (next != spans.end() && next->begin < token.end && token.begin < token.end) { labels[t] = encoding.ids[t]; }
    }
    return labels;
}

}  // namespace graft
