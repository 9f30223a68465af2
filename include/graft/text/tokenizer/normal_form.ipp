#pragma once
#include "graft/text/tokenizer/normal_form.hpp"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utf8proc.h>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/text/tokenizer/aligned_text.hpp"
#include "graft/text/tokenizer/unicode.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE bool nfc_starts(char32_t c)
{
    return c < 0x0300 || (c >= 0x0400 && c <= 0x0482) || (c >= 0x05D0 && c <= 0x05EA) || (c >= 0x2010 && c <= 0x2027)
           || (c >= 0x3041 && c <= 0x3096) || (c >= 0x30A1 && c <= 0x30FA) || (c >= 0x4E00 && c <= 0x9FFF)
           || (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xFF01 && c <= 0xFF5E) || (c >= 0x1F300 && c <= 0x1F9FF);
}

GRAFT_INLINE Decomposed decomposed(char32_t c, NormalForm form)
{
    Decomposed out;
    const int options = UTF8PROC_STABLE | (composes(form) ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE)
                        | (form == NormalForm::nfkc || form == NormalForm::nfkd ? UTF8PROC_COMPAT : 0);
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), out.chars, 32,
                                               static_cast<utf8proc_option_t>(options), nullptr);
    require(count > 0 && count <= 32, "normal form: a character has no decomposition");
    out.count = static_cast<std::size_t>(count);
    return out;
}

GRAFT_INLINE bool starts_part(char32_t c, NormalForm form)
{
    if (c < 0x80) { return true; }
    const utf8proc_int32_t first = decomposed(c, form).chars[0];
    if ((first >= 0x1160 && first <= 0x11FF) || (first >= 0xD7B0 && first <= 0xD7FB)) { return false; }
    return !is_mark(static_cast<char32_t>(first)) && utf8proc_get_property(first)->combining_class == 0;
}

GRAFT_INLINE std::string normal_part(std::string_view text, NormalForm form)
{
    std::vector<utf8proc_int32_t> chars;
    for (std::size_t at = 0; at < text.size(); at += char_length(text, at)) {
        const Decomposed parts = decomposed(code_point(text, at), form);
        chars.insert(chars.end(), parts.chars, parts.chars + parts.count);
    }
    // Canonical order by a stable sort of each run of marks: utf8proc's own takes quadratic time on hostile text.
    const auto order = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
    for (std::size_t i = 0; i < chars.size();) {
        std::size_t end = i;
        while (end < chars.size() && order(chars[end]) != 0) { ++end; }
        std::stable_sort(chars.data() + i, chars.data() + end, [&](auto a, auto b) { return order(a) < order(b); });
        i = end + 1;
    }
    if (composes(form)) {
        const auto count = utf8proc_normalize_utf32(chars.data(), static_cast<utf8proc_ssize_t>(chars.size()),
                                                    static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
        require(count >= 0, "normal form: composing failed");
        chars.resize(static_cast<std::size_t>(count));
    }
    std::string out;
    for (const auto c : chars) { append_code_point(out, static_cast<char32_t>(c)); }
    return out;
}

GRAFT_INLINE void to_normal_form(AlignedText& text, NormalForm form)
{
    const std::string& in = text.text;
    const unsigned char first = form == NormalForm::nfc ? 0xCC : 0x80;
    if (std::none_of(in.begin(), in.end(), [&](char c) { return static_cast<unsigned char>(c) >= first; })) { return; }
    const auto starts = [&](std::size_t at) {
        const char32_t c = code_point(in, at);
        return form == NormalForm::nfc ? nfc_starts(c) : starts_part(c, form);
    };

    AlignedText out(text.tracked);
    out.reserve(in.size());
    std::size_t kept = 0;  // in[kept, at) is known to stay as it is
    for (std::size_t at = 0; at < in.size();) {
        std::size_t end = at + char_length(in, at);
        const bool plain = form == NormalForm::nfc ? starts(at) : static_cast<unsigned char>(in[at]) < 0x80;
        bool joined = false;
        while (end < in.size() && !starts(end)) { end += char_length(in, end), joined = true; }
        if (!plain || joined) {
            const std::string_view part = std::string_view(in).substr(at, end - at);
            std::string normal = normal_part(part, form);
            if (normal != part) {
                out.copy(text, kept, at);
                out.put(normal, text, at, end);
                kept = end;
            }
        }
        at = end;
    }
    if (kept == 0) { return; }
    out.copy(text, kept, in.size());
    text = std::move(out);
}

}  // namespace graft::detail::tokens
