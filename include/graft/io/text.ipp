#pragma once
#include "graft/io/text.hpp"

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace graft::detail {

GRAFT_INLINE std::size_t utf8_sequence(std::string_view text)
{
    if (text.empty()) { return 0; }
    const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned lead = at(0);
    if (lead < 0x80) { return 1; }
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || text.size() < length) { return 0; }
    for (std::size_t i = 1; i < length; ++i) {
        if ((at(i) & 0xC0u) != 0x80u) { return 0; }
    }
    const unsigned second = at(1);
    if (lead == 0xE0 && second < 0xA0) { return 0; }  // overlong
    if (lead == 0xED && second > 0x9F) { return 0; }  // surrogates
    if (lead == 0xF0 && second < 0x90) { return 0; }  // overlong
    if (lead == 0xF4 && second > 0x8F) { return 0; }  // beyond U+10FFFF
    return length;
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE bool valid_utf8(std::string_view text)
{
    while (!text.empty()) {
        const std::size_t length = detail::utf8_sequence(text);
        if (length == 0) { return false; }
        text.remove_prefix(length);
    }
    return true;
}

GRAFT_INLINE std::string printable(std::string_view text, std::size_t limit)
{
    constexpr const char* hex = "0123456789abcdef";
    std::string out;
    while (!text.empty()) {
        if (out.size() >= limit) { return out + "…"; }
        const std::size_t length = detail::utf8_sequence(text);
        const auto byte = static_cast<unsigned char>(text[0]);
        if (length == 0 || byte < 0x20 || byte == 0x7F) {
            out += "\\x";
            out += hex[byte >> 4];
            out += hex[byte & 15];
            text.remove_prefix(1);
        } else {
            out += text.substr(0, length);
            text.remove_prefix(length);
        }
    }
    return out;
}

GRAFT_INLINE std::string name_list(std::span<const std::string> names, std::size_t most)
{
    std::string out;
    const std::size_t shown = names.size() <= most ? names.size() : most;
    for (std::size_t i = 0; i < shown; ++i) {
        if (i != 0) { out += (i + 1 == names.size()) ? " and " : ", "; }
        out += printable(names[i]);
    }
    if (names.size() > shown) { out += " and " + std::to_string(names.size() - shown) + " more"; }
    return out;
}

GRAFT_INLINE std::string shortest_text(double value)
{
    std::array<char, 32> text;
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    return {text.data(), end};
}

GRAFT_INLINE std::string with_commas(std::int64_t value)
{
    const std::string digits = std::to_string(value);
    const std::size_t first = digits[0] == '-' ? 1 : 0;
    std::string out;
    for (std::size_t i = 0; i < digits.size(); ++i) {
        if (i > first && (digits.size() - i) % 3 == 0) { out += ','; }
        out += digits[i];
    }
    return out;
}

}  // namespace graft
