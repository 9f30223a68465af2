#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/io/safetensors/types.hpp"

// Writes a safetensors file as the reference package does: byte for byte the same for the same tensors.
//
//   write_safetensors(path, tensors)             tensors whose bytes lie in memory
//   write_safetensors(path, heads, give)         a large file: give(i, write) is asked for the bytes of heads[i], one
//                                                tensor after the other in the order of the file, and calls
//                                                write(bytes) as often as it likes
//
// Order: element type descending (widest first), then name. The header is padded with spaces to a multiple of 8 bytes.
// Metadata always holds {"format": "pt"}, which readers of Hugging Face files may ask for.
// The file appears whole or not at all (AtomicFile).
//
// Throws: Error that names the file and the tensor: a name twice, empty or not UTF-8, bytes that do not fill the shape,
// a shape that overflows, a file that cannot be written.
// Source: huggingface/safetensors, safetensors/src/tensor.rs (prepare, serialize_to_file).
namespace graft {

struct TensorToWrite {
    std::string name;
    StoredType type = StoredType::f32;
    std::vector<std::int64_t> shape{};
    std::span<const std::byte> bytes{};
};

struct TensorHead {
    std::string name;
    StoredType type = StoredType::f32;
    std::vector<std::int64_t> shape{};
};

using Metadata = std::map<std::string, std::string>;
using WriteBytes = std::function<void(std::span<const std::byte>)>;
using GiveTensor = std::function<void(std::size_t index, const WriteBytes& write)>;

void write_safetensors(const std::filesystem::path& path, std::span<const TensorHead> heads, const GiveTensor& give,
                       const Metadata& metadata = {});

void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
                       const Metadata& metadata = {});

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/io/safetensors/write.ipp"
#endif
