#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "graft/core/inline.hpp"

// UTF-8 and the few classes of characters that the tokeniser needs outside its regular expressions.
// Functions that take a `text` without saying more expect valid UTF-8 (`invalid_utf8` has found nothing).
namespace graft::detail::tokens {

// Length of the well-formed UTF-8 sequence at the start of `text` (1 to 4), or 0 where there is none. No overlong
// forms, no surrogates, nothing above U+10FFFF. `prefix` is then the length of the part that could have become one
// (at least 1): what decoders replace by one U+FFFD. `open` says that only the end of `text` is what is wrong.
struct Utf8Sequence {
    std::size_t length = 0, prefix = 0;
    bool open = false;
};

Utf8Sequence utf8_sequence(std::string_view text);

// The place of the first byte that is not part of well-formed UTF-8.
std::optional<std::size_t> invalid_utf8(std::string_view text);

inline bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

std::size_t char_length(std::string_view text, std::size_t at);

char32_t code_point(std::string_view text, std::size_t at);

void append_code_point(std::string& out, char32_t c);

inline constexpr std::string_view replacement_character = "\xEF\xBF\xBD";  // U+FFFD

// Appends bytes of any kind as UTF-8: each longest part that could have become a character gives one U+FFFD (the
// practice of the Unicode standard, chapter 3.9). Unless `last`, an open sequence at the end is left; returns how many
// bytes were used.
std::size_t append_lossy(std::string& out, std::string_view bytes, bool last);

// Unicode's White_Space.
bool is_space(char32_t c);

// Where white space that ends at `at` begins, at `stop` at the earliest; where white space that begins at `at` ends.
std::size_t skip_spaces_back(std::string_view text, std::size_t at, std::size_t stop);

std::size_t skip_spaces(std::string_view text, std::size_t at);

bool is_mark(char32_t c);

// A letter, mark, number or connector: what \w means in the reference's `single_word` test (Alphabetic, M, Nd, Pc and
// Join_Control; the ranges are the letters in circles and squares, which are Alphabetic and of category So).
bool is_word(char32_t c);

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/unicode.ipp"
#endif
