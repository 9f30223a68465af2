#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
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
std::string printable(std::string_view text, std::size_t most = 120);

// "data.jsonl:12", the way compilers name places.
inline std::string at(const RowPlace& place) { return printable(place.file, 400) + ":" + std::to_string(place.line); }

inline bool json_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// The file as bytes with a position in lines, so that errors can name one.
class ByteReader {
public:
    explicit ByteReader(const std::filesystem::path& path) : file_(path, std::ios::binary), block_(1 << 16) {}
    bool good() const { return file_.is_open(); }
    int peek();
    int get();
    void skip_space();
    std::string_view first_bytes();
    std::int64_t line() const { return line_; }
    bool failed() const { return file_.bad(); }

private:
    void fill();
    std::ifstream file_;
    std::vector<char> block_;
    std::size_t next_ = 0, end_ = 0;
    std::int64_t line_ = 1;
};

void require_utf8(std::string_view text, const std::string& where);

}  // namespace detail::dataset

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset/read/bytes.ipp"
#endif
