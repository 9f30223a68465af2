#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "graft/core/inline.hpp"

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
std::size_t utf8_sequence(std::string_view text);

}  // namespace detail

bool valid_utf8(std::string_view text);

std::string printable(std::string_view text, std::size_t limit = 160);

std::string name_list(std::span<const std::string> names, std::size_t most = 8);

std::string shortest_text(double value);

std::string with_commas(std::int64_t value);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/io/text.ipp"
#endif
