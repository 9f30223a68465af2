#pragma once
#include "graft/text/tokenizer/bpe.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/text/tokenizer/byte_level.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/unicode.hpp"
#include "graft/text/tokenizer/vocabulary.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE Bpe::Bpe(const TokenizerJson& json, bool byte_level, const std::string& where) : byte_level_(byte_level)
{
    const Json& model = field(json.rest, "model");
    require(json.has_vocab && json.has_merges, where + ": model needs vocab (an object) and merges (a list)");
    require(field(model, "dropout").is_null() || field(model, "dropout") == 0,
            where + ": model.dropout is not supported");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
        require(field(model, key).is_null() || field(model, key) == "",
                [&] { return where + ": model." + key + " is not supported, found " + field(model, key).dump(); });
    }
    ignore_merges_ = flag_field(model, "ignore_merges", false, where + ": model");
    byte_fallback_ = flag_field(model, "byte_fallback", false, where + ": model");
    fuse_unk_ = flag_field(model, "fuse_unk", false, where + ": model");

    std::size_t bytes = 0;
    for (const auto& [text, id] : json.vocab) { bytes += text.size(); }
    tokens_.reserve(json.vocab.size(), bytes);
    if (byte_level_) { raw_.reserve(json.vocab.size(), bytes); }
    std::string raw;
    for (const auto& entry : json.vocab) {
        const std::string& text = entry.first;
        const std::int32_t id = entry.second;
        require(tokens_.add(text, id), [&] {
            return where + ": model.vocab: \"" + text + "\" (id " + std::to_string(id)
                   + ") repeats a token or an id of "
                   + (tokens_.has(id) ? "\"" + std::string(tokens_[id]) + "\"" : "before");
        });
        raw.clear();
        if (byte_level_ && append_bytes_of(raw, text)) { raw_.add(raw, id); }  // one to one: never a repetition
    }
    if (const Json& unk = field(model, "unk_token"); !unk.is_null()) {
        const std::string text = text_field(model, "unk_token", where + ": model");
        unk_ = tokens_.find(text);
        require(unk_ != no_id, [&] { return where + ": model.unk_token \"" + text + "\" is not in model.vocab"; });
    }
    for (unsigned b = 0; b < 256; ++b) {
        std::string character;
        append_code_point(character, byte_level_ ? byte_chars[b] : char32_t(b));
        bytes_[b] = initial_of(character);
        require(!byte_level_ || bytes_[b].count <= 1, [&] {
            return where + ": model.byte_fallback beside ByteLevel, where model.vocab lacks the character of byte "
                   + std::to_string(b) + ", is not supported";
        });
    }
    read_merges(json, where);
    known_ = std::make_unique<std::atomic<unsigned char>[]>(tokens_.size());
}

// A character that the vocabulary lacks starts as its bytes' tokens, if it has all of them, else as unk, or not at all.
GRAFT_INLINE Bpe::Initial Bpe::initial_of(std::string_view character) const
{
    Initial out;
    out.ids[0] = tokens_.find(character);
    if (out.ids[0] != no_id) {
        out.count = 1;
        return out;
    }
    if (byte_fallback_) {
        bool all = true;
        for (const char c : character) {
            out.ids[out.count] = tokens_.find(byte_name(c));
            all = all && out.ids[out.count] != no_id;
            ++out.count;
        }
        if (all) { return out; }
    }
    out = {};
    if (unk_ != no_id) { out.ids[0] = unk_, out.count = 1, out.unk = true; }
    return out;
}

GRAFT_INLINE const Bpe::Initial& Bpe::initial(std::string_view word, std::size_t at, std::size_t length,
                                              Initial& room) const
{
    const auto first = static_cast<unsigned char>(word[at]);
    if (byte_level_ || first < 0x80) { return bytes_[first]; }
    return room = initial_of(word.substr(at, length));
}

