#pragma once
#include "graft/text/tokenizer/regex.hpp"

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "graft/core/error.hpp"
#include "graft/text/tokenizer/unicode.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE Regex::Regex(std::string_view onig_pattern, const std::string& where)
{
    require(!invalid_utf8(onig_pattern), where + ": the regular expression is not UTF-8");
    const std::string pattern = translate(onig_pattern, where);
    std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(
        pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
    require(context != nullptr, "out of memory");
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context.get(), 100);
    int code = 0;
    PCRE2_SIZE at = 0;
    pcre2_code* compiled =
        pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE, &code,
                      &at, context.get());
    require(compiled != nullptr, [&] {
        std::array<PCRE2_UCHAR, 256> message{};
        pcre2_get_error_message(code, message.data(), message.size());
        return where + ": the regular expression does not compile: " + reinterpret_cast<const char*>(message.data())
               + ", at byte " + std::to_string(at) + " of " + pattern;
    });
    code_ = std::shared_ptr<pcre2_code>(compiled, pcre2_code_free);
    jit_ = pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE) == 0;  // not everywhere allowed; slower without
}

GRAFT_INLINE std::optional<Regex::Match> Regex::find(std::string_view subject, std::size_t from, MatchData& data) const
{
    const auto text = reinterpret_cast<PCRE2_SPTR>(subject.data());
    int found = PCRE2_ERROR_JIT_STACKLIMIT;
    if (jit_) { found = pcre2_jit_match(code_.get(), text, subject.size(), from, 0, data.get(), nullptr); }
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its stack on the heap
        found = pcre2_match(code_.get(), text, subject.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data.get(),
                            nullptr);
    }
    if (found == PCRE2_ERROR_NOMATCH) { return std::nullopt; }
    require(found >= 0, [&] {
        return "the tokeniser's regular expression gave up on a text of " + std::to_string(subject.size())
               + " bytes (PCRE2 error " + std::to_string(found) + "): cut the text into shorter rows";
    });
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
    return Match{ends[0], ends[1]};
}

GRAFT_INLINE std::string word_boundary(bool inside)
{
    const std::string set = "[" + std::string(word_class) + "]";
    const std::string before = "(?<=" + set + ")", not_before = "(?<!" + set + ")";
    const std::string after = "(?=" + set + ")", not_after = "(?!" + set + ")";
    return "(?:" + before + (inside ? after : not_after) + "|" + not_before + (inside ? not_after : after) + ")";
}

GRAFT_INLINE std::string property_name(std::string_view name)
{
    const bool negated = name.starts_with('^');
    const std::string_view bare = name.substr(negated ? 1 : 0);
    bool script = bare.size() > 2;
    for (const std::string_view property : {"Any", "Alphabetic", "Lowercase", "Uppercase", "White_Space", "Emoji"}) {
        if (bare == property) { script = false; }
    }
    return std::string(negated ? "^" : "") + (script ? "sc:" : "") + std::string(bare);
}

GRAFT_INLINE std::string Regex::translate(std::string_view pattern, const std::string& where)
{
    std::string out;
    bool set = false;  // inside [...]
    std::size_t set_start = 0;
    const auto refuse = [&](const std::string& what) {
        throw Error(where + ": the regular expression uses " + what
                    + ", which is not supported: " + std::string(pattern));
    };
    const auto next_is = [&](std::size_t at, std::string_view text) { return pattern.substr(at).starts_with(text); };

    for (std::size_t i = 0; i < pattern.size(); ++i) {
        const char c = pattern[i];
        if (c == '\\') {
            if (i + 1 == pattern.size()) { refuse("a backslash at the end"); }
            const char e = pattern[++i];
            switch (e) {
            case 's': out += set ? std::string(space_set) : "[" + std::string(space_set) + "]"; break;
            case 'S': out += set ? R"(\S\x{180E})" : "[^" + std::string(space_set) + "]"; break;
            case 'w': out += set ? std::string(word_set) : "[" + std::string(word_class) + "]"; break;
            case 'W':
                if (set) { refuse("\\W inside [...]"); }
                out += "[^" + std::string(word_class) + "]";
                break;
            case 'v': out += "\\x0B"; break;
            case 'b': out += set ? "\\x08" : word_boundary(false); break;
            case 'B':
                if (set) { refuse("\\B inside [...]"); }
                out += word_boundary(true);
                break;
            case 'h': out += set ? "0-9A-Fa-f" : "[0-9A-Fa-f]"; break;
            case 'H':
                if (set) { refuse("\\H inside [...]"); }
                out += "[^0-9A-Fa-f]";
                break;
            case 'A':
            case 'z':
            case 'Z':
                if (set) { refuse(std::string("\\") + e + " inside [...]"); }
                out += std::string("\\") + e;
                break;
            case 'u':
                for (std::size_t k = 1; k <= 4; ++k) {
                    if (i + k >= pattern.size()
                        || std::string_view("0123456789abcdefABCDEF").find(pattern[i + k]) == std::string_view::npos) {
                        refuse("\\u without four hexadecimal digits");
                    }
                }
                out += "\\x{" + std::string(pattern.substr(i + 1, 4)) + "}";
                i += 4;
                break;
            case 'p':
            case 'P': {
                const std::size_t close = pattern.find('}', i);
                if (!next_is(i + 1, "{") || close == std::string_view::npos) { refuse("\\p without {name}"); }
                out += std::string("\\") + e + "{" + property_name(pattern.substr(i + 2, close - i - 2)) + "}";
                i = close;
                break;
            }
            case 'd':
            case 'D':
            case 'n':
            case 'r':
            case 't':
            case 'f':
            case 'a':
            case 'e':
            case 'x': out += std::string("\\") + e; break;
            default:
                if ((e >= '0' && e <= '9') || (e >= 'a' && e <= 'z') || (e >= 'A' && e <= 'Z') || (e & 0x80) != 0) {
                    refuse(std::string("\\") + e);
                }
                out += std::string("\\") + e;
            }
            continue;
        }
        if (set) {
            if (c == '[') { refuse("a set inside a set, or a POSIX class,"); }
            if (next_is(i, "&&")) { refuse("&& inside a set"); }
            if (c == ']' && i > set_start) {
                set = false;
            } else if (c == ']') {
                refuse("an empty set");
            }
        } else if (c == '[') {
            set = true;
            out += c;
            if (next_is(i + 1, "^")) { out += pattern[++i]; }
            set_start = i + 1;
            continue;
        } else if (c == '(' && next_is(i + 1, "*")) {
            refuse("a verb (*...)");
        } else if (c == '(' && next_is(i + 1, "?")) {
            bool known = false;
            for (const std::string_view kind : {"?:", "?=", "?!", "?<=", "?<!", "?>", "?i:", "?i)", "?-i:", "?-i)"}) {
                known = known || next_is(i + 1, kind);
            }
            if (!known) { refuse("the group " + std::string(pattern.substr(i, 4))); }
        } else if (c == '{' && next_is(i + 1, ",")) {
            refuse("{,n}");
        } else if (c == '}' && next_is(i + 1, "+")) {
            refuse("{n}+");
        }
        out += c;
    }
    return out;
}

}  // namespace graft::detail::tokens
