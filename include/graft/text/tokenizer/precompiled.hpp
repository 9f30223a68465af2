#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/tokenizer/aligned_text.hpp"

// The normaliser Precompiled: SentencePiece's table of characters and what they become, as its model files carry it.
//
//   precompiled_charsmap   base64 of: u32 n, little-endian; n bytes of a double-array trie of 32-bit units; texts,
//                          UTF-8, each ended by a zero byte, at the places that the trie's values name
//   unit                   offset = (u >> 10) << (8 where bit 9 is set); bit 8: the unit at the node is a value, of 31
//                          bits; label = bit 31 and bits 0 to 7. From node p and unit u a byte b leads to p ^ offset ^
//                          b where the label there is b.
//
// What is looked up is a grapheme of up to 5 bytes, else each character. What is found is the shortest beginning of it
// that has an entry, and it stands for the whole grapheme: the reference does so, marks that follow are lost with it.
//
// Errors: Error where the text is not base64 or the table ends early; at a text that leads out of the table.
// Source: google/sentencepiece, normalizer.cc, with Darts-clone's units; huggingface/spm_precompiled.
namespace graft::detail::tokens {

std::optional<std::string> from_base64(std::string_view text);

class Precompiled {
public:
    Precompiled(std::string_view base64, const std::string& where);

    void operator()(AlignedText& text) const;

private:
    static std::size_t grapheme_end(std::string_view text, std::size_t at);

    std::uint32_t unit(std::uint32_t at) const;
    static std::uint32_t offset(std::uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }

    // The text that the shortest known beginning of `key` stands for.
    std::optional<std::string_view> becomes(std::string_view key) const;

    std::vector<std::uint32_t> units_;
    std::string texts_, where_;
};

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/precompiled.ipp"
#endif
