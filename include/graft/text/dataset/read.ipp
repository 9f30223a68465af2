#pragma once
#include "graft/text/dataset/read.hpp"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "graft/core/error.hpp"
#include "graft/io/file_kind.hpp"
#include "graft/text/dataset/read/bytes.hpp"

namespace graft::detail::dataset {

GRAFT_INLINE bool JsonEnd::take(char c, const RowPlace& place)
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
            require(++commas_[std::size_t(depth_ - 1)] < most_keys,
                    [&] { return at(place) + ": an object with more than " + std::to_string(most_keys) + " keys"; });
        }
        break;
    default: break;
    }
    return false;
}

GRAFT_INLINE Json parse_row(std::string_view text, const RowPlace& place)
{
    try {
        Json row = Json::parse(text);
        require(row.is_object(), [&] {
            return at(place) + ": expected an object with named fields, found " + std::string(row.type_name());
        });
        return row;
    } catch (const nlohmann::json::parse_error& problem) {
        // The parser counts from the start of the row; people look for the line of the file.
        RowPlace where = place;
        const auto before = text.substr(0, problem.byte == 0 ? 0 : problem.byte - 1);
        std::string_view reason = problem.what();
        where.line += std::count(before.begin(), before.end(), '\n');
        if (const auto start = reason.find(": "); start != reason.npos) { reason.remove_prefix(start + 2); }
        const auto column = before.size() - (before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1) + 1;
        throw Error(at(where) + ": not JSON, column " + std::to_string(column) + ": " + printable(reason, 240));
    } catch (const nlohmann::json::exception& problem) {
        throw Error(at(place) + ": not JSON: " + printable(problem.what(), 240));
    }
}

GRAFT_INLINE std::string read_value(ByteReader& bytes, const RowPlace& place, std::string text)
{
    JsonEnd end;
    for (char c : text) { end.take(c, place); }
    for (;;) {
        const int c = bytes.get();
        require(c >= 0,
                [&] { return at(place) + ": the file ends inside this row: it is cut short or a bracket is missing"; });
        text += char(c);
        if (end.take(char(c), place)) { return text; }
        require(text.size() < longest_row,
                [&] { return at(place) + ": a row of more than " + std::to_string(longest_row >> 20) + " MiB"; });
    }
}

GRAFT_INLINE std::string read_line(ByteReader& bytes, const RowPlace& place)
{
    std::string line;
    for (int c = bytes.get(); c >= 0 && c != '\n'; c = bytes.get()) {
        line += char(c);
        require(line.size() < longest_row,
                [&] { return at(place) + ": a line of more than " + std::to_string(longest_row >> 20) + " MiB"; });
    }
    while (!line.empty() && json_space(line.back())) { line.pop_back(); }
    return line;
}

GRAFT_INLINE bool begins_like_rows(std::string_view bytes)
{
    const auto skip = [&] { bytes = without_space(bytes); };
    skip();
    if (bytes.starts_with('[')) { bytes.remove_prefix(1), skip(); }
    if (!bytes.starts_with('{')) { return false; }
    bytes.remove_prefix(1), skip();
    return bytes.starts_with('"');
}

}  // namespace graft::detail::dataset

namespace graft {

GRAFT_INLINE bool is_document(const std::filesystem::path& path)
{
    const auto extension = detail::dataset::extension_of(path);
    return extension == ".txt" || extension == ".md" || extension == ".markdown" || extension == ".text";
}

}  // namespace graft
