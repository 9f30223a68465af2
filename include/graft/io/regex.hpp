#pragma once
#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"

#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH 8
#endif
#include <pcre2.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

// Regular expressions that come from files, as Python's re reads them, with bounded time and memory.
//
//   Regex regex("(.*\\.)?q_proj", where);        where is named in errors
//   regex.full_match(text)                       the whole text matches (re.fullmatch)
//   regex.capture(text, 1)                       group 1 of a match at the start of the text (re.match)
//
// PCRE2 agrees with Python's re on the constructs that module names need; a pattern that begins with PCRE2's own "(*"
// is refused, as Python does. Copies share the compiled pattern. Matching from several threads is safe.
//
// Throws: Error for a pattern that does not compile (with the position), and for a match that takes more than a million
// steps or 16 MiB.
namespace graft {

class Regex {
public:
    Regex(std::string pattern, std::string where);

    bool full_match(std::string_view text) const;

    // The text of a group where the pattern matches at the start; nothing where it does not match or the group is
    // unset.
    std::optional<std::string> capture(std::string_view text, std::uint32_t group) const;

    const std::string& pattern() const { return pattern_; }

private:
    std::optional<std::string> match(std::string_view text, std::uint32_t options, std::uint32_t group) const;
    static std::string reason(int code);
    std::string bad(const std::string& why) const;

    std::string pattern_, where_;
    std::shared_ptr<const pcre2_code> compiled_;
    std::shared_ptr<pcre2_match_context> limits_;
};

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/io/regex.ipp"
#endif
