#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "graft/core/inline.hpp"

// GPT-2's mapping of the 256 bytes to printable characters: 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF stand for themselves;
// the other 68 bytes, in increasing order, are U+0100, U+0101, ...
namespace graft::detail::tokens {

inline constexpr std::array<char32_t, 256> byte_chars = [] {
    std::array<char32_t, 256> chars{};
    char32_t next = 0x100;
    for (unsigned b = 0; b < 256; ++b) {
        const bool itself = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        chars[b] = itself ? char32_t(b) : next++;
    }
    return chars;
}();

inline constexpr std::array<short, 0x144> char_bytes = [] {
    std::array<short, 0x144> bytes{};
    for (auto& b : bytes) { b = -1; }
    for (unsigned b = 0; b < 256; ++b) { bytes[byte_chars[b]] = static_cast<short>(b); }
    return bytes;
}();

// Appends the bytes that the characters of `token` stand for; false, and nothing appended, where one stands for none.
bool append_bytes_of(std::string& out, std::string_view token);

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/byte_level.ipp"
#endif
