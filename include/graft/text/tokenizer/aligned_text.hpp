#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/span.hpp"

// Text on its way through normalisers and pre-tokenisers, which may insert, replace and drop characters, together
// with the place in the input that each of its bytes came from.
namespace graft::detail::tokens {

//
// A Replace whose expression matches nothing at the start of a text puts characters in front that came from nowhere.
// The reference (tokenizers 0.23.3, normalizer.rs, transform_range) then fails in a later step that maps all
// characters, or has them twice: `map_all` refuses such a text.
struct AlignedText {
    std::string text;
    std::size_t from_nowhere = 0;  // bytes in front that such a Replace put there
    std::size_t from_start = 0;    // bytes in front that came from the first character of the whole input
    bool tracked = false;
    std::vector<TextSpan> origin;  // one an byte of `text` where tracked, else empty; never decreasing

    AlignedText() = default;
    explicit AlignedText(bool track) : tracked(track) {}
    AlignedText(std::string_view input, std::size_t offset, bool track);

    void reserve(std::size_t bytes);
    // The bytes [begin, end) of another text, unchanged.
    void copy(const AlignedText& from, std::size_t begin, std::size_t end);
    // New bytes that stand for [begin, end) of another text; begin == end inserts in front of `begin`. As in the
    // reference they come from the first of these characters, or from the last where a Replace puts them.
    void put(std::string_view bytes, const AlignedText& from, std::size_t begin, std::size_t end,
             bool replaced = false);
    void map_all() const;
    // Where [begin, end) came from. A place between two bytes that came from the same characters has all of these.
    TextSpan span(std::size_t begin, std::size_t end) const;
};

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/aligned_text.ipp"
#endif
