#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/safetensors/types.hpp"

// Reads and checks the header of a safetensors file. Private to io/safetensors.hpp, where the rules are stated.
namespace graft::detail {

inline constexpr std::size_t most_header_bytes = 100'000'000;

struct HeaderEntry {
    std::string name;
    StoredType type = StoredType::f32;
    std::vector<std::int64_t> shape;
    std::uint64_t begin = 0, end = 0;
};

struct Header {
    std::vector<HeaderEntry> entries;
    std::map<std::string, std::string> metadata;
};

// The tensors in the order of their bytes, checked against the size of the data that follows the header.
Header read_header(std::string_view text, std::uint64_t data_bytes, const std::string& where);

}  // namespace graft::detail

#if GRAFT_HEADER_ONLY
#include "graft/io/safetensors/header.ipp"
#endif
