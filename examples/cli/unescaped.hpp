#pragma once
#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include "graft/core/error.hpp"
#include "graft/io/text.hpp"

// The text that an option means, with \n, \r, \t, \f, \v, \\, \xHH and \uHHHH (no surrogate) in it.
namespace cli {

inline std::string unescaped(const std::string& text, const std::string& option)
{
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\') {
            out += text[i];
            continue;
        }
        const char c = i + 1 < text.size() ? text[i + 1] : '\0';
        constexpr std::string_view from = "nrtfv\\", to = "\n\r\t\f\v\\";
        if (const auto at = from.find(c); c != '\0' && at != std::string_view::npos) {
            out += to[at], ++i;
            continue;
        }
        const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 0;
        std::uint32_t code = 0;
        const char* const begin = text.data() + std::min(i + 2, text.size());
        const char* const end = text.data() + std::min(i + 2 + digits, text.size());
        const auto read = std::from_chars(begin, end, code, 16);
        const bool whole = digits > 0 && read.ec == std::errc() && std::size_t(read.ptr - begin) == digits && code > 0
                           && (code < 0xD800 || code > 0xDFFF);
        graft::require(whole, [&] {
            return option + ": \\" + (c == '\0' ? "" : graft::printable(std::string(1, c)))
                   + " means nothing here: \\n "
                     "is a line end, \\t a tab, \\\\ a backslash, \\xHH and \\uHHHH a character";
        });
        if (code < 0x80) {
            out += char(code);
        } else if (code < 0x800) {
            out += {char(0xC0 | (code >> 6)), char(0x80 | (code & 63))};
        } else {
            out += {char(0xE0 | (code >> 12)), char(0x80 | ((code >> 6) & 63)), char(0x80 | (code & 63))};
        }
        i += 1 + digits;
    }
    return out;
}

}  // namespace cli
