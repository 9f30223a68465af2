#pragma once
#include "graft/text/dataset/read/bytes.hpp"

#include <cstddef>
#include <string>
#include <string_view>

#include "graft/core/error.hpp"
#include "graft/io/text.hpp"

namespace graft::detail::dataset {

GRAFT_INLINE std::string printable(std::string_view text, std::size_t most)
{
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
        if (out.size() >= most) { return out + "..."; }
        const auto lead = static_cast<unsigned char>(text[i]);
        const std::size_t length = lead < 0x80 ? 1 : lead >= 0xF0 && lead < 0xF5 ? 4 : lead >= 0xE0 ? 3 : 2;
        bool whole = lead >= 0x20 && lead != 0x7F && (lead < 0x80 || (lead >= 0xC2 && lead < 0xF5));
        whole = whole && i + length <= text.size();
        for (std::size_t k = 1; whole && k < length; ++k) { whole = (text[i + k] & 0xC0) == 0x80; }
        // U+0080 to U+009F are control characters too.
        if (whole && lead == 0xC2 && static_cast<unsigned char>(text[i + 1]) < 0xA0) { whole = false; }
        if (whole) {
            out.append(text.substr(i, length));
            i += length;
        } else {
            constexpr char digits[] = "0123456789abcdef";
            out += {'\\', 'x', digits[lead >> 4], digits[lead & 15]};
            ++i;
        }
    }
    return out;
}

GRAFT_INLINE int ByteReader::peek()
{
    if (next_ == end_) { fill(); }
    return next_ == end_ ? -1 : static_cast<unsigned char>(block_[next_]);
}

GRAFT_INLINE int ByteReader::get()
{
    const int c = peek();
    if (c >= 0) {
        ++next_;
        line_ += c == '\n';
    }
    return c;
}

GRAFT_INLINE void ByteReader::skip_space()
{
    while (peek() >= 0 && json_space(char(peek()))) { get(); }
}

GRAFT_INLINE std::string_view ByteReader::first_bytes()
{
    peek();
    return std::string_view(block_.data() + next_, end_ - next_);
}

GRAFT_INLINE void ByteReader::fill()
{
    file_.read(block_.data(), std::streamsize(block_.size()));
    next_ = 0, end_ = std::size_t(file_.gcount());
}

GRAFT_INLINE void require_utf8(std::string_view text, const std::string& where)
{
    if (valid_utf8(text)) { return; }
    std::size_t at = 0;
    while (const std::size_t length = graft::detail::utf8_sequence(text.substr(at))) { at += length; }
    throw Error(where + ": not UTF-8 at byte " + std::to_string(at + 1)
                + " of the row: convert the file, as with iconv -f "
                  "LATIN1 -t UTF-8 FILE > NEW");
}

}  // namespace graft::detail::dataset
