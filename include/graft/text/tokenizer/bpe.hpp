#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/span.hpp"
#include "graft/text/tokenizer/aligned_text.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/vocabulary.hpp"

// Byte-pair encoding of one word: start from its characters (or bytes), join the neighbouring pair of lowest rank,
// leftmost first, until no pair has a rank.
//
// Three things make it fast and change no result:
// - a word that is itself a token, and known to be what joining gives, is one look-up (learnt as words are met);
// - where no merge can join the character at the left of a place with the one at its right, the word is cut there and
//   the parts are done apart (so the texts of SentencePiece-style files, one word each, fall into words again);
// - short parts search for the lowest rank directly, long ones keep the pairs in a heap: n log n for any input.
//
// With byte-level pre-tokenisation words are read as bytes, and tokens are kept as the bytes that they stand for.
namespace graft::detail::tokens {

class Bpe {
public:
    struct Scratch {
        struct Symbol {
            std::int32_t id;
            std::uint32_t length;
        };  // length in bytes of the word
        struct Pair {
            std::uint32_t rank, at;
            std::int32_t left, right;
        };
        std::vector<Symbol> symbols;
        std::vector<std::uint32_t> previous, next;
        std::vector<Pair> heap;
    };

    // Where ids go and, where asked for, which bytes each covers.
    struct Sink {
        std::vector<std::int32_t>& ids;
        std::vector<TextSpan>* places = nullptr;  // bytes of the word, with `base` added
        std::size_t base = 0;
    };

    Bpe(const TokenizerJson& json, bool byte_level, const std::string& where);

    const StringTable& tokens() const { return tokens_; }
    bool ignore_merges() const { return ignore_merges_; }
    std::int32_t unk() const { return unk_; }

    // `whole(id)` says whether a word that equals this token may become it at once when merges are ignored.
    template <class Whole> void operator()(std::string_view word, Scratch& scratch, Sink& sink, Whole&& whole) const;

private:
    struct Merge {
        std::uint32_t rank = 0;
        std::int32_t id = no_id;
    };
    struct Initial {
        std::array<std::int32_t, 4> ids{no_id, no_id, no_id, no_id};
        std::uint8_t count = 0;
        bool unk = false;
    };
    using Symbol = Scratch::Symbol;
    static constexpr std::uint32_t no_rank = std::numeric_limits<std::uint32_t>::max();
    static constexpr std::size_t short_part = 32;  // symbols; beyond that the heap is faster
    enum : unsigned char { unseen, token, not_token };

    const StringTable& words() const { return byte_level_ ? raw_ : tokens_; }
    Initial initial_of(std::string_view character) const;
    const Initial& initial(std::string_view word, std::size_t at, std::size_t length, Initial& room) const;
    void read_merges(const TokenizerJson& json, const std::string& where);
    void find_cuts(const std::vector<std::pair<std::int32_t, std::int32_t>>& merges);
    std::size_t start(std::string_view word, Scratch& scratch) const;
    std::size_t join(Symbol* symbols, std::size_t count, Scratch& scratch) const;
    std::size_t join_long(Symbol* symbols, std::size_t count, Scratch& scratch) const;
    std::size_t part(std::string_view bytes, Symbol* symbols, std::size_t count, Scratch& scratch) const;

    StringTable tokens_, raw_;
    FlatMap<Merge> merges_;
    FlatMap<char> joinable_;  // pairs of starting symbols that a merge may join
    bool cuttable_ = false;
    std::array<Initial, 256> bytes_;  // byte level: what each byte starts as; else the same for ASCII
    std::int32_t unk_ = no_id;
    bool byte_level_ = false, ignore_merges_ = false, byte_fallback_ = false, fuse_unk_ = false;
    std::unique_ptr<std::atomic<unsigned char>[]> known_;  // by id: is joining the token's own text this token?
};

template <class Whole> void Bpe::operator()(std::string_view word, Scratch& scratch, Sink& sink, Whole&& whole) const
{
    require(word.size() < no_rank, "a text of 4 GiB or more cannot be tokenised at once: cut it into rows");
    const auto put = [&](std::int32_t id, std::size_t begin, std::size_t end) {
        sink.ids.push_back(id);
        if (sink.places != nullptr) { sink.places->push_back({sink.base + begin, sink.base + end}); }
    };
    if (const std::int32_t id = words().find(word); id != no_id) {
        const bool known = known_[static_cast<std::size_t>(id)].load(std::memory_order_relaxed) == token;
        if (known || (ignore_merges_ && whole(id))) { return put(id, 0, word.size()); }
    }
    std::size_t at = start(word, scratch);
    const std::size_t count = scratch.symbols.size();
    Symbol* symbols = scratch.symbols.data();
    for (std::size_t i = 0; i < count;) {
        std::size_t end = count, bytes = 0;
        if (cuttable_ && count > short_part / 2) {
            end = i + 1;
            while (end < count && joinable_.find(pair_key(symbols[end - 1].id, symbols[end].id)) != nullptr) { ++end; }
        }
        for (std::size_t k = i; k < end; ++k) { bytes += symbols[k].length; }
        const std::size_t kept = part(word.substr(at, bytes), symbols + i, end - i, scratch);
        for (std::size_t k = i; k < i + kept; ++k) {
            put(symbols[k].id, at, at + symbols[k].length);
            at += symbols[k].length;
        }
        i = end;
    }
}

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/bpe.ipp"
#endif
