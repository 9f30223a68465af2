#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "graft/core/inline.hpp"
#include "graft/text/jinja/arguments.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/operators.hpp"
#include "graft/text/jinja/print.hpp"
#include "graft/text/jinja/unicode.hpp"
#include "graft/text/jinja/value.hpp"

// Python's string methods, and the filters that are them.
namespace graft::detail::jinja {

// strip(chars): `sides` 1 is the left, 2 the right, 3 both. Without chars: white space.
std::string_view stripped(Machine& m, std::string_view text, const Value* chars, int sides);

List split_at(Machine& m, const std::string& text, const std::string& separator, std::int64_t most);

List rsplit_at(Machine& m, const std::string& text, const std::string& separator, std::int64_t most);

List split_words(Machine& m, const std::string& text, std::int64_t most);

List split_lines(Machine& m, const std::string& text, bool keep = false);

std::string replaced(Machine& m, const std::string& text, const std::string& from, const std::string& to,
                     std::int64_t most);

std::string capitalized(const std::string& text);

// Upper case where `starts(previous character)`, else lower.
template <class Starts> std::string titled(const std::string& text, Starts starts)
{
    std::string out;
    char32_t before = U' ';
    for (std::size_t at = 0; at < text.size(); at += char_bytes(text, at)) {
        const char32_t c = char_at(text, at);
        append_char(out, starts(before) ? to_upper(c) : to_lower(c));
        before = c;
    }
    return out;
}

std::string joined(Machine& m, const List& items, const std::string& glue);

// "{} {0} {name}".format(…), without format specifications.
std::string formatted(Machine& m, const std::string& form, const Args& args);

template <class Match> bool all_chars(const std::string& text, Match match)
{
    for (std::size_t at = 0; at < text.size(); at += char_bytes(text, at)) {
        if (!match(char_at(text, at))) { return false; }
    }
    return !text.empty();
}

bool same_case(const std::string& text, char32_t (*map)(char32_t));

}  // namespace graft::detail::jinja

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja/strings.ipp"
#endif
