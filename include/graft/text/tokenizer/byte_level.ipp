#pragma once
#include "graft/text/tokenizer/byte_level.hpp"

#include <cstddef>
#include <string>
#include <string_view>

#include "graft/text/tokenizer/unicode.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE bool append_bytes_of(std::string& out, std::string_view token)
{
    const std::size_t before = out.size();
    for (std::size_t at = 0; at < token.size(); at += char_length(token, at)) {
        const char32_t c = code_point(token, at);
        if (c >= char_bytes.size() || char_bytes[c] < 0) {
            out.resize(before);
            return false;
        }
        out += static_cast<char>(char_bytes[c]);
    }
    return true;
}

}  // namespace graft::detail::tokens
