#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "graft/core/inline.hpp"

// The little of Unicode that templates need, on UTF-8 strings: code points, white space as Python's str.strip sees it,
// letters in both cases, and which characters Python's repr writes as an escape.
//
// Case is mapped one to one for ASCII, Latin-1, Latin Extended-A, Greek and Cyrillic; other letters stay as they are.
namespace graft::detail::jinja {

// Bytes of the character that begins at text[at]; 1 where the text is not UTF-8, so that every scan ends.
std::size_t char_bytes(std::string_view text, std::size_t at);

char32_t char_at(std::string_view text, std::size_t at);

void append_char(std::string& out, char32_t code);

// The first byte that is not part of well-formed UTF-8 (overlong forms and surrogates are not), or npos.
std::size_t find_invalid_utf8(std::string_view text);

std::size_t count_chars(std::string_view text);

bool is_space(char32_t c);

std::string_view trim_left(std::string_view text);

std::size_t last_char(std::string_view text);  // where the last character begins; the text is not empty

std::string_view trim_right(std::string_view text);

char32_t to_upper(char32_t c);

char32_t to_lower(char32_t c);

// A letter as far as case goes: it has another form, or it is that form.
inline bool is_cased(char32_t c) { return to_upper(c) != c || to_lower(c) != c; }

std::string mapped(std::string_view text, char32_t (*map)(char32_t));

// What Python's repr shows as it is: everything but controls, format characters, odd spaces and private use.
bool is_printable(char32_t c);

}  // namespace graft::detail::jinja

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja/unicode.ipp"
#endif