GRAFT_INLINE void Bpe::read_merges(const TokenizerJson& json, const std::string& where)
{
    merges_.reserve(json.merges.size());
    std::vector<std::pair<std::int32_t, std::int32_t>> pairs;
    pairs.reserve(json.merges.size());
    std::string joined;
    for (std::size_t rank = 0; rank < json.merges.size(); ++rank) {
        const std::string& left = json.merges[rank].left;
        const std::string& right = json.merges[rank].right;
        joined.assign(left).append(right);
        const std::int32_t a = tokens_.find(left), b = tokens_.find(right), ab = tokens_.find(joined);
        require(a != no_id && b != no_id && ab != no_id, [&] {
            const std::string& missing = a == no_id ? left : b == no_id ? right : joined;
            return where + ": merge " + std::to_string(rank) + " (\"" + left + "\", \"" + right + "\"): \"" + missing
                   + "\" is not in model.vocab";
        });
        require(!left.empty() && !right.empty(),
                [&] { return where + ": merge " + std::to_string(rank) + " joins an empty token"; });
        merges_[pair_key(a, b)] = {static_cast<std::uint32_t>(rank), ab};  // of repetitions the last counts
        pairs.emplace_back(a, b);
    }
    find_cuts(pairs);
}

// What a merge (a, b) joins are a symbol grown from the last character of a and one grown from the first of b. This
// holds while tokens grow from the characters that they are spelt with, so merges of byte tokens or unk rule it out.
GRAFT_INLINE void Bpe::find_cuts(const std::vector<std::pair<std::int32_t, std::int32_t>>& merges)
{
    std::vector<std::pair<std::int32_t, std::int32_t>> ends(tokens_.size(), {no_id, no_id});
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
        const auto id = static_cast<std::int32_t>(i);
        if (!tokens_.has(id) || tokens_[id].empty()) { continue; }
        const std::string_view text = tokens_[id];
        std::size_t last = text.size() - 1;
        while (is_continuation(text[last])) { --last; }
        ends[i] = {tokens_.find(text.substr(0, char_length(text, 0))), tokens_.find(text.substr(last))};
    }
    const auto special = [&](std::int32_t id) {
        const std::string_view text = tokens_[id];
        return id == unk_ || (byte_fallback_ && text.size() == 6 && text.starts_with("<0x") && text.ends_with('>'));
    };
    for (const auto& [a, b] : merges) {
        if (special(a) || special(b)) { return; }
        const std::int32_t left = ends[static_cast<std::size_t>(a)].second;
        const std::int32_t right = ends[static_cast<std::size_t>(b)].first;
        if (left != no_id && right != no_id) { joinable_[pair_key(left, right)] = 1; }
    }
    cuttable_ = true;
}

// The symbols that the word starts from; returns how many bytes of dropped characters come before the first. Those that
// are dropped further on are counted to the symbol before them: its neighbours may then join, as in the reference.
GRAFT_INLINE std::size_t Bpe::start(std::string_view word, Scratch& scratch) const
{
    auto& symbols = scratch.symbols;
    symbols.clear();
    symbols.reserve(word.size());
    bool after_unk = false;
    std::uint32_t dropped = 0;
    Initial room;
    for (std::size_t at = 0; at < word.size();) {
        const std::size_t length = byte_level_ ? 1 : char_length(word, at);
        const Initial& first = initial(word, at, length, room);
        at += length;
        if (first.unk && after_unk && fuse_unk_) {
            symbols.back().length += static_cast<std::uint32_t>(length);
            continue;
        }
        if (first.count == 0) {
            (symbols.empty() ? dropped : symbols.back().length) += static_cast<std::uint32_t>(length);
            continue;
        }
        after_unk = first.unk;
        if (first.count == 1) {
            symbols.push_back({first.ids[0], static_cast<std::uint32_t>(length)});
        } else {
            for (std::size_t i = 0; i < first.count; ++i) { symbols.push_back({first.ids[i], 1}); }
        }
    }
    return dropped;
}

