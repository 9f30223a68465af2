#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/tokenizer/unicode.hpp"

#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH 8
#endif
#include <pcre2.h>

// The regular expressions of tokenizer.json, which are written for Oniguruma (Ruby's syntax), run by PCRE2.
//
// The two agree on most of what published tokenisers use. What PCRE2 would understand differently is rewritten, and
// what cannot be rewritten is refused by name, so that no pattern silently means something else:
//   \s \S      PCRE2 counts U+180E as a space, Oniguruma does not: written out as Unicode's White_Space
//   \w \W      written out as Alphabetic, M, Nd, Pc and, outside [...], the digits and fractions of Latin-1 (not inside
//              [...] when negated: refused)
//   \b \B      written out: on one side, or on both or neither, of the place is a character of \w; [\b] is U+0008
//   \h \H      a hexadecimal digit in ASCII, or none
//   \v \uHHHH  the character U+000B, a code point
//   \p{Name}   scripts: PCRE2 means script extensions, Oniguruma the script: \p{sc:Name}
//   ^ $        at every line, line feeds alone
//   .          not a line feed
// Refused: \K \G \R \X \k \g, octal escapes and back references, [:posix:] and nested sets, && in sets, inline options
// other than i, {,n}, {n}+, conditions, recursion, call-outs and verbs. Errors: Error for a pattern that is refused or
// does not compile, and for a match that runs into PCRE2's limits. A compiled Regex is immutable: any number of threads
// may match with it, each with its own MatchData.
namespace graft::detail::tokens {

class Regex {
public:
    class MatchData {
    public:
        MatchData() : data_(pcre2_match_data_create(1, nullptr)) { require(data_ != nullptr, "out of memory"); }
        pcre2_match_data* get() const { return data_.get(); }

    private:
        struct Free {
            void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
        };
        std::unique_ptr<pcre2_match_data, Free> data_;
    };
    struct Match {
        std::size_t begin, end;
    };

    Regex(std::string_view onig_pattern, const std::string& where);

    // The first match at or after `from`. `subject` is all that the pattern sees: lookarounds end where it ends.
    std::optional<Match> find(std::string_view subject, std::size_t from, MatchData& data) const;

    // Calls match(begin, end) for all matches from left to right, empty ones too, but for those that begin where the
    // match before ended. An empty text has none. So the reference does (onig's find_iter; tokenizers, pattern.rs).
    template <class Call> void each(std::string_view subject, MatchData& data, Call&& match) const
    {
        if (subject.empty()) { return; }
        std::size_t from = 0, last = subject.size() + 1;  // where the match before ended
        while (from <= subject.size()) {
            const auto found = find(subject, from, data);
            if (!found) { return; }
            const bool empty = found->begin == found->end;
            if (!empty || found->begin != last) { match(found->begin, found->end); }
            from = last = found->end;
            if (empty) { from += from < subject.size() ? char_length(subject, from) : 1; }
        }
    }

private:
    static std::string translate(std::string_view pattern, const std::string& where);

    std::shared_ptr<pcre2_code> code_;
    bool jit_ = false;
};

inline constexpr std::string_view space_set =
    R"(\x{09}-\x{0D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
inline constexpr std::string_view word_set = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
// Outside [...] Oniguruma has a table of its own for Latin-1, with the raised digits and fractions.
inline constexpr std::string_view word_class = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})";

// \b, or \B where `inside`: whether \w holds before and after a place, which must differ or be the same.
std::string word_boundary(bool inside);

// The name inside \p{...}: categories and binary properties stay, anything else must be a script.
std::string property_name(std::string_view name);

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/regex.ipp"
#endif
