#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "graft/core/error.hpp"
#include "graft/io/text.hpp"

// What the readers of data files share: where a row stands, the limits of a row, a file byte by byte.
namespace graft {

struct RowPlace {
    std::string file;       // as it was named
    std::int64_t line = 0;  // first line of the row, from 1
    std::int64_t row = 0;   // number of the row in its file, from 1
};

namespace detail::dataset {

using Json = nlohmann::ordered_json;  // keys in the order of the file

inline constexpr std::size_t longest_row = std::size_t{256} << 20;
inline constexpr int deepest_row = 64;
inline constexpr std::int64_t most_keys = 4096;

// Untrusted text for use inside a one-line message: control characters and broken UTF-8 as \xNN, clipped.
inline std::string printable(std::string_view text, std::size_t most = 120)
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

// "data.jsonl:12", the way compilers name places.
inline std::string at(const RowPlace& place) { return printable(place.file, 400) + ":" + std::to_string(place.line); }

inline bool json_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// The file as bytes with a position in lines, so that errors can name one.
class ByteReader {
public:
    explicit ByteReader(const std::filesystem::path& path) : file_(path, std::ios::binary), block_(1 << 16) {}
    bool good() const { return file_.is_open(); }
    int peek()
    {
        if (next_ == end_) { fill(); }
        return next_ == end_ ? -1 : static_cast<unsigned char>(block_[next_]);
    }
    int get()
    {
        const int c = peek();
        if (c >= 0) {
            ++next_;
            line_ += c == '\n';
        }
        return c;
    }
    void skip_space()
    {
        while (peek() >= 0 && json_space(char(peek()))) { get(); }
    }
    std::string_view first_bytes()
    {
        peek();
        return std::string_view(block_.data() + next_, end_ - next_);
    }
    std::int64_t line() const { return line_; }
    bool failed() const { return file_.bad(); }

private:
    void fill()
    {
        file_.read(block_.data(), std::streamsize(block_.size()));
        next_ = 0, end_ = std::size_t(file_.gcount());
    }
    std::ifstream file_;
    std::vector<char> block_;
    std::size_t next_ = 0, end_ = 0;
    std::int64_t line_ = 1;
};

inline void require_utf8(std::string_view text, const std::string& where)
{
    if (valid_utf8(text)) { return; }
    std::size_t at = 0;
    while (const std::size_t length = graft::detail::utf8_sequence(text.substr(at))) { at += length; }
    throw Error(where + ": not UTF-8 at byte " + std::to_string(at + 1)
                + " of the row: convert the file, as with iconv -f "
                  "LATIN1 -t UTF-8 FILE > NEW");
}

}  // namespace detail::dataset

}  // namespace graft
