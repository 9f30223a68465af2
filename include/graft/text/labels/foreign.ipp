#pragma once
#include "graft/text/labels/foreign.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/text/labels/probe.hpp"
#include "graft/text/span.hpp"

namespace graft::detail::labels {

GRAFT_INLINE std::vector<Held> find_foreign(const Conversation& all, const Probe& probe,
                                            const std::vector<std::string_view>& prompts,
                                            const std::vector<std::string>& tokens)
{
    std::vector<Held> out(all.turns.size());
    auto word = probe.words.begin();
    for (std::size_t k = 0; k < out.size(); ++k) {
        const auto before = probe.gap(k), behind = probe.gap(k + 1);
        const auto prompt = prompts[k].empty() ? before.npos : before.rfind(prompts[k]);
        const auto token = behind.find(tokens[k]);
        out[k].begin = prompt == before.npos ? probe.gap_end(k) : probe.gap_begin(k) + prompt + prompts[k].size();
        out[k].end = probe.gap_begin(k + 1) + (token == behind.npos ? 0 : token + tokens[k].size());
        while (word != probe.words.end() && word->begin < out[k].begin) { ++word; }
        for (; word != probe.words.end() && word->begin < out[k].end; ++word) {
            if (word->kind == 'o') { out[k].words.push_back(*word); }
        }
    }
    return out;
}

GRAFT_INLINE TextSpan inserted(std::string_view with, std::string_view without, std::size_t from, std::size_t to)
{
    if (without.size() > with.size()) { return {}; }
    const std::size_t front = common_prefix(with, without), size = with.size() - without.size();
    std::size_t back = 0;
    while (back < without.size() && with[with.size() - 1 - back] == without[without.size() - 1 - back]) { ++back; }
    TextSpan best;
    for (std::size_t p = without.size() - std::min(back, without.size()); p <= front; ++p) {
        if (p > from || p + size < to) { continue; }
        const bool token = with[p] == '<' || with[p] == '[';
        if (best.end == 0 || token) { best = {p, p + size}; }
        if (token) { break; }
    }
    return best;
}

GRAFT_INLINE std::vector<std::string> blocks_of(const Conversation& all, const Probe& with, const Held& held,
                                                const Probe& without, std::size_t k)
{
    const auto refuse = [&](const Word& w) {
        all.fail(k, "what message " + std::to_string(w.owner + 1) + " says is shown inside of it");
    };
    for (const Word& w : held.words) {
        if (all.messages[w.owner]["role"] != "tool") { refuse(w); }
    }
    // The answer's own words divide both texts alike.
    const auto own = [&](const Probe& probe) {
        std::vector<Word> out;
        for (const Word& w : probe.words) {
            const auto& place = probe.places[k];
            if (w.kind != 'o' && w.owner == k && place.begin <= w.begin && w.end <= place.end) { out.push_back(w); }
        }
        return out;
    };
    const auto a = own(with), b = own(without);
    const auto same = [](const Word& x, const Word& y) { return x.kind == y.kind && x.item == y.item; };
    if (!std::equal(a.begin(), a.end(), b.begin(), b.end(), same)) { refuse(held.words[0]); }
    std::vector<std::string> out;
    for (std::size_t i = 0; i <= a.size(); ++i) {
        const auto begin = i == 0 ? held.begin : a[i - 1].end, end = i == a.size() ? held.end : a[i].begin;
        std::size_t from = none, to = 0;
        for (const Word& w : held.words) {
            if (w.begin >= begin && w.end <= end) { from = std::min(from, w.begin), to = w.end; }
        }
        if (from == none) { continue; }
        const auto before = without.gap(k), behind = without.gap(k + 1);
        // In front of the first word and behind the last as much as is alike.
        const auto rest = i == 0 ? before : i < b.size() ? without.between(b[i - 1].end, b[i].begin) : behind;
        const auto here = with.between(i == 0 ? with.gap_begin(k) : begin, i == a.size() ? with.gap_end(k + 1) : end);
        const auto start = std::size_t(here.data() - with.text.data());
        const auto piece = inserted(here, rest, from - start, to - start);
        if (piece.end == 0 || start + piece.begin < begin || start + piece.end > end) { refuse(held.words[0]); }
        auto block = std::string(here.substr(piece.begin, piece.end - piece.begin));
        // The calls have their names again.
        std::size_t number = 0;
        for (const auto& call : all.messages[all.turns[k]].value("tool_calls", Messages::array())) {
            const auto& function = call.contains("function") && call["function"].is_object() ? call["function"] : call;
            const auto name = all.word('c', k, number++);
            for (std::size_t at = block.find(name); at != block.npos; at = block.find(name, at)) {
                block.replace(at, name.size(), function.value("name", std::string()));
            }
        }
        out.push_back(std::move(block));
    }
    return out;
}

GRAFT_INLINE std::vector<TextSpan> cut(const Conversation& all, std::string_view text, std::string_view answer,
                                       const std::vector<std::string>& blocks, std::size_t k)
{
    const auto refuse = [&] { all.fail(k, not_told); };
    std::vector<TextSpan> out;
    std::size_t at = 0, from = 0;  // in text, in answer
    const auto follow = [&](std::string_view piece) {
        if (!text.substr(at).starts_with(piece)) { refuse(); }
        at += piece.size();
    };
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        const auto found = answer.find(blocks[i], from);
        if (found == answer.npos) { refuse(); }
        follow(answer.substr(from, found - from));
        from = found + blocks[i].size();
        const auto begin = at;
        const auto words = all.words_in(blocks[i]);
        std::size_t done = 0;
        for (const Word& w : words) {
            if (w.kind != 'o') { continue; }
            follow(std::string_view(blocks[i]).substr(done, w.begin - done));
            done = w.end;
            const auto said = all.messages[w.owner]["content"];
            const auto plain = said.is_string() ? said.template get<std::string>() : said.dump();
            const auto first = plain.find_first_not_of(" \t\r\n"), last = plain.find_last_not_of(" \t\r\n");
            const auto bare = first == plain.npos ? std::string() : plain.substr(first, last - first + 1);
            const auto json = said.dump();
            const bool only = blocks.size() == 1 && words.size() == 1;
            const auto rest = text.substr(at);
            const auto after = blocks[i].size() - done + answer.size() - from;
            if (only && rest.size() >= after) {
                at += rest.size() - after;  // whatever was made of it
            } else if (rest.starts_with(plain)) {
                at += plain.size();
            } else if (rest.starts_with(bare)) {
                at += bare.size();
            } else {
                follow(json);
            }
        }
        follow(std::string_view(blocks[i]).substr(done));
        out.push_back({begin, at});
    }
    follow(answer.substr(from));
    if (at != text.size()) { refuse(); }
    return out;
}

}  // namespace graft::detail::labels
