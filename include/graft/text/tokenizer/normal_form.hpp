#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <utf8proc.h>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/tokenizer/aligned_text.hpp"

// The normal forms of Unicode (annex 15), in parts, so that places in the input are kept; n log n for any text.
namespace graft::detail::tokens {

enum class NormalForm { nfc, nfd, nfkc, nfkd };

inline bool composes(NormalForm form) { return form == NormalForm::nfc || form == NormalForm::nfkc; }

// Characters that stand alone under NFC when nothing but themselves follows: they are in composed form, do not reorder
// and never join what is before them. Text may be cut in front of each and normalised in parts. (Not all such
// characters, only the common ones; the others take the longer way.)
bool nfc_starts(char32_t c);

// The characters that one becomes before they are ordered and composed.
struct Decomposed {
    utf8proc_int32_t chars[32];  // 18 at most: U+FDFA, compatibility
    std::size_t count = 0;
};

Decomposed decomposed(char32_t c, NormalForm form);

// Whether text may be cut in front of a character and normalised in parts: what it becomes begins with one that neither
// moves nor joins what is before it. (Marks and the later letters of a Hangul syllable may.)
bool starts_part(char32_t c, NormalForm form);

std::string normal_part(std::string_view text, NormalForm form);

// NFC leaves everything below U+0300 as it is, whose UTF-8 begins with a byte below 0xCC; the others all of ASCII.
void to_normal_form(AlignedText& text, NormalForm form);

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/normal_form.ipp"
#endif
