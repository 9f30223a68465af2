#pragma once
#include "graft/text/span.hpp"

#include "graft/text/tokenizer/unicode.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

// Text on its way through normalisers and pre-tokenisers, which may insert, replace and drop characters, together
// with the place in the input that each of its bytes came from.
namespace graft::detail::tokens {

struct AlignedText {
    std::string text;
    bool tracked = false;
    std::vector<TextSpan> origin;       // one an byte of `text` where tracked, else empty; never decreasing

    AlignedText() = default;
    explicit AlignedText(bool track) : tracked(track) {}
    AlignedText(std::string_view input, std::size_t offset, bool track) : text(input), tracked(track)
    {
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
        text.append(from.text, begin, end - begin);
        if (tracked) {
            origin.insert(origin.end(), from.origin.begin() + static_cast<std::ptrdiff_t>(begin),
                          from.origin.begin() + static_cast<std::ptrdiff_t>(end));
        }
    }
    // New bytes that stand for [begin, end) of another text; begin == end inserts in front of `begin`.
    void put(std::string_view bytes, const AlignedText& from, std::size_t begin, std::size_t end)
    {
        text += bytes;
        if (tracked) { origin.insert(origin.end(), bytes.size(), from.span(begin, end)); }
    }
    // Where [begin, end) came from.
    TextSpan span(std::size_t begin, std::size_t end) const
    {
        if (begin < end) { return {origin[begin].begin, origin[end - 1].end}; }
        const std::size_t at = begin < origin.size() ? origin[begin].begin : origin.empty() ? 0 : origin.back().end;
        return {at, at};
    }
};

}  // namespace graft::detail::tokens
