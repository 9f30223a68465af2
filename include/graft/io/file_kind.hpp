#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"

// What a file is that is not what it should be: a Git LFS pointer, a web page, a pickle, a compressed file, …
//
//   wrong_file(bytes, path, wanted)     one sentence: what the file is, and what to do; empty where it may be right
//   refuse_wrong_file(…)                the same as an Error
//   first_bytes(path)                   what the first needs of a file that nobody has read yet
//   broken_link(path)                   "PATH: is a link to TARGET, which is not there: …"; empty where it is none
//
// Every reader of the library asks before it says that a file is damaged. The first bytes decide. The name does where
// they say nothing: not of a file that begins like JSON (and JSON was wanted), nor of one that begins like safetensors.
//
// Throws: what its name says, nothing else. Sources: the magic numbers are those of Git LFS (docs/spec.md), GGUF
// (ggml, docs/gguf.md), Apache Parquet and Arrow (their format pages), PyTorch (torch/serialization.py), zip, RFC 1952,
// RFC 8878.
namespace graft {

// What a reader wants of a file: tensors; a JSON or Jinja text of a model folder; rows of data.
enum class FileWanted : std::uint8_t { weights, settings, rows };

namespace detail {

// Bytes that look like a file of text, and what it begins with.
bool is_text(std::string_view bytes);

std::string_view without_space(std::string_view bytes);

std::string lower(std::string text);

}  // namespace detail

std::string wrong_file(std::string_view bytes, const std::filesystem::path& path, FileWanted wanted);

void refuse_wrong_file(std::string_view bytes, const std::filesystem::path& path, FileWanted wanted);

std::string first_bytes(const std::filesystem::path& path);

std::string broken_link(const std::filesystem::path& path);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/io/file_kind.ipp"
#endif
