#pragma once
#include "graft/io/json_file.hpp"

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "graft/core/error.hpp"
#include "graft/io/text.hpp"

namespace graft::detail {

struct TextPosition {
    std::size_t line = 1, column = 1;
};

inline TextPosition text_position(std::string_view text, std::size_t byte)
{
    TextPosition position;
    for (std::size_t i = 0; i < byte && i < text.size(); ++i) {
        position.column += 1;
        if (text[i] == '\n') { position = {position.line + 1, 1}; }
    }
    return position;
}

GRAFT_INLINE void not_json(std::string_view text, std::size_t byte, const std::string& where, const std::string& reason)
{
    const TextPosition at = text_position(text, byte);
    throw Error(where + ": not JSON at line " + std::to_string(at.line) + ", column " + std::to_string(at.column) + ": "
                + printable(reason, 300));
}

GRAFT_INLINE void limit_json(std::string_view text, const std::string& where, std::size_t most_names)
{
    constexpr std::size_t most_levels = 128;
    std::size_t levels = 0, names = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '\0') { not_json(text, i, where, "a NUL byte"); }
        if (quoted) {
            if (c == '\\') { i += 1; }
            if (c == '"') { quoted = false; }
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            levels += 1;
            if (levels > most_levels) { not_json(text, i, where, "nested more than 128 levels deep"); }
        } else if ((c == '}' || c == ']') && levels > 0) {
            levels -= 1;
        } else if (c == ':') {
            names += 1;
            if (names > most_names) { not_json(text, i, where, "too many names for a file of this kind"); }
        }
    }
}

}  // namespace graft::detail
