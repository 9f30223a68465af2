#pragma once
#include "graft/core/error.hpp"
#include "graft/text/tokenizer/aligned_text.hpp"
#include "graft/text/tokenizer/unicode.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The normaliser Precompiled: SentencePiece's table of characters and what they become, as its model files carry it.
//
//   precompiled_charsmap   base64 of: u32 n, little-endian; n bytes of a double-array trie of 32-bit units; texts,
//                          UTF-8, each ended by a zero byte, at the places that the trie's values name
//   unit                   offset = (u >> 10) << (8 where bit 9 is set); bit 8: the unit at the node is a value, of 31
//                          bits; label = bit 31 and bits 0 to 7. From node p and unit u a byte b leads to p ^ offset ^
//                          b where the label there is b.
//
// What is looked up is a grapheme of up to 5 bytes, else each character. What is found is the shortest beginning of it
// that has an entry, and it stands for the whole grapheme: the reference does so, marks that follow are lost with it.
//
// Errors: Error where the text is not base64 or the table ends early; at a text that leads out of the table.
// Source: google/sentencepiece, normalizer.cc, with Darts-clone's units; huggingface/spm_precompiled.
namespace graft::detail::tokens {

inline std::optional<std::string> from_base64(std::string_view text)
{
    std::string out;
    std::uint32_t bits = 0;
    int count = 0;
    const std::size_t end = text.size() - (text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0);
    if (text.size() % 4 != 0) { return std::nullopt; }
    for (const char c : text.substr(0, end)) {
        const int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                          : c >= 'a' && c <= 'z' ? c - 'a' + 26
                          : c >= '0' && c <= '9' ? c - '0' + 52
                          : c == '+'             ? 62
                          : c == '/'             ? 63
                                                 : -1;
        if (value < 0) { return std::nullopt; }
        bits = bits << 6 | static_cast<std::uint32_t>(value);
        count += 6;
        if (count >= 8) {
            count -= 8;
            out += static_cast<char>(bits >> count & 0xFF);
        }
    }
    return out;
}

class Precompiled {
public:
    Precompiled(std::string_view base64, const std::string& where)
    {
        const auto bytes = from_base64(base64);
        require(bytes.has_value(), where + ": precompiled_charsmap is not base64");
        const auto number = [&](std::size_t at) {
            std::uint32_t n = 0;
            for (std::size_t i = 0; i < 4; ++i) {
                n |= std::uint32_t(static_cast<unsigned char>((*bytes)[at + i])) << (8 * i);
            }
            return n;
        };
        const std::size_t size = bytes->size() < 4 ? 0 : number(0);
        require(size >= 4 && size % 4 == 0 && size <= bytes->size() - 4, [&] {
            return where + ": precompiled_charsmap has " + std::to_string(bytes->size())
                   + " bytes, which do not hold a trie of " + std::to_string(size) + " and its length";
        });
        for (std::size_t at = 4; at < 4 + size; at += 4) { units_.push_back(number(at)); }
        texts_ = bytes->substr(4 + size);
        require(!invalid_utf8(texts_), where + ": precompiled_charsmap: its texts are not UTF-8");
        where_ = where;
    }

    void operator()(AlignedText& text) const
    {
        const std::string& in = text.text;
        AlignedText out(text.tracked);
        out.reserve(in.size());
        std::size_t kept = 0;
        const auto put = [&](std::size_t begin, std::size_t end) {
            const auto now = becomes(std::string_view(in).substr(begin, end - begin));
            if (!now) { return false; }
            out.copy(text, kept, begin);
            out.put(*now, text, begin, end);
            kept = end;
            return true;
        };
        for (std::size_t at = 0; at < in.size();) {
            const std::size_t end = grapheme_end(in, at);
            const std::size_t length = char_length(in, at);
            if (end - at >= 6 || !put(at, end)) {
                for (std::size_t i = at; end - at > length && i < end; i += char_length(in, i)) {
                    put(i, i + char_length(in, i));
                }
            }
            at = end;
        }
        if (kept == 0) { return; }
        text.map_all();
        out.copy(text, kept, in.size());
        text = std::move(out);
    }

private:
    static std::size_t grapheme_end(std::string_view text, std::size_t at)
    {
        utf8proc_int32_t state = 0;
        auto last = static_cast<utf8proc_int32_t>(code_point(text, at));
        for (at += char_length(text, at); at < text.size(); at += char_length(text, at)) {
            const auto next = static_cast<utf8proc_int32_t>(code_point(text, at));
            const bool ascii = last < 0x80 && next < 0x80;
            if (ascii ? last != '\r' || next != '\n' : utf8proc_grapheme_break_stateful(last, next, &state)) { break; }
            last = next;
        }
        return at;
    }

    std::uint32_t unit(std::uint32_t at) const
    {
        require(at < units_.size(), where_ + ": precompiled_charsmap: a text leads out of its trie");
        return units_[at];
    }
    static std::uint32_t offset(std::uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }

    // The text that the shortest known beginning of `key` stands for.
    std::optional<std::string_view> becomes(std::string_view key) const
    {
        std::uint32_t node = offset(unit(0));
        for (const char c : key) {
            const auto byte = static_cast<unsigned char>(c);
            if (byte == 0) { return std::nullopt; }
            node ^= byte;
            const std::uint32_t here = unit(node);
            if ((here & (1u << 31 | 0xFFu)) != byte) { return std::nullopt; }
            node ^= offset(here);
            if ((here >> 8 & 1u) == 0) { continue; }
            const std::size_t begin = unit(node) & ((1u << 31) - 1);
            require(begin <= texts_.size() && (begin == texts_.size() || !is_continuation(texts_[begin])),
                    where_ + ": precompiled_charsmap: a text leads out of its texts");
            return std::string_view(texts_).substr(begin, std::min(texts_.find('\0', begin), texts_.size()) - begin);
        }
        return std::nullopt;
    }

    std::vector<std::uint32_t> units_;
    std::string texts_, where_;
};

}  // namespace graft::detail::tokens
