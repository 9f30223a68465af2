#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
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
    Json header();

    // The fields of the next record that is not blank; found_ counts those beyond most_fields_ too, which are not kept.
    bool next_record();

    // One field and what ends it; false where that ends the record.
    bool field();

    void quoted(std::string& text);

    void take(std::string& text, int c);

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

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset/read/table.ipp"
#endif
