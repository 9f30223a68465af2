#pragma once
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/io/file_kind.hpp"
#include "graft/text/dataset/read/bytes.hpp"
#include "graft/text/dataset/read/documents.hpp"
#include "graft/text/dataset/read/table.hpp"

// Rows of a data file, one after the other.
//
//   read_rows(path, use, {.split_on, .drop})   calls use(nlohmann::ordered_json&&, const RowPlace&) for each row in
//                                              file order, and holds one row at a time
//   is_document(path)                          whether its name is that of a text
//
//   .json .jsonl, any other name    a JSON array, one JSON object a line, or a lone object: seen from the content. A
//                                   byte order mark, CRLF and blank lines are accepted. Keys keep the order of the
//                                   file, because chat templates print them.
//   .csv .tsv                       a header and records (read/table.hpp): a field of the row for each column
//   .txt .md .markdown .text        a document, or several (read/documents.hpp), each a row {"text": …}; JSON lines
//                                   under such a name are read as what they are
//
// Hostile input: a row has at most 256 MiB, 64 levels and 4096 keys in an object.
// Throws Error with file, line and reason: missing or unreadable file, a file of another kind, by its first bytes and
// by name (io/file_kind.hpp says what to do), text that is not JSON, a row that is not an object, a file without rows.
// What is wrong with one record of a table only is told to drop, where there is one.
namespace graft {

namespace detail::dataset {

// Follows one JSON value byte by byte, to find its end and to refuse what is too deep or too wide before it is parsed.
class JsonEnd {
public:
    // True when this byte closes the value that the first '{' or '[' opened.
    bool take(char c, const RowPlace& place);
    bool open() const { return depth_ > 0; }

private:
    bool in_string_ = false, escaped_ = false;
    int depth_ = 0;
    std::array<std::int64_t, deepest_row> commas_{};
};

Json parse_row(std::string_view text, const RowPlace& place);

// One value that may run over several lines, from its opening bracket to its closing one.
std::string read_value(ByteReader& bytes, const RowPlace& place, std::string text = {});

template <class Use> void read_array(ByteReader& bytes, RowPlace place, Use& use)
{
    bytes.get();  // the opening bracket
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

std::string read_line(ByteReader& bytes, const RowPlace& place);

template <class Use> void read_lines(ByteReader& bytes, RowPlace place, Use& use)
{
    while (bytes.peek() >= 0) {
        place.line = bytes.line();
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

// Whether a file that is named like a text holds rows in JSON: an object begins with a name in quotes.
bool begins_like_rows(std::string_view bytes);

inline std::string extension_of(const std::filesystem::path& path) { return lower(path.extension().string()); }

template <class Use> void read_json_rows(ByteReader& bytes, RowPlace place, Use& use)
{
    bytes.skip_space();
    place.line = bytes.line();
    const int first = bytes.peek();
    if (first == '[') { return read_array(bytes, place, use); }
    if (first == '{') { return read_lines(bytes, place, use); }
    require(first < 0, [&] {
        return at(place) + ": expected JSON (an array of objects, or an object a line), found '"
               + printable(bytes.first_bytes().substr(0, 20), 40)
               + "'; a text is read from a file named .txt or .md, a "
                 "table from one named .csv or .tsv";
    });
}

}  // namespace detail::dataset

bool is_document(const std::filesystem::path& path);

struct ReadOptions {
    std::string split_on{};                                                  // cuts documents
    std::function<void(const std::string& reason, const RowPlace&)> drop{};  // a record that is no row; else an Error
};

template <class Use> void read_rows(const std::filesystem::path& path, Use&& use, const ReadOptions& options = {})
{
    RowPlace place{.file = path.string()};
    const std::string name = detail::dataset::printable(place.file, 400);

    std::error_code code;
    const auto status = std::filesystem::status(path, code);
    if (const auto link = broken_link(path); !link.empty()) { throw Error(link); }
    require(std::filesystem::exists(status), [&] { return name + ": no such data file"; });
    require(!std::filesystem::is_directory(status), [&] { return name + ": is a folder; name the data files in it"; });

    detail::dataset::ByteReader bytes(path);
    require(bytes.good(), [&] { return name + ": cannot be opened: " + std::strerror(errno); });
    refuse_wrong_file(bytes.first_bytes(), path, FileWanted::rows);
    if (bytes.first_bytes().substr(0, 3) == "\xef\xbb\xbf") { bytes.get(), bytes.get(), bytes.get(); }

    std::int64_t rows = 0;
    auto counted = [&](nlohmann::ordered_json&& row, const RowPlace& where) { ++rows, use(std::move(row), where); };
    const auto drop = [&](const std::string& reason, const RowPlace& where) {
        require(bool(options.drop), [&] { return detail::dataset::at(where) + ": " + reason; });
        ++rows, options.drop(reason, where);
    };
    const auto extension = detail::dataset::extension_of(path);
    if (extension == ".csv" || extension == ".tsv") {
        detail::dataset::read_table(bytes, place, extension == ".csv" ? ',' : '\t', counted, drop);
    } else if (is_document(path) && !detail::dataset::begins_like_rows(bytes.first_bytes())) {
        detail::dataset::read_documents(bytes, place, options.split_on, counted);
    } else {
        detail::dataset::read_json_rows(bytes, place, counted);
    }
    require(!bytes.failed(), [&] { return name + ": reading failed at line " + std::to_string(bytes.line()); });
    require(rows > 0, [&] { return name + ": no rows: the file is empty"; });
}

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset/read.ipp"
#endif
