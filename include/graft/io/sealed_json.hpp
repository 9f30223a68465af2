#pragma once
#include <cstddef>
#include <filesystem>
#include <string>

#include "graft/core/inline.hpp"
#include "graft/io/hash.hpp"
#include "graft/io/json_file.hpp"

// A JSON object in a file whose last field is the hash of all bytes before it, so that damage is seen.
//
//   write_sealed(path, json)            {…, "sha256": "9f86…"}; returns that hash, by which others may name the file
//   read_sealed(path, limit)            {json, hash}; the object's own sha256 stays among its fields
//
// The hash covers the text up to the comma before the field. It guards against accidents, not against a forger, who
// can hash as well. Throws: Error that names the file: cannot be written or read, damaged, not JSON.
namespace graft {

struct Sealed {
    OrderedJson json;
    std::string sha256;
};

std::string write_sealed(const std::filesystem::path& path, const OrderedJson& json);

Sealed read_sealed(const std::filesystem::path& path, std::size_t limit = std::size_t(16) << 20);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/io/sealed_json.ipp"
#endif
