#pragma once
#include "graft/text/tokenizer/unicode.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utf8proc.h>

namespace graft::detail::tokens {

GRAFT_INLINE Utf8Sequence utf8_sequence(std::string_view text)
{
    if (text.empty()) { return {}; }
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byte(0);
    if (lead < 0x80) { return {1, 1, false}; }
    const std::size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                               : lead >= 0xE0 && lead <= 0xEF ? 3
                               : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                              : 0;
    if (length == 0) { return {0, 1, false}; }
    for (std::size_t i = 1; i < length; ++i) {
        if (i == text.size()) { return {0, i, true}; }
        unsigned char low = 0x80, high = 0xBF;
        if (i == 1) {  // where overlong forms, surrogates and values above U+10FFFF show
            if (lead == 0xE0) { low = 0xA0; }
            if (lead == 0xED) { high = 0x9F; }
            if (lead == 0xF0) { low = 0x90; }
            if (lead == 0xF4) { high = 0x8F; }
        }
        if (byte(i) < low || byte(i) > high) { return {0, i, false}; }
    }
    return {length, length, false};
}

GRAFT_INLINE std::optional<std::size_t> invalid_utf8(std::string_view text)
{
    std::size_t at = 0;
    while (at < text.size()) {
        if (static_cast<unsigned char>(text[at]) < 0x80) {
            ++at;
            continue;
        }
        const Utf8Sequence sequence = utf8_sequence(text.substr(at));
        if (sequence.length == 0) { return at; }
        at += sequence.length;
    }
    return std::nullopt;
}

GRAFT_INLINE std::size_t char_length(std::string_view text, std::size_t at)
{
    const auto lead = static_cast<unsigned char>(text[at]);
    return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

GRAFT_INLINE char32_t code_point(std::string_view text, std::size_t at)
{
    const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[at + i])); };
    switch (char_length(text, at)) {
    case 1: return byte(0);
    case 2: return (byte(0) & 0x1F) << 6 | (byte(1) & 0x3F);
    case 3: return (byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    default: return (byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
    }
}

GRAFT_INLINE void append_code_point(std::string& out, char32_t c)
{
    if (c < 0x80) {
        out += static_cast<char>(c);
    } else if (c < 0x800) {
        out += static_cast<char>(0xC0 | c >> 6);
        out += static_cast<char>(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        out += static_cast<char>(0xE0 | c >> 12);
        out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
        out += static_cast<char>(0x80 | (c & 0x3F));
    } else {
        out += static_cast<char>(0xF0 | c >> 18);
        out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
        out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
        out += static_cast<char>(0x80 | (c & 0x3F));
    }
}

GRAFT_INLINE std::size_t append_lossy(std::string& out, std::string_view bytes, bool last)
{
    std::size_t at = 0;
    while (at < bytes.size()) {
        const Utf8Sequence sequence = utf8_sequence(bytes.substr(at));
        if (sequence.length > 0) {
            out += bytes.substr(at, sequence.length);
        } else {
            if (sequence.open && !last) { break; }
            out += replacement_character;
        }
        at += sequence.prefix;
    }
    return at;
}

GRAFT_INLINE bool is_space(char32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680
           || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

GRAFT_INLINE std::size_t skip_spaces_back(std::string_view text, std::size_t at, std::size_t stop)
{
    while (at > stop) {
        std::size_t before = at - 1;
        while (before > stop && is_continuation(text[before])) { --before; }
        if (!is_space(code_point(text, before))) { break; }
        at = before;
    }
    return at;
}

GRAFT_INLINE std::size_t skip_spaces(std::string_view text, std::size_t at)
{
    while (at < text.size() && is_space(code_point(text, at))) { at += char_length(text, at); }
    return at;
}

GRAFT_INLINE bool is_mark(char32_t c)
{
    const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC || category == UTF8PROC_CATEGORY_ME;
}

GRAFT_INLINE bool is_word(char32_t c)
{
    switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default:
        return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149)
               || (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
    }
}

}  // namespace graft::detail::tokens
