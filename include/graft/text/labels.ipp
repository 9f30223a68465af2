#pragma once
#include "graft/text/labels.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/labels.hpp"
#include "graft/text/chat_template.hpp"
#include "graft/text/labels/ends.hpp"
#include "graft/text/labels/foreign.hpp"
#include "graft/text/labels/probe.hpp"
#include "graft/text/labels/prompts.hpp"
#include "graft/text/span.hpp"
#include "graft/text/tokenizer.hpp"

namespace graft::detail::labels {

GRAFT_INLINE std::vector<AssistantTurn> Finder::find()
{
    if (all_.turns.empty()) { return {}; }
    auto out = pieces();
    if (may_hold_others()) { cut_foreign(out); }
    return out;
}

GRAFT_INLINE std::vector<AssistantTurn> Finder::pieces()
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

GRAFT_INLINE std::vector<AssistantTurn> Finder::pieces(Calls calls)
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

GRAFT_INLINE void Finder::probe_others(Calls calls)
{
    try {
        Probe others(all_, all_.chat.render(all_.changed(calls, true), false, all_.extra), calls);
        if (others.missing.empty()) { others_ = std::move(others); }
    } catch (const Error&) {}
}

GRAFT_INLINE std::vector<std::string> Finder::answers(const Probe& probe, Calls calls,
                                                      const std::vector<std::size_t>& begins,
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

GRAFT_INLINE std::vector<AssistantTurn> Finder::together(const Probe& probe, const std::vector<std::size_t>& begins,
                                                         const std::vector<TurnEnd>& tails,
                                                         const std::vector<std::string>& thinks,
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
        out.push_back({{at + (block ? thinks[k].size() : 0), at + said[k].size() + tails[k].end - tails[k].close}, {}});
        at += said[k].size();
    }
    if (at != text.size()) { changes(said.size() - 1); }
    return out;
}

GRAFT_INLINE void Finder::changes(std::size_t k) const
{
    all_.fail(k, "other turns render differently when this one changes");
}

GRAFT_INLINE void Finder::cut_foreign(std::vector<AssistantTurn>& turns)
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

}  // namespace graft::detail::labels

namespace graft {

GRAFT_INLINE std::vector<AssistantTurn> assistant_turns(const ChatTemplate& chat,
                                                        const nlohmann::ordered_json& messages,
                                                        const std::string& rendered,
                                                        const nlohmann::ordered_json& extra)
{
    require(messages.is_array(), "messages must be an array");
    const detail::labels::Conversation all(chat, messages, extra, rendered);
    return detail::labels::Finder(all).find();
}

GRAFT_INLINE std::vector<TextSpan> assistant_spans(const ChatTemplate& chat, const nlohmann::ordered_json& messages,
                                                   const std::string& rendered, const nlohmann::ordered_json& extra)
{
    return learnt_spans(assistant_turns(chat, messages, rendered, extra));
}

GRAFT_INLINE std::vector<std::int32_t> labels_from_spans(const Encoding& encoding, std::span<const TextSpan> spans)
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
