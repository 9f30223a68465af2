#pragma once
#include "graft/text/tokenizer/aligned_text.hpp"

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "graft/core/error.hpp"
#include "graft/text/span.hpp"
#include "graft/text/tokenizer/unicode.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE AlignedText::AlignedText(std::string_view input, std::size_t offset, bool track)
    : text(input), tracked(track)
{
    if (offset == 0 && !text.empty()) { from_start = char_length(text, 0); }
    if (!tracked) { return; }
    origin.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) { origin.push_back({offset + i, offset + i + 1}); }
}

GRAFT_INLINE void AlignedText::reserve(std::size_t bytes)
{
    text.reserve(bytes);
    if (tracked) { origin.reserve(bytes); }
}

GRAFT_INLINE void AlignedText::copy(const AlignedText& from, std::size_t begin, std::size_t end)
{
    if (text.size() == from_nowhere && begin < from.from_nowhere) {
        from_nowhere += std::min(end, from.from_nowhere) - begin;
    }
    if (text.size() == from_start && begin < from.from_start) { from_start += std::min(end, from.from_start) - begin; }
    text.append(from.text, begin, end - begin);
    if (tracked) {
        origin.insert(origin.end(), from.origin.begin() + static_cast<std::ptrdiff_t>(begin),
                      from.origin.begin() + static_cast<std::ptrdiff_t>(end));
    }
}

GRAFT_INLINE void AlignedText::put(std::string_view bytes, const AlignedText& from, std::size_t begin, std::size_t end,
                                   bool replaced)
{
    const bool first = replaced ? end <= from.from_start : begin < from.from_start;
    if (text.size() == from_start && from.from_start > 0 && first) { from_start += bytes.size(); }
    if (text.size() == from_nowhere && from.from_nowhere > 0 && end <= from.from_nowhere) {
        from_nowhere += bytes.size();
    }
    text += bytes;
    if (tracked) { origin.insert(origin.end(), bytes.size(), from.span(begin, end)); }
}

GRAFT_INLINE void AlignedText::map_all() const
{
    require(from_nowhere == 0, [&] {
        return "the tokeniser's normalizer puts \"" + text.substr(0, from_nowhere)
               + "\" in front of a text (a Replace "
                 "whose expression matches nothing there), and a step after it maps all characters: the tokenizers "
                 "library fails on such a text or has them twice; use Prepend, or an expression that matches "
                 "elsewhere";
    });
}

GRAFT_INLINE TextSpan AlignedText::span(std::size_t begin, std::size_t end) const
{
    if (begin < end) { return {origin[begin].begin, origin[end - 1].end}; }
    const bool inside = begin > 0 && begin < origin.size() && origin[begin - 1].end > origin[begin].begin;
    if (inside) { return {origin[begin].begin, origin[begin - 1].end}; }
    const std::size_t at = begin < origin.size() ? origin[begin].begin : origin.empty() ? 0 : origin.back().end;
    return {at, at};
}

}  // namespace graft::detail::tokens
