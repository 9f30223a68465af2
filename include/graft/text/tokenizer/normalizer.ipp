#pragma once
#include "graft/text/tokenizer/normalizer.hpp"

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <utf8proc.h>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/text/tokenizer/aligned_text.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/normal_form.hpp"
#include "graft/text/tokenizer/precompiled.hpp"
#include "graft/text/tokenizer/regex.hpp"
#include "graft/text/tokenizer/unicode.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE Pattern::Pattern(const Json& json, const std::string& where)
{
    const Json& literal = field(json, "String");
    const Json& regex = field(json, "Regex");
    require(literal.is_string() != regex.is_string(), [&] {
        return where + ": pattern must be {\"String\": text} or {\"Regex\": expression}, found " + json.dump();
    });
    if (literal.is_string()) {
        literal_ = literal.get<std::string>();
    } else {
        regex_.emplace(regex.get<std::string>(), where);
    }
    if (!regex_ && literal_.empty()) { regex_.emplace("", where); }  // it matches everywhere, as in the reference
}

GRAFT_INLINE void Normalizer::operator()(AlignedText& text, Regex::MatchData& data) const
{
    for (const Step& step : steps_) {
        const bool replaces = step.kind == Kind::prepend || step.kind == Kind::replace;
        if (!replaces && step.kind != Kind::precompiled && step.kind != Kind::strip) { text.map_all(); }
        switch (step.kind) {
        case Kind::form: to_normal_form(text, step.form); break;
        case Kind::lowercase: map_characters(text, lowercase); break;
        case Kind::nmt: map_characters(text, nmt); break;
        case Kind::precompiled: (*step.charsmap)(text); break;
        case Kind::prepend: prepend(text, step.content); break;
        case Kind::replace: replace(text, *step.pattern, step.content, data); break;
        case Kind::strip: strip(text, step.left, step.right); break;
        case Kind::strip_accents: map_characters(text, strip_accents); break;
        }
    }
}

GRAFT_INLINE void Normalizer::add(const Json& json, const std::string& where)
{
    if (json.is_null()) { return; }
    const std::string type = type_field(json, where);
    const auto form = [&](NormalForm which) { steps_.push_back({.kind = Kind::form, .form = which}); };
    if (type == "Sequence") {
        const Json& list = field(json, "normalizers");
        require(list.is_array(), where + ": normalizers must be a list");
        for (const Json& entry : list) { add(entry, where); }
    } else if (type == "NFC") {
        form(NormalForm::nfc);
    } else if (type == "NFD") {
        form(NormalForm::nfd);
    } else if (type == "NFKC") {
        form(NormalForm::nfkc);
    } else if (type == "NFKD") {
        form(NormalForm::nfkd);
    } else if (type == "Lowercase") {
        steps_.push_back({.kind = Kind::lowercase});
    } else if (type == "Nmt") {
        steps_.push_back({.kind = Kind::nmt});
    } else if (type == "StripAccents") {
        steps_.push_back({.kind = Kind::strip_accents});
    } else if (type == "Strip") {
        steps_.push_back({.kind = Kind::strip,
                          .left = flag_field(json, "strip_left", false, where),
                          .right = flag_field(json, "strip_right", false, where)});
    } else if (type == "Precompiled") {
        steps_.push_back({.kind = Kind::precompiled,
                          .charsmap = Precompiled(text_field(json, "precompiled_charsmap", where), where)});
    } else if (type == "Prepend") {
        steps_.push_back({.kind = Kind::prepend, .content = text_field(json, "prepend", where)});
    } else if (type == "Replace") {
        const std::string content = text_field(json, "content", where);
        steps_.push_back(
            {.kind = Kind::replace, .content = content, .pattern = Pattern(field(json, "pattern"), where)});
    } else {
        throw Error(where + ": unknown type \"" + type
                    + "\"; known: Lowercase, NFC, NFD, NFKC, NFKD, Nmt, "
                      "Precompiled, Prepend, Replace, Sequence, Strip, StripAccents");
    }
}

GRAFT_INLINE bool Normalizer::lowercase(char32_t c, std::string& out)
{
    if (c == 0x130) {  // the only one that becomes two: i and a dot above
        out = "i\xCC\x87";
        return true;
    }
    const auto lower = static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
    if (lower != c) { append_code_point(out, lower); }
    return lower != c;
}

GRAFT_INLINE bool Normalizer::nmt(char32_t c, std::string& out)
{
    if ((c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F) {
        return true;
    }
    if (c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 || (c >= 0x200B && c <= 0x200F) || c == 0x2028
        || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD) {
        out = " ";
        return true;
    }
    return false;
}

GRAFT_INLINE void Normalizer::strip(AlignedText& text, bool left, bool right)
{
    const std::size_t size = text.text.size();
    const std::size_t begin = left ? skip_spaces(text.text, 0) : 0;
    const std::size_t end = right ? skip_spaces_back(text.text, size, begin) : size;
    if (begin == 0 && end == size) { return; }
    text.map_all();
    AlignedText out(text.tracked);
    out.copy(text, begin, end);
    text = std::move(out);
}

GRAFT_INLINE void Normalizer::prepend(AlignedText& text, const std::string& content)
{
    if (text.text.empty()) { return; }
    AlignedText out(text.tracked);
    out.reserve(content.size() + text.text.size());
    out.put(content, text, 0, 0);
    out.copy(text, 0, text.text.size());
    text = std::move(out);
}

GRAFT_INLINE void Normalizer::replace(AlignedText& text, const Pattern& pattern, const std::string& content,
                                      Regex::MatchData& data)
{
    const std::size_t most = (std::size_t(1) << 28) + 8 * text.text.size();
    AlignedText out(text.tracked);
    out.reserve(text.text.size() + text.text.size() / 2);
    std::size_t done = 0;
    bool found = false;
    pattern.each(text.text, data, [&](std::size_t begin, std::size_t end) {
        out.copy(text, done, begin);
        out.put(content, text, begin, end, true);
        if (end == 0 && text.from_nowhere == 0) { out.from_nowhere = content.size(); }
        done = end;
        found = true;
        require(out.text.size() <= most, [&] {
            return "the tokeniser's normalizer makes more than " + std::to_string(most) + " bytes of a text of "
                   + std::to_string(text.text.size()) + ": look at its Replace of \"" + content.substr(0, 40) + "\"";
        });
    });
    if (!found) { return; }
    out.copy(text, done, text.text.size());
    text = std::move(out);
}

}  // namespace graft::detail::tokens
