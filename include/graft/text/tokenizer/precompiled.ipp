#pragma once
#include "graft/text/tokenizer/precompiled.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utf8proc.h>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/text/tokenizer/aligned_text.hpp"
#include "graft/text/tokenizer/unicode.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE std::optional<std::string> from_base64(std::string_view text)
{
    std::string out;
    std::uint32_t bits = 0;
    int count = 0;
    const std::size_t end = text.size() - (text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0);
    if (text.size() % 4 != 0) { return std::nullopt; }
    for (const char c : text.substr(0, end)) {
        const int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                          : c >= 'a' && c <= 'z' ? c - 'a' + 26
                          : c >= '0' && c <= '9' ? c - '0' + 52
                          : c == '+'             ? 62
                          : c == '/'             ? 63
                                                 : -1;
        if (value < 0) { return std::nullopt; }
        bits = bits << 6 | static_cast<std::uint32_t>(value);
        count += 6;
        if (count >= 8) {
            count -= 8;
            out += static_cast<char>(bits >> count & 0xFF);
        }
    }
    return out;
}

GRAFT_INLINE Precompiled::Precompiled(std::string_view base64, const std::string& where)
{
    const auto bytes = from_base64(base64);
    require(bytes.has_value(), where + ": precompiled_charsmap is not base64");
    const auto number = [&](std::size_t at) {
        std::uint32_t n = 0;
        for (std::size_t i = 0; i < 4; ++i) {
            n |= std::uint32_t(static_cast<unsigned char>((*bytes)[at + i])) << (8 * i);
        }
        return n;
    };
    const std::size_t size = bytes->size() < 4 ? 0 : number(0);
    require(size >= 4 && size % 4 == 0 && size <= bytes->size() - 4, [&] {
        return where + ": precompiled_charsmap has " + std::to_string(bytes->size())
               + " bytes, which do not hold a trie of " + std::to_string(size) + " and its length";
    });
    for (std::size_t at = 4; at < 4 + size; at += 4) { units_.push_back(number(at)); }
    texts_ = bytes->substr(4 + size);
    require(!invalid_utf8(texts_), where + ": precompiled_charsmap: its texts are not UTF-8");
    where_ = where;
}

GRAFT_INLINE void Precompiled::operator()(AlignedText& text) const
{
    const std::string& in = text.text;
    AlignedText out(text.tracked);
    out.reserve(in.size());
    std::size_t kept = 0;
    const auto put = [&](std::size_t begin, std::size_t end) {
        const auto now = becomes(std::string_view(in).substr(begin, end - begin));
        if (!now) { return false; }
        out.copy(text, kept, begin);
        out.put(*now, text, begin, end);
        kept = end;
        return true;
    };
    for (std::size_t at = 0; at < in.size();) {
        const std::size_t end = grapheme_end(in, at);
        const std::size_t length = char_length(in, at);
        if (end - at >= 6 || !put(at, end)) {
            for (std::size_t i = at; end - at > length && i < end; i += char_length(in, i)) {
                put(i, i + char_length(in, i));
            }
        }
        at = end;
    }
    if (kept == 0) { return; }
    text.map_all();
    out.copy(text, kept, in.size());
    text = std::move(out);
}

GRAFT_INLINE std::size_t Precompiled::grapheme_end(std::string_view text, std::size_t at)
{
    utf8proc_int32_t state = 0;
    auto last = static_cast<utf8proc_int32_t>(code_point(text, at));
    for (at += char_length(text, at); at < text.size(); at += char_length(text, at)) {
        const auto next = static_cast<utf8proc_int32_t>(code_point(text, at));
        const bool ascii = last < 0x80 && next < 0x80;
        if (ascii ? last != '\r' || next != '\n' : utf8proc_grapheme_break_stateful(last, next, &state)) { break; }
        last = next;
    }
    return at;
}

GRAFT_INLINE std::uint32_t Precompiled::unit(std::uint32_t at) const
{
    require(at < units_.size(), where_ + ": precompiled_charsmap: a text leads out of its trie");
    return units_[at];
}

GRAFT_INLINE std::optional<std::string_view> Precompiled::becomes(std::string_view key) const
{
    std::uint32_t node = offset(unit(0));
    for (const char c : key) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte == 0) { return std::nullopt; }
        node ^= byte;
        const std::uint32_t here = unit(node);
        if ((here & (1u << 31 | 0xFFu)) != byte) { return std::nullopt; }
        node ^= offset(here);
        if ((here >> 8 & 1u) == 0) { continue; }
        const std::size_t begin = unit(node) & ((1u << 31) - 1);
        require(begin <= texts_.size() && (begin == texts_.size() || !is_continuation(texts_[begin])),
                where_ + ": precompiled_charsmap: a text leads out of its texts");
        return std::string_view(texts_).substr(begin, std::min(texts_.find('\0', begin), texts_.size()) - begin);
    }
    return std::nullopt;
}

}  // namespace graft::detail::tokens
