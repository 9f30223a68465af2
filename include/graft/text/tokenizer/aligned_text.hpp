#pragma once
#include "graft/core/error.hpp"
#include "graft/text/span.hpp"
#include "graft/text/tokenizer/unicode.hpp"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

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
    AlignedText(std::string_view input, std::size_t offset, bool track) : text(input), tracked(track)
    {
        if (offset == 0 && !text.empty()) { from_start = char_length(text, 0); }
        if (!tracked) { return; }
        origin.reserve(text.size());
        for (std::size_t i = 0; i < text.size(); ++i) { origin.push_back({offset + i, offset + i + 1}); }
    }

    void reserve(std::size_t bytes)
    {
        text.reserve(bytes);
        if (tracked) { origin.reserve(bytes); }
    }
    // The bytes [begin, end) of another text, unchanged.
    void copy(const AlignedText& from, std::size_t begin, std::size_t end)
    {
        if (text.size() == from_nowhere && begin < from.from_nowhere) {
            from_nowhere += std::min(end, from.from_nowhere) - begin;
        }
        if (text.size() == from_start && begin < from.from_start) {
            from_start += std::min(end, from.from_start) - begin;
        }
        text.append(from.text, begin, end - begin);
        if (tracked) {
            origin.insert(origin.end(), from.origin.begin() + static_cast<std::ptrdiff_t>(begin),
                          from.origin.begin() + static_cast<std::ptrdiff_t>(end));
        }
    }
    // New bytes that stand for [begin, end) of another text; begin == end inserts in front of `begin`. As in the
    // reference they come from the first of these characters, or from the last where a Replace puts them.
    void put(std::string_view bytes, const AlignedText& from, std::size_t begin, std::size_t end, bool replaced = false)
    {
        const bool first = replaced ? end <= from.from_start : begin < from.from_start;
        if (text.size() == from_start && from.from_start > 0 && first) { from_start += bytes.size(); }
        if (text.size() == from_nowhere && from.from_nowhere > 0 && end <= from.from_nowhere) {
            from_nowhere += bytes.size();
        }
        text += bytes;
        if (tracked) { origin.insert(origin.end(), bytes.size(), from.span(begin, end)); }
    }
    void map_all() const
    {
        require(from_nowhere == 0, [&] {
            return "the tokeniser's normalizer puts \"" + text.substr(0, from_nowhere)
                   + "\" in front of a text (a Replace "
                     "whose expression matches nothing there), and a step after it maps all characters: the tokenizers "
                     "library fails on such a text or has them twice; use Prepend, or an expression that matches "
                     "elsewhere";
        });
    }
    // Where [begin, end) came from. A place between two bytes that came from the same characters has all of these.
    TextSpan span(std::size_t begin, std::size_t end) const
    {
        if (begin < end) { return {origin[begin].begin, origin[end - 1].end}; }
        const bool inside = begin > 0 && begin < origin.size() && origin[begin - 1].end > origin[begin].begin;
        if (inside) { return {origin[begin].begin, origin[begin - 1].end}; }
        const std::size_t at = begin < origin.size() ? origin[begin].begin : origin.empty() ? 0 : origin.back().end;
        return {at, at};
    }
};

}  // namespace graft::detail::tokens
