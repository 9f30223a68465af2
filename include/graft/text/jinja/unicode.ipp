#pragma once
#include "graft/text/jinja/unicode.hpp"

#include <cstddef>
#include <string>
#include <string_view>

namespace graft::detail::jinja {

GRAFT_INLINE std::size_t char_bytes(std::string_view text, std::size_t at)
{
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::size_t want = lead < 0x80   ? 1
                             : lead < 0xC0 ? 1
                             : lead < 0xE0 ? 2
                             : lead < 0xF0 ? 3
                             : lead < 0xF8 ? 4
                                           : 1;
    if (at + want > text.size()) { return 1; }
    for (std::size_t i = 1; i < want; ++i) {
        if ((static_cast<unsigned char>(text[at + i]) & 0xC0) != 0x80) { return 1; }
    }
    return want;
}

GRAFT_INLINE char32_t char_at(std::string_view text, std::size_t at)
{
    const std::size_t bytes = char_bytes(text, at);
    const auto lead = static_cast<unsigned char>(text[at]);
    if (bytes == 1) { return lead; }
    char32_t code = lead & (0xFFU >> (bytes + 1));
    for (std::size_t i = 1; i < bytes; ++i) { code = (code << 6) | (static_cast<unsigned char>(text[at + i]) & 0x3FU); }
    return code;
}

GRAFT_INLINE void append_char(std::string& out, char32_t code)
{
    const auto put = [&](char32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0 | (code >> 6)), put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        put(0xE0 | (code >> 12)), put(0x80 | ((code >> 6) & 0x3F)), put(0x80 | (code & 0x3F));
    } else {
        put(0xF0 | (code >> 18)), put(0x80 | ((code >> 12) & 0x3F)), put(0x80 | ((code >> 6) & 0x3F));
        put(0x80 | (code & 0x3F));
    }
}

GRAFT_INLINE std::size_t find_invalid_utf8(std::string_view text)
{
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t bytes = char_bytes(text, at);
        const char32_t code = char_at(text, at);
        constexpr char32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        const bool surrogate = code >= 0xD800 && code < 0xE000;
        if (bytes == 1 ? code >= 0x80 : code < least[bytes] || code > 0x10FFFF || surrogate) { return at; }
        at += bytes;
    }
    return std::string_view::npos;
}

GRAFT_INLINE std::size_t count_chars(std::string_view text)
{
    std::size_t count = 0;
    for (std::size_t at = 0; at < text.size(); at += char_bytes(text, at)) { ++count; }
    return count;
}

GRAFT_INLINE bool is_space(char32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680
           || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

GRAFT_INLINE std::string_view trim_left(std::string_view text)
{
    while (!text.empty() && is_space(char_at(text, 0))) { text.remove_prefix(char_bytes(text, 0)); }
    return text;
}

GRAFT_INLINE std::size_t last_char(std::string_view text)
{
    std::size_t at = text.size() - 1;
    for (int back = 0; back < 3 && at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80; ++back) { --at; }
    return at + char_bytes(text, at) == text.size() ? at : text.size() - 1;
}

GRAFT_INLINE std::string_view trim_right(std::string_view text)
{
    while (!text.empty()) {
        const std::size_t at = last_char(text);
        if (!is_space(char_at(text, at))) { break; }
        text = text.substr(0, at);
    }
    return text;
}

GRAFT_INLINE char32_t to_upper(char32_t c)
{
    if (c < 0x80) { return c >= 'a' && c <= 'z' ? c - 32 : c; }
    if (c == 0xB5) { return 0x39C; }
    if (c == 0xFF) { return 0x178; }
    if (c >= 0xE0 && c <= 0xFE) { return c == 0xF7 ? c : c - 32; }
    if (c >= 0x100 && c <= 0x137) { return c == 0x131 ? U'I' : c & ~char32_t{1}; }
    if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E)) { return c % 2 == 0 ? c - 1 : c; }
    if (c >= 0x14A && c <= 0x177) { return c & ~char32_t{1}; }
    if (c == 0x3AC) { return 0x386; }
    if (c >= 0x3AD && c <= 0x3AF) { return c - 37; }
    if (c == 0x3C2) { return 0x3A3; }
    if (c >= 0x3B1 && c <= 0x3CB) { return c - 32; }
    if (c >= 0x430 && c <= 0x44F) { return c - 32; }
    if (c >= 0x450 && c <= 0x45F) { return c - 80; }
    if (c >= 0x460 && c <= 0x481) { return c & ~char32_t{1}; }
    return c;
}

GRAFT_INLINE char32_t to_lower(char32_t c)
{
    if (c < 0x80) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }
    if (c >= 0xC0 && c <= 0xDE) { return c == 0xD7 ? c : c + 32; }
    if (c == 0x178) { return 0xFF; }
    if (c >= 0x100 && c <= 0x137) { return c == 0x130 ? c : c | 1; }
    if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E)) { return c % 2 == 1 ? c + 1 : c; }
    if (c >= 0x14A && c <= 0x177) { return c | 1; }
    if (c == 0x386) { return 0x3AC; }
    if (c >= 0x388 && c <= 0x38A) { return c + 37; }
    if (c >= 0x391 && c <= 0x3AB && c != 0x3A2) { return c + 32; }
    if (c >= 0x410 && c <= 0x42F) { return c + 32; }
    if (c >= 0x400 && c <= 0x40F) { return c + 80; }
    if (c >= 0x460 && c <= 0x481) { return c | 1; }
    return c;
}

GRAFT_INLINE std::string mapped(std::string_view text, char32_t (*map)(char32_t))
{
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size(); at += char_bytes(text, at)) {
        const char32_t code = char_at(text, at);
        if (map == to_upper && code == 0xDF) {
            out += "SS";
        } else {
            append_char(out, map(code));
        }
    }
    return out;
}

GRAFT_INLINE bool is_printable(char32_t c)
{
    if (c < 0x7F) { return c >= 0x20; }
    if (c <= 0xA0 || c == 0xAD) { return false; }
    if (is_space(c) || (c >= 0x200B && c <= 0x200F) || (c >= 0x202A && c <= 0x202E)) { return false; }
    if ((c >= 0x2060 && c <= 0x206F) || (c >= 0xD800 && c <= 0xF8FF) || c == 0xFEFF) { return false; }
    return !(c >= 0xFFF0 && c <= 0xFFFB) && c != 0xFFFE && c != 0xFFFF && c < 0xE0000;
}

}  // namespace graft::detail::jinja
