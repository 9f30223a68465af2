#pragma once
#include "graft/core/error.hpp"
#include "graft/text/tokenizer/aligned_text.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/regex.hpp"
#include "graft/text/tokenizer/unicode.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The normalisers of tokenizer.json: NFC, Prepend, Replace, Sequence, null. Any other type is refused by name.
namespace graft::detail::tokens {

// {"String": text} or {"Regex": expression}.
class Pattern {
public:
    Pattern(const Json& json, const std::string& where)
    {
        const Json& literal = field(json, "String");
        const Json& regex = field(json, "Regex");
        require(literal.is_string() != regex.is_string(), [&] {
            return where + ": pattern must be {\"String\": text} or {\"Regex\": expression}, found " + json.dump();
        });
        if (literal.is_string()) { literal_ = literal.get<std::string>(); }
        else { regex_.emplace(regex.get<std::string>(), where); }
    }
    explicit Pattern(Regex regex) : regex_(std::move(regex)) {}

    template <class Call>
    void each(std::string_view text, Regex::MatchData& data, Call&& match) const
    {
        if (regex_) { return regex_->each(text, data, match); }
        if (literal_.empty()) { return; }
        for (std::size_t at = text.find(literal_); at != text.npos; at = text.find(literal_, at + literal_.size())) {
            match(at, at + literal_.size());
        }
    }

private:
    std::string literal_;
    std::optional<Regex> regex_;
};

// Characters that stand alone under NFC when nothing but themselves follows: they are in composed form, do not reorder
// and never join what is before them. Text may be cut in front of each and normalised in parts. (Not all such
// characters, only the common ones; the others take the longer way.)
inline bool nfc_starts(char32_t c)
{
    return c < 0x0300 || (c >= 0x0400 && c <= 0x0482) || (c >= 0x05D0 && c <= 0x05EA) || (c >= 0x2010 && c <= 0x2027) ||
           (c >= 0x3041 && c <= 0x3096) || (c >= 0x30A1 && c <= 0x30FA) || (c >= 0x4E00 && c <= 0x9FFF) ||
           (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xFF01 && c <= 0xFF5E) || (c >= 0x1F300 && c <= 0x1F9FF);
}

inline std::string nfc_part(std::string_view text)
{
    constexpr auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    std::vector<utf8proc_int32_t> chars;
    for (std::size_t at = 0; at < text.size(); at += char_length(text, at)) {
        utf8proc_int32_t parts[8];
        const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code_point(text, at)), parts, 8,
                                                   options, nullptr);
        require(count > 0 && count <= 8, "NFC: a character has no decomposition");
        chars.insert(chars.end(), parts, parts + count);
    }
    // Canonical order by a stable sort of each run of marks: utf8proc's own takes quadratic time on hostile text.
    const auto order = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
    for (std::size_t i = 0; i < chars.size();) {
        std::size_t end = i;
        while (end < chars.size() && order(chars[end]) != 0) { ++end; }
        std::stable_sort(chars.data() + i, chars.data() + end, [&](auto a, auto b) { return order(a) < order(b); });
        i = end + 1;
    }
    const auto count = utf8proc_normalize_utf32(chars.data(), static_cast<utf8proc_ssize_t>(chars.size()), options);
    require(count >= 0, "NFC: composing failed");
    std::string out;
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
        append_code_point(out, static_cast<char32_t>(chars[i]));
    }
    return out;
}

inline void nfc(AlignedText& text)
{
    const std::string& in = text.text;
    // Nothing below U+0300 changes: its UTF-8 begins with a byte below 0xCC.
    if (std::none_of(in.begin(), in.end(), [](char c) { return static_cast<unsigned char>(c) >= 0xCC; })) { return; }

    AlignedText out(text.tracked);
    out.reserve(in.size());
    std::size_t kept = 0;       // in[kept, at) is known to stay as it is
    for (std::size_t at = 0; at < in.size();) {
        std::size_t end = at + char_length(in, at);
        const bool plain = nfc_starts(code_point(in, at));
        bool joined = false;
        while (end < in.size() && !nfc_starts(code_point(in, end))) { end += char_length(in, end), joined = true; }
        if (!plain || joined) {
            const std::string_view part = std::string_view(in).substr(at, end - at);
            std::string composed = nfc_part(part);
            if (composed != part) {
                out.copy(text, kept, at);
                out.put(composed, text, at, end);
                kept = end;
            }
        }
        at = end;
    }
    if (kept == 0) { return; }
    out.copy(text, kept, in.size());
    text = std::move(out);
}

class Normalizer {
public:
    Normalizer() = default;
    Normalizer(const Json& json, const std::string& where) { add(json, where); }

    bool empty() const { return steps_.empty(); }

    void operator()(AlignedText& text, Regex::MatchData& data) const
    {
        for (const Step& step : steps_) {
            switch (step.kind) {
            case Kind::nfc: nfc(text); break;
            case Kind::prepend: prepend(text, step.content); break;
            case Kind::replace: replace(text, *step.pattern, step.content, data); break;
            }
        }
    }

private:
    enum class Kind { nfc, prepend, replace };
    struct Step {
        Kind kind;
        std::string content;
        std::optional<Pattern> pattern;
    };

    void add(const Json& json, const std::string& where)
    {
        if (json.is_null()) { return; }
        const std::string type = type_field(json, where);
        if (type == "Sequence") {
            const Json& list = field(json, "normalizers");
            require(list.is_array(), where + ": normalizers must be a list");
            for (const Json& entry : list) { add(entry, where); }
        } else if (type == "NFC") {
            steps_.push_back({Kind::nfc, {}, {}});
        } else if (type == "Prepend") {
            steps_.push_back({Kind::prepend, text_field(json, "prepend", where), {}});
        } else if (type == "Replace") {
            const std::string content = text_field(json, "content", where);
            steps_.push_back({Kind::replace, content, Pattern(field(json, "pattern"), where)});
        } else {
            throw Error(where + ": unknown type \"" + type + "\"; known: NFC, Prepend, Replace, Sequence");
        }
    }
    static void prepend(AlignedText& text, const std::string& content)
    {
        if (text.text.empty()) { return; }
        AlignedText out(text.tracked);
        out.reserve(content.size() + text.text.size());
        out.put(content, text, 0, 0);
        out.copy(text, 0, text.text.size());
        text = std::move(out);
    }
    static void replace(AlignedText& text, const Pattern& pattern, const std::string& content, Regex::MatchData& data)
    {
        AlignedText out(text.tracked);
        out.reserve(text.text.size() + text.text.size() / 2);
        std::size_t done = 0;
        pattern.each(text.text, data, [&](std::size_t begin, std::size_t end) {
            out.copy(text, done, begin);
            out.put(content, text, begin, end);
            done = end;
        });
        if (done == 0) { return; }
        out.copy(text, done, text.text.size());
        text = std::move(out);
    }

    std::vector<Step> steps_;
};

}  // namespace graft::detail::tokens
