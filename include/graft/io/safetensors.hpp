#pragma once
#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/io/safetensors/types.hpp"

// safetensors: named tensors in one file.
//
//   8 bytes   N, little-endian
//   N bytes   UTF-8 JSON: name → {"dtype", "shape", "data_offsets": [begin, end]}, and "__metadata__": text → text
//   the rest  data, little-endian, row-major, packed; offsets count from here
//
//   const auto file = SafetensorsFile::open(path);
//   if (const StoredTensor* t = file.find("model.norm.weight")) { … t->bytes … }
//
// The file is mapped, not read: a tensor costs memory when its bytes are touched. Copies of a SafetensorsFile share the
// mapping, which lives as long as the last of them. Data need not be aligned: copy bytes, do not cast the pointer.
// A file must not be shortened while it is open (the system then ends the process); files are replaced by renaming.
//
// Refused, with an Error that names the file and the tensor: a file of another kind, which is named (io/file_kind.hpp);
// one shorter than its header says; a header over
// 100,000,000 bytes, not UTF-8, not JSON of the form above, or with a name, a field or a metadata key that occurs
// twice or is unknown; tensors that overlap, leave holes, or do not fill the file exactly; extents whose product
// overflows; a byte count that does not fit type and shape. Values are not looked at. tests/io/safetensors.cpp has a
// case for each. Empty tensors and scalars (shape []) are valid. Little-endian, POSIX hosts.
//
// Writing: safetensors/write.hpp. Source: huggingface/safetensors, README.md and safetensors/src/tensor.rs.
namespace graft {

class SafetensorsFile {
public:
    static SafetensorsFile open(const std::filesystem::path& path);

    const std::filesystem::path& path() const { return path_; }
    std::span<const StoredTensor> tensors() const { return tensors_; }  // in the order of their bytes
    const std::map<std::string, std::string>& metadata() const { return metadata_; }

    const StoredTensor* find(std::string_view name) const;
    // As find, but an Error where there is no such tensor.
    const StoredTensor& at(std::string_view name) const;

private:
    class Mapping {
    public:
        explicit Mapping(const std::filesystem::path& path);
        Mapping(const Mapping&) = delete;
        Mapping& operator=(const Mapping&) = delete;
        ~Mapping() { ::munmap(const_cast<std::byte*>(data_), size_); }

        std::span<const std::byte> bytes() const { return {data_, size_}; }

    private:
        const std::byte* data_ = nullptr;
        std::size_t size_ = 0;
    };

    void read(std::span<const std::byte> bytes);

    std::filesystem::path path_;
    std::shared_ptr<const Mapping> mapping_;
    std::vector<StoredTensor> tensors_;
    std::vector<std::size_t> by_name_;
    std::map<std::string, std::string> metadata_;
};

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/io/safetensors.ipp"
#endif
