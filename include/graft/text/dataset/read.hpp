#pragma once
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "graft/core/error.hpp"

// Rows of a data file, one after the other: a JSON array, one JSON object a line, or a lone object.
//
//   read_rows(path, use)   calls use(nlohmann::ordered_json&&, const RowPlace&) for each row in file order, and holds
//                          one row at a time
//
// Which of the three it is is seen from the content. A byte order mark, CRLF and blank lines are accepted. Keys keep
// the order of the file, because chat templates print them.
// Hostile input: a row has at most 256 MiB, 64 levels and 4096 keys in an object.
// Throws Error with file, line and reason: missing or unreadable file, a kind that is not JSON (parquet, csv,
// compressed files: by name and by first bytes), text that is not JSON, a row that is not an object, a file without
// rows.
namespace graft {

struct RowPlace {
    std::string  file;       // as it was named
    std::int64_t line = 0;   // first line of the row, from 1
    std::int64_t row  = 0;   // number of the row in its file, from 1
};

namespace detail::dataset {

using Json = nlohmann::ordered_json;   // keys in the order of the file

inline constexpr std::size_t  longest_row  = std::size_t{256} << 20;
inline constexpr int          deepest_row  = 64;
inline constexpr std::int64_t most_keys    = 4096;

// Untrusted text for use inside a one-line message: control characters and broken UTF-8 as \xNN, clipped.
inline std::string printable(std::string_view text, std::size_t most = 120)
{
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
        if (out.size() >= most) { return out + "..."; }
        const auto        lead   = static_cast<unsigned char>(text[i]);
        const std::size_t length = lead < 0x80 ? 1 : lead >= 0xF0 && lead < 0xF5 ? 4 : lead >= 0xE0 ? 3 : 2;
        bool whole = lead >= 0x20 && lead != 0x7F && (lead < 0x80 || (lead >= 0xC2 && lead < 0xF5));
        whole      = whole && i + length <= text.size();
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

// Follows one JSON value byte by byte, to find its end and to refuse what is too deep or too wide before it is parsed.
class JsonEnd {
public:
    // True when this byte closes the value that the first '{' or '[' opened.
    bool take(char c, const RowPlace& place)
    {
        if (in_string_) {
            if (escaped_) {
                escaped_ = false;
            } else if (c == '\\') {
                escaped_ = true;
            } else if (c == '"') {
                in_string_ = false;
            }
            return false;
        }
        switch (c) {
        case '"': in_string_ = true; break;
        case '{':
        case '[':
            require(depth_ < deepest_row, [&] {
                return at(place) + ": nested deeper than " + std::to_string(deepest_row) + " levels; flatten the row";
            });
            commas_[std::size_t(depth_++)] = c == '{' ? 0 : -1;
            break;
        case '}':
        case ']': return depth_ > 0 && --depth_ == 0;
        case ',':
            // An array counts from -1 and stays there: only the keys of objects are limited.
            if (depth_ > 0 && commas_[std::size_t(depth_ - 1)] >= 0) {
                require(++commas_[std::size_t(depth_ - 1)] < most_keys, [&] {
                    return at(place) + ": an object with more than " + std::to_string(most_keys) + " keys";
                });
            }
            break;
        default: break;
        }
        return false;
    }
    bool open() const { return depth_ > 0; }

private:
    bool                                   in_string_ = false, escaped_ = false;
    int                                    depth_ = 0;
    std::array<std::int64_t, deepest_row> commas_{};
};

inline bool json_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

inline Json parse_row(std::string_view text, const RowPlace& place)
{
    try {
        Json row = Json::parse(text);
        require(row.is_object(), [&] {
            return at(place) + ": expected an object with named fields, found " + std::string(row.type_name());
        });
        return row;
    } catch (const nlohmann::json::parse_error& problem) {
        // The parser counts from the start of the row; people look for the line of the file.
        RowPlace         where  = place;
        const auto       before = text.substr(0, problem.byte == 0 ? 0 : problem.byte - 1);
        std::string_view reason = problem.what();
        where.line += std::count(before.begin(), before.end(), '\n');
        if (const auto start = reason.find(": "); start != reason.npos) { reason.remove_prefix(start + 2); }
        const auto column = before.size() - (before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1) + 1;
        throw Error(at(where) + ": not JSON, column " + std::to_string(column) + ": " + printable(reason, 240));
    } catch (const nlohmann::json::exception& problem) {
        throw Error(at(place) + ": not JSON: " + printable(problem.what(), 240));
    }
}

// The file as bytes with a position in lines, so that errors can name one.
class ByteReader {
public:
    explicit ByteReader(const std::filesystem::path& path) : file_(path, std::ios::binary), block_(1 << 16) {}
    bool good() const { return file_.is_open(); }
    int  peek()
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
    bool         failed() const { return file_.bad(); }

private:
    void fill()
    {
        file_.read(block_.data(), std::streamsize(block_.size()));
        next_ = 0, end_ = std::size_t(file_.gcount());
    }
    std::ifstream     file_;
    std::vector<char> block_;
    std::size_t       next_ = 0, end_ = 0;
    std::int64_t      line_ = 1;
};

inline void refuse_other_kinds(const std::filesystem::path& path, std::string_view bytes, const std::string& name)
{
    auto extension = path.extension().string();
    for (char& c : extension) { c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; }
    const auto begins = [&](std::string_view magic) { return bytes.substr(0, magic.size()) == magic; };

    const char* kind = nullptr;
    if (extension == ".parquet" || begins("PAR1")) { kind = "a parquet file"; }
    if (extension == ".arrow" || extension == ".feather" || begins("ARROW1")) { kind = "an Arrow file"; }
    if (extension == ".csv") { kind = "a csv file"; }
    if (extension == ".tsv") { kind = "a tsv file"; }
    if (extension == ".xlsx" || extension == ".xls") { kind = "a spreadsheet"; }
    if (extension == ".gz" || begins("\x1f\x8b")) { kind = "compressed with gzip"; }
    if (extension == ".zst" || begins("\x28\xb5\x2f\xfd")) { kind = "compressed with zstd"; }
    if (extension == ".xz" || begins(std::string_view("\xfd" "7zXZ"))) { kind = "compressed with xz"; }
    if (extension == ".bz2") { kind = "compressed with bzip2"; }
    if (extension == ".zip" || begins("PK\x03\x04")) { kind = "a zip archive"; }
    if (begins("\xff\xfe") || begins("\xfe\xff")) { kind = "UTF-16 text"; }
    require(kind == nullptr, [&] {
        return name + ": is " + kind + ", which is not read; convert it to JSON lines in UTF-8 (one object a line)";
    });
}

// One value that may run over several lines, from its opening bracket to its closing one.
inline std::string read_value(ByteReader& bytes, const RowPlace& place, std::string text = {})
{
    JsonEnd end;
    for (char c : text) { end.take(c, place); }
    for (;;) {
        const int c = bytes.get();
        require(c >= 0,
            [&] { return at(place) + ": the file ends inside this row: it is cut short or a bracket is missing"; });
        text += char(c);
        if (end.take(char(c), place)) { return text; }
        require(text.size() < longest_row, [&] {
            return at(place) + ": a row of more than " + std::to_string(longest_row >> 20) + " MiB";
        });
    }
}

template <class Use> void read_array(ByteReader& bytes, RowPlace place, Use& use)
{
    bytes.get();   // the opening bracket
    for (;;) {
        bytes.skip_space();
        place.line = bytes.line();
        if (bytes.peek() == ']' && place.row == 0) { break; }
        ++place.row;
        require(bytes.peek() == '{', [&] {
            return at(place)
                   + (bytes.peek() < 0 ? ": the file ends inside the array: it is cut short"
                                       : ": row " + std::to_string(place.row) + " of the array is not an object");
        });
        const std::string text = read_value(bytes, place);
        use(parse_row(text, place), place);
        bytes.skip_space();
        place.line = bytes.line();
        if (bytes.peek() != ',') { break; }
        bytes.get();
    }
    require(bytes.get() == ']', [&] {
        return at(place) + ": expected ',' or ']' after row " + std::to_string(place.row) + " of the array";
    });
    bytes.skip_space();
    place.line = bytes.line();
    require(bytes.peek() < 0, [&] { return at(place) + ": text after the end of the array"; });
}

inline std::string read_line(ByteReader& bytes, const RowPlace& place)
{
    std::string line;
    for (int c = bytes.get(); c >= 0 && c != '\n'; c = bytes.get()) {
        line += char(c);
        require(line.size() < longest_row, [&] {
            return at(place) + ": a line of more than " + std::to_string(longest_row >> 20) + " MiB";
        });
    }
    while (!line.empty() && json_space(line.back())) { line.pop_back(); }
    return line;
}

template <class Use> void read_lines(ByteReader& bytes, RowPlace place, Use& use)
{
    while (bytes.peek() >= 0) {
        place.line       = bytes.line();
        std::string text = read_line(bytes, place);
        if (text.find_first_not_of(" \t\r") == text.npos) { continue; }
        ++place.row;
        JsonEnd end;
        for (char c : text) { end.take(c, place); }
        if (place.row == 1 && end.open()) {
            // A first line that is not whole: a lone object over several lines, and nothing behind it.
            text = read_value(bytes, place, text + "\n");
            bytes.skip_space();
            require(bytes.peek() < 0, [&] {
                return at(place) + ": not JSON lines: an object must stand on one line (or all of them in one array)";
            });
        }
        use(parse_row(text, place), place);
    }
}

}  // namespace detail::dataset

template <class Use> void read_rows(const std::filesystem::path& path, Use&& use)
{
    RowPlace          place{.file = path.string()};
    const std::string name = detail::dataset::printable(place.file, 400);

    std::error_code code;
    const auto      status = std::filesystem::status(path, code);
    require(std::filesystem::exists(status), [&] { return name + ": no such data file"; });
    require(!std::filesystem::is_directory(status), [&] { return name + ": is a folder; name the data files in it"; });

    detail::dataset::ByteReader bytes(path);
    require(bytes.good(), [&] { return name + ": cannot be opened: " + std::strerror(errno); });
    detail::dataset::refuse_other_kinds(path, bytes.first_bytes(), name);
    if (bytes.first_bytes().substr(0, 3) == "\xef\xbb\xbf") { bytes.get(), bytes.get(), bytes.get(); }
    bytes.skip_space();

    place.line      = bytes.line();
    const int first = bytes.peek();
    std::int64_t rows    = 0;
    auto counted = [&](nlohmann::ordered_json&& row, const RowPlace& where) { ++rows, use(std::move(row), where); };
    if (first == '[') {
        detail::dataset::read_array(bytes, place, counted);
    } else if (first == '{') {
        detail::dataset::read_lines(bytes, place, counted);
    } else {
        require(first < 0, [&] {
            return detail::dataset::at(place) + ": expected JSON (an array of objects, or an object a line), found '" +
                   detail::dataset::printable(bytes.first_bytes().substr(0, 20), 40) + "'";
        });
    }
    require(!bytes.failed(), [&] { return name + ": reading failed at line " + std::to_string(bytes.line()); });
    require(rows > 0, [&] { return name + ": no rows: the file is empty"; });
}

}  // namespace graft
