#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "graft/core/inline.hpp"
#include "graft/io/hash.hpp"
#include "graft/io/json_file.hpp"

// The files of a folder, by size and hash, as records of them are kept in JSON.
//
//   const HashedFiles files = hash_files(folder, names);
//   hashed_json(files)                    {"a.safetensors": {"bytes": 1200, "sha256": "60303a…"}, …}
//   hashed_of_json(object, where)         and back; names that leave the folder are refused
//   check_file(folder, name, hash)        throws where the file is not what it was
//
// Throws: Error that names the file: not there, cannot be read, damaged; or the record and its field.
namespace graft {

using HashedFiles = std::map<std::string, FileHash>;

HashedFiles hash_files(const std::filesystem::path& folder, std::span<const std::string> names);

OrderedJson hashed_json(const HashedFiles& files);

// A file of the folder itself, or one of the chat templates in the only folder that a checkpoint has.
bool is_file_name(std::string_view name);

HashedFiles hashed_of_json(const OrderedJson& object, const std::string& where);

void check_file(const std::filesystem::path& folder, const std::string& name, const FileHash& want);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/io/hashed_files.ipp"
#endif
