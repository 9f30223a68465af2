#pragma once
#include "graft/text/tokenizer/unigram.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "graft/core/error.hpp"
#include "graft/text/tokenizer/byte_level.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/piece_trie.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE Unigram::Unigram(const TokenizerJson& json, bool byte_level, const std::string& where)
    : byte_level_(byte_level)
{
    const Json& model = field(json.rest, "model");
    require(json.has_pieces, where + ": model.vocab of a Unigram must be a list of pieces with their scores");
    byte_fallback_ = flag_field(model, "byte_fallback", false, where + ": model");
    std::size_t bytes = 0;
    for (const auto& piece : json.pieces) { bytes += piece.first.size(); }
    require(bytes <= most_bytes, [&] {
        return where + ": the pieces of model.vocab have " + std::to_string(bytes) + " bytes together; at most "
               + std::to_string(most_bytes) + " are supported";
    });
    tokens_.reserve(json.pieces.size(), bytes);
    scores_.reserve(json.pieces.size());
    std::string raw;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < json.pieces.size(); ++i) {
        const auto& [text, score] = json.pieces[i];
        const std::string& piece = text;
        require(piece.size() <= longest_piece, [&] {
            return where + ": piece " + std::to_string(i) + " of model.vocab has " + std::to_string(piece.size())
                   + " bytes; at most " + std::to_string(longest_piece) + " are supported";
        });
        require(std::isfinite(score), where + ": piece " + std::to_string(i) + " of model.vocab has no finite score");
        require(tokens_.add(piece, static_cast<std::int32_t>(i)), [&] {
            return where + ": model.vocab has the piece \"" + piece + "\" twice, as "
                   + std::to_string(tokens_.find(piece)) + " and " + std::to_string(i);
        });
        scores_.push_back(score);
        least = std::min(least, score);
        raw.clear();
        if (byte_level_ && append_bytes_of(raw, piece)) { raw_.add(raw, static_cast<std::int32_t>(i)); }
    }
    trie_ = PieceTrie(byte_level_ ? raw_ : tokens_);
    unk_score_ = least - 10;
    if (const Json& unk = field(model, "unk_id"); !unk.is_null()) {
        require(unk.is_number_unsigned() && unk.get<std::uint64_t>() < json.pieces.size(), [&] {
            return where + ": model.unk_id must be a place in model.vocab, which has "
                   + std::to_string(json.pieces.size()) + " pieces, found " + unk.dump();
        });
        unk_ = unk.get<std::int32_t>();
    }
}

}  // namespace graft::detail::tokens
