#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "graft/text/dataset/read/bytes.hpp"

// A table in CSV or TSV: a header, then records, each of which becomes a row with a text for every column.
//
//   read_table(bytes, place, ',', use, drop)
//
// As RFC 4180 has it: a field in quotes may hold separators, line ends, and quotes written twice. Lines end with CRLF,
// LF or CR; blank ones are passed over. A quote inside a field that does not begin with one is text, as in Python's
// csv. Names of columns lose the blanks around them; one without a name is "column N". An empty field is an empty text.
//
// A record with more or fewer fields than the header is told to drop, and reading goes on.
// Hostile input: a record has at most 256 MiB, a header 1 MiB and 4096 columns; memory is that of one record.
// Throws Error with file and line: no records; two columns of one name; a header that another separator would divide;
// text behind a closing quote, a quote that is not closed (with the line where it stands): where records begin cannot
// be known from there on; what is not UTF-8; a NUL byte.
namespace graft::detail::dataset {

class TableReader {
public:
    TableReader(ByteReader& bytes, RowPlace place, char separator)
        : bytes_(bytes), place_(std::move(place)), separator_(separator)
    {}

    template <class Use, class Drop> void read(Use& use, const Drop& drop)
    {
        most_fields_ = std::size_t(most_keys) + 1, most_bytes_ = std::size_t(1) << 20;
        if (!next_record()) { return; }
        const Json empty = header();
        most_fields_ = fields_.size(), most_bytes_ = longest_row;
        const std::size_t columns = fields_.size();
        while (next_record()) {
            ++place_.row;
            if (found_ != columns) {
                const std::string which = found_ > columns ? "more" : "fewer";
                drop("a record with " + which + " fields than the " + std::to_string(columns) + " of the header"
                         + (found_ > columns ? " (text that holds a separator stands in quotes)" : ""),
                     place_);
                continue;
            }
            Json row = empty;
            std::size_t i = 0;
            for (auto& field : row.items()) { field.value() = std::move(fields_[i++]); }
            use(std::move(row), place_);
        }
        require(place_.row > 0, [&] { return at(place_) + ": a header and no record behind it"; });
    }

private:
    [[noreturn]] void wrong(const std::string& what) const { throw Error(at(place_) + ": " + what); }

    // The row of which every record is a copy: look-up in an ordered object is linear in its names.
    Json header()
    {
        if (found_ > std::size_t(most_keys)) {
            wrong("a header of more than " + std::to_string(most_keys) + " columns");
        }
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

    // The fields of the next record that is not blank; found_ counts those beyond most_fields_ too, which are not kept.
    bool next_record()
    {
        while (bytes_.peek() == '\n' || bytes_.peek() == '\r') { bytes_.get(); }
        if (bytes_.peek() < 0) { return false; }
        place_.line = bytes_.line();
        fields_.clear();
        found_ = size_ = 0;
        while (field()) {}
        return true;
    }

    // One field and what ends it; false where that ends the record.
    bool field()
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

    void quoted(std::string& text)
    {
        quote_line_ = bytes_.line();
        bytes_.get();
        for (;;) {
            const int c = bytes_.get();
            if (c < 0) {
                wrong("the file ends inside the field whose quote opens in line " + std::to_string(quote_line_));
            }
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

    void take(std::string& text, int c)
    {
        if (c == 0) { wrong("a NUL byte: this is no table of text"); }
        if (++size_ > most_bytes_) {
            wrong("a record of more than " + std::to_string(most_bytes_ >> 20) + " MiB"
                  + (quote_line_ > 0 ? ": is the quote of line " + std::to_string(quote_line_) + " closed?"
                                     : ": is this a table with one record a line?"));
        }
        text += char(c);
    }

    ByteReader& bytes_;
    RowPlace place_;
    char separator_;
    std::vector<std::string> fields_;
    std::size_t found_ = 0, most_fields_ = 0, size_ = 0, most_bytes_ = 0;
    std::int64_t quote_line_ = 0;  // of the field that is being read; 0: it has none
};

template <class Use, class Drop>
void read_table(ByteReader& bytes, const RowPlace& place, char separator, Use& use, const Drop& drop)
{
    TableReader(bytes, place, separator).read(use, drop);
}

}  // namespace graft::detail::dataset
