#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/tokenizer/bpe.hpp"
#include "graft/text/tokenizer/byte_level.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/piece_trie.hpp"
#include "graft/text/tokenizer/unicode.hpp"
#include "graft/text/tokenizer/vocabulary.hpp"

// The Unigram model of one word: of all ways to cut it into pieces of the vocabulary, the one with the largest sum of
// scores (Viterbi; of equal sums, at each place, the one whose last piece is the longest).
//
//   model.vocab   [[piece, score], ...]; an id is a place in the list
//   unk_id        the piece for what no piece covers; null: such a text is an error
//
// A character that is no piece may be unk, with the smallest score of all less 10. Neighbouring unks are one; that text
// becomes, in this order: the piece that it spells, its bytes' pieces <0xHH> where `byte_fallback` and all are there,
// unk. The file's fuse_unk says nothing, as in the reference.
//
// Time: bytes of the word times the longest piece, of which more than 4096 bytes are refused; memory 16 bytes for each
// byte of the word. With byte-level pre-tokenisation words are read as bytes, as in bpe.hpp.
// Errors: Error for a vocabulary that is not of this form, has a piece twice, or a score that is not finite.
// Source: huggingface/tokenizers, models/unigram; Kudo 2018, arXiv:1804.10959.
namespace graft::detail::tokens {

class Unigram {
public:
    using Sink = Bpe::Sink;
    struct Scratch {
        struct Best {
            double score;
            std::uint32_t start;
            std::int32_t id;
        };  // of the ways to end at a place
        struct Piece {
            std::uint32_t begin, end;
            std::int32_t id;
        };
        std::vector<Best> best;
        std::vector<Piece> pieces;
    };

    Unigram(const TokenizerJson& json, bool byte_level, const std::string& where);

    const StringTable& tokens() const { return tokens_; }
    std::int32_t unk() const { return unk_; }

    // `allowed(id)` says whether the text may become this piece: what looks like a control token may be ordinary text.
    template <class Allowed>
    void operator()(std::string_view word, Scratch& scratch, Sink& sink, Allowed&& allowed) const;

private:
    static constexpr std::uint32_t nowhere = std::numeric_limits<std::uint32_t>::max();
    static constexpr std::size_t longest_piece = 4096, most_bytes = std::size_t(64) << 20;

    template <class Allowed> void search(std::string_view word, Scratch& scratch, Allowed&& allowed) const;
    template <class Allowed>
    void put_unknown(std::string_view word, std::size_t begin, std::size_t end, Sink& sink, Allowed&& allowed) const;

    StringTable tokens_, raw_;
    PieceTrie trie_;
    std::vector<double> scores_;
    double unk_score_ = 0;
    std::int32_t unk_ = no_id;
    bool byte_level_ = false, byte_fallback_ = false;
};

template <class Allowed> void Unigram::search(std::string_view word, Scratch& scratch, Allowed&& allowed) const
{
    auto& best = scratch.best;
    best.assign(word.size() + 1, {0, nowhere, no_id});
    for (std::size_t at = 0; at < word.size();) {
        const std::size_t length = byte_level_ ? 1 : char_length(word, at);
        const double until = best[at].score;
        const auto offer = [&](std::size_t end, double score, std::int32_t id) {
            auto& there = best[end];
            if (there.start == nowhere || score > there.score) { there = {score, static_cast<std::uint32_t>(at), id}; }
        };
        bool covered = false;
        trie_.each_prefix(word, at, [&](std::size_t end, std::int32_t id) {
            if (!allowed(id)) { return; }
            offer(end, scores_[static_cast<std::size_t>(id)] + until, id);
            covered = covered || end == at + length;
        });
        if (!covered) {
            require(unk_ != no_id
                        || (best[at + length].start != nowhere && !(unk_score_ + until > best[at + length].score)),
                    [&] {
                        return "the tokeniser has no piece for a character of the text (at byte " + std::to_string(at)
                               + " of the word \"" + std::string(word.substr(0, 100)) + "\") and no unk_id";
                    });
            offer(at + length, unk_score_ + until, unk_);
        }
        at += length;
    }
}

template <class Allowed>
void Unigram::put_unknown(std::string_view word, std::size_t begin, std::size_t end, Sink& sink,
                          Allowed&& allowed) const
{
    const auto put = [&](std::int32_t id, std::size_t from, std::size_t to) {
        sink.ids.push_back(id);
        if (sink.places != nullptr) { sink.places->push_back({sink.base + from, sink.base + to}); }
    };
    const std::string_view text = word.substr(begin, end - begin);
    const std::int32_t whole = (byte_level_ ? raw_ : tokens_).find(text);
    if (whole != no_id && allowed(whole)) { return put(whole, begin, end); }
    std::vector<std::pair<std::int32_t, std::size_t>> bytes;  // and the byte of the word that each is of
    for (std::size_t i = 0; byte_fallback_ && i < text.size(); ++i) {
        std::string character(1, text[i]);
        if (byte_level_) {
            character.clear();
            append_code_point(character, byte_chars[static_cast<unsigned char>(text[i])]);
        }
        for (const char c : character) { bytes.emplace_back(tokens_.find(byte_name(c)), begin + i); }
    }
    const auto missing = [](const auto& byte) { return byte.first == no_id; };
    if (!bytes.empty() && std::none_of(bytes.begin(), bytes.end(), missing)) {
        for (const auto& byte : bytes) { put(byte.first, byte.second, byte.second + 1); }
        return;
    }
    put(unk_, begin, end);
}

template <class Allowed>
void Unigram::operator()(std::string_view word, Scratch& scratch, Sink& sink, Allowed&& allowed) const
{
    require(word.size() < nowhere, "a text of 4 GiB or more cannot be tokenised at once: cut it into rows");
    search(word, scratch, allowed);
    auto& pieces = scratch.pieces;
    pieces.clear();
    for (auto end = static_cast<std::uint32_t>(word.size()); end > 0;) {
        const auto& last = scratch.best[end];
        const bool unknown = last.id == unk_;
        if (unknown && !pieces.empty() && pieces.back().id == unk_) {
            pieces.back().begin = last.start;
        } else {
            pieces.push_back({last.start, end, last.id});
        }
        end = last.start;
    }
    for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
        if (piece->id == unk_) {
            put_unknown(word, piece->begin, piece->end, sink, allowed);
            continue;
        }
        sink.ids.push_back(piece->id);
        if (sink.places != nullptr) { sink.places->push_back({sink.base + piece->begin, sink.base + piece->end}); }
    }
}

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/unigram.ipp"
#endif