// Joins until nothing can be joined; returns how many symbols are left at the front.
GRAFT_INLINE std::size_t Bpe::join(Symbol* symbols, std::size_t count, Scratch& scratch) const
{
    if (count > short_part) { return join_long(symbols, count, scratch); }
    std::array<Merge, short_part> merge;
    const auto look = [&](std::size_t i) {
        const Merge* found = merges_.find(pair_key(symbols[i].id, symbols[i + 1].id));
        merge[i] = found == nullptr ? Merge{no_rank, no_id} : *found;
    };
    for (std::size_t i = 0; i + 1 < count; ++i) { look(i); }
    while (count > 1) {
        std::size_t best = 0;
        for (std::size_t i = 1; i + 1 < count; ++i) {
            if (merge[i].rank < merge[best].rank) { best = i; }
        }
        if (merge[best].rank == no_rank) { break; }
        symbols[best] = {merge[best].id, symbols[best].length + symbols[best + 1].length};
        std::copy(symbols + best + 2, symbols + count, symbols + best + 1);
        --count;
        if (best + 1 < count) {
            std::copy(merge.data() + best + 2, merge.data() + count, merge.data() + best + 1);
            look(best);
        }
        if (best > 0) { look(best - 1); }
    }
    return count;
}

GRAFT_INLINE std::size_t Bpe::join_long(Symbol* symbols, std::size_t count, Scratch& scratch) const
{
    using Pair = Scratch::Pair;
    auto& previous = scratch.previous;
    auto& next = scratch.next;
    auto& heap = scratch.heap;
    const auto end = static_cast<std::uint32_t>(count);
    const auto later = [](const Pair& a, const Pair& b) { return a.rank != b.rank ? a.rank > b.rank : a.at > b.at; };
    const auto pair_at = [&](std::uint32_t at) -> Pair {
        const std::uint32_t right = next[at];
        const Merge* found = merges_.find(pair_key(symbols[at].id, symbols[right].id));
        return {found == nullptr ? no_rank : found->rank, at, symbols[at].id, symbols[right].id};
    };
    previous.resize(count);
    next.resize(count);
    heap.clear();
    for (std::uint32_t i = 0; i < end; ++i) { previous[i] = i - 1, next[i] = i + 1; }
    for (std::uint32_t i = 0; i + 1 < end; ++i) {
        if (const Pair pair = pair_at(i); pair.rank != no_rank) { heap.push_back(pair); }
    }
    std::make_heap(heap.begin(), heap.end(), later);
    const auto push = [&](std::uint32_t at) {
        if (const Pair pair = pair_at(at); pair.rank != no_rank) {
            heap.push_back(pair);
            std::push_heap(heap.begin(), heap.end(), later);
        }
    };
    while (!heap.empty()) {
        const Pair pair = heap.front();
        std::pop_heap(heap.begin(), heap.end(), later);
        heap.pop_back();
        const std::uint32_t left = pair.at, right = next[left];
        // out of date: a side was joined with something else since (a joined right half has length 0)
        if (symbols[left].length == 0 || right == end) { continue; }
        if (symbols[left].id != pair.left || symbols[right].id != pair.right) { continue; }
        symbols[left].id = merges_.find(pair_key(pair.left, pair.right))->id;
        symbols[left].length += symbols[right].length;
        symbols[right].length = 0;
        next[left] = next[right];
        if (next[left] != end) {
            previous[next[left]] = left;
            push(left);
        }
        if (left != 0) { push(previous[left]); }
    }
    std::size_t kept = 0;
    for (std::uint32_t i = 0; i != end; i = next[i]) { symbols[kept++] = symbols[i]; }
    return kept;
}

// A part of a word whose symbols are `symbols`: by look-up where it is known to be one token, else by joining.
GRAFT_INLINE std::size_t Bpe::part(std::string_view bytes, Symbol* symbols, std::size_t count, Scratch& scratch) const
{
    if (count == 1) { return 1; }
    const std::int32_t id = words().find(bytes);
    if (id == no_id) { return join(symbols, count, scratch); }
    // The same answer from every thread, whoever is first: relaxed order is enough.
    auto& known = known_[static_cast<std::size_t>(id)];
    const unsigned char seen = known.load(std::memory_order_relaxed);
    if (seen == token) {
        symbols[0] = {id, static_cast<std::uint32_t>(bytes.size())};
        return 1;
    }
    count = join(symbols, count, scratch);
    if (seen == unseen) {
        known.store(count == 1 && symbols[0].id == id ? token : not_token, std::memory_order_relaxed);
    }
    return count;
}

}  // namespace graft::detail::tokens
