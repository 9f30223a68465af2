#pragma once
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

// How untrusted names and counts appear in one-line messages.
//
//   printable("a\nb")       a\x0ab           control bytes and broken UTF-8 escaped, long texts cut with "…"
//   name_list({...})        a, b and c       at most eight names, then "and N more"
//   with_commas(1234567)    1,234,567
//   shortest_text(0.1)      0.1              the shortest decimals that read back to the same bits
//   valid_utf8(text)        whether every byte belongs to a well-formed UTF-8 sequence (no surrogates, no overlong
//                           forms)
//
// Throws: nothing.
namespace graft {

namespace detail {

// The length of the well-formed UTF-8 sequence at the start of text, 0 where there is none.
inline std::size_t utf8_sequence(std::string_view text)
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

}  // namespace detail

inline bool valid_utf8(std::string_view text)
{
    while (!text.empty()) {
        const std::size_t length = detail::utf8_sequence(text);
        if (length == 0) { return false; }
        text.remove_prefix(length);
    }
    return true;
}

inline std::string printable(std::string_view text, std::size_t limit = 160)
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

inline std::string name_list(std::span<const std::string> names, std::size_t most = 8)
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

inline std::string shortest_text(double value)
{
    std::array<char, 32> text;
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    return {text.data(), end};
}

inline std::string with_commas(std::int64_t value)
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
