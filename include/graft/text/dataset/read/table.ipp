#pragma once
#include "graft/text/dataset/read/table.hpp"

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "graft/text/dataset/read/bytes.hpp"

namespace graft::detail::dataset {

GRAFT_INLINE Json TableReader::header()
{
    if (found_ > std::size_t(most_keys)) { wrong("a header of more than " + std::to_string(most_keys) + " columns"); }
    const std::string all = fields_[0];
    const std::string_view others = separator_ == ',' ? ";\t|" : ",;|";
    if (found_ == 1 && all.find_first_of(others) != std::string::npos) {
        wrong("the header is one field, '" + printable(all, 60)
              + "': a .csv has commas between its fields, a .tsv has tabs; write it again with these");
    }
    Json row = Json::object();
    std::unordered_set<std::string> seen;
    for (std::size_t i = 0; i < fields_.size(); ++i) {
        std::string& name = fields_[i];
        name.erase(0, std::min(name.find_first_not_of(" \t"), name.size()));
        name.erase(name.find_last_not_of(" \t") + 1);
        if (name.empty()) { name = "column " + std::to_string(i + 1); }
        if (!seen.insert(name).second) { wrong("two columns are named " + printable(name, 60)); }
        row.push_back({name, nullptr});
    }
    return row;
}

GRAFT_INLINE bool TableReader::next_record()
{
    while (bytes_.peek() == '\n' || bytes_.peek() == '\r') { bytes_.get(); }
    if (bytes_.peek() < 0) { return false; }
    place_.line = bytes_.line();
    fields_.clear();
    found_ = size_ = 0;
    while (field()) {}
    return true;
}

GRAFT_INLINE bool TableReader::field()
{
    std::string text;
    if (bytes_.peek() == '"') { quoted(text); }
    int c = bytes_.get();
    for (; c >= 0 && c != separator_ && c != '\n' && c != '\r'; c = bytes_.get()) { take(text, c); }
    if (c == '\r' && bytes_.peek() == '\n') { bytes_.get(); }
    if (!valid_utf8(text)) { require_utf8(text, at(place_)); }
    if (++found_ <= most_fields_) { fields_.push_back(std::move(text)); }
    return c == separator_;
}

GRAFT_INLINE void TableReader::quoted(std::string& text)
{
    quote_line_ = bytes_.line();
    bytes_.get();
    for (;;) {
        const int c = bytes_.get();
        if (c < 0) { wrong("the file ends inside the field whose quote opens in line " + std::to_string(quote_line_)); }
        if (c != '"') {
            take(text, c);
            continue;
        }
        if (bytes_.peek() != '"') { break; }
        take(text, bytes_.get());
    }
    quote_line_ = 0;
    const int next = bytes_.peek();
    if (next >= 0 && next != separator_ && next != '\n' && next != '\r') {
        wrong("text behind the closing quote in line " + std::to_string(bytes_.line())
              + ": a quote inside a field is written twice, and the field stands in quotes");
    }
}

GRAFT_INLINE void TableReader::take(std::string& text, int c)
{
    if (c == 0) { wrong("a NUL byte: this is no table of text"); }
    if (++size_ > most_bytes_) {
        wrong("a record of more than " + std::to_string(most_bytes_ >> 20) + " MiB"
              + (quote_line_ > 0 ? ": is the quote of line " + std::to_string(quote_line_) + " closed?"
                                 : ": is this a table with one record a line?"));
    }
    text += char(c);
}

}  // namespace graft::detail::dataset
