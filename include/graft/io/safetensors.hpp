#pragma once
#include "graft/core/error.hpp"
#include "graft/io/atomic_file.hpp"
#include "graft/io/file_kind.hpp"
#include "graft/io/safetensors/header.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/safetensors/write.hpp"
#include "graft/io/text.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/mman.h>

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
    static SafetensorsFile open(const std::filesystem::path& path)
    {
        SafetensorsFile file;
        file.path_ = path;
        file.mapping_ = std::make_shared<const Mapping>(path);
        file.read(file.mapping_->bytes());
        return file;
    }

    const std::filesystem::path& path() const { return path_; }
    std::span<const StoredTensor> tensors() const { return tensors_; }  // in the order of their bytes
    const std::map<std::string, std::string>& metadata() const { return metadata_; }

    const StoredTensor* find(std::string_view name) const
    {
        const auto at = std::lower_bound(by_name_.begin(), by_name_.end(), name,
                                         [&](std::size_t i, std::string_view key) { return tensors_[i].name < key; });
        return at != by_name_.end() && tensors_[*at].name == name ? &tensors_[*at] : nullptr;
    }
    // As find, but an Error where there is no such tensor.
    const StoredTensor& at(std::string_view name) const
    {
        const StoredTensor* tensor = find(name);
        require(tensor != nullptr,
                [&] { return printable(path_.string(), 1000) + ": there is no tensor " + printable(name); });
        return *tensor;
    }

private:
    class Mapping {
    public:
        explicit Mapping(const std::filesystem::path& path)
        {
            const detail::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
            if (!file.open()) { detail::file_error(path, "open", errno); }
            struct stat status {};
            if (::fstat(file.get(), &status) != 0) { detail::file_error(path, "read", errno); }
            const std::string where = printable(path.string(), 1000);
            require(S_ISREG(status.st_mode), [&] { return where + ": not a regular file"; });
            refuse_wrong_file(first_bytes(path), path, FileWanted::weights);
            require(status.st_size >= 8, [&] {
                return where + ": truncated: " + std::to_string(status.st_size)
                       + " bytes are too few for a safetensors file; fetch it again";
            });
            size_ = static_cast<std::size_t>(status.st_size);
            void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
            if (address == MAP_FAILED) { detail::file_error(path, "map", errno); }
            data_ = static_cast<const std::byte*>(address);
        }
        Mapping(const Mapping&) = delete;
        Mapping& operator=(const Mapping&) = delete;
        ~Mapping() { ::munmap(const_cast<std::byte*>(data_), size_); }

        std::span<const std::byte> bytes() const { return {data_, size_}; }

    private:
        const std::byte* data_ = nullptr;
        std::size_t size_ = 0;
    };

    void read(std::span<const std::byte> bytes)
    {
        const std::string where = printable(path_.string(), 1000);
        std::uint64_t length = 0;
        for (std::size_t i = 0; i < 8; ++i) { length |= static_cast<std::uint64_t>(bytes[i]) << (8 * i); }
        require(length <= detail::most_header_bytes, [&] {
            return where + ": the safetensors header claims " + std::to_string(length)
                   + " bytes; at most 100,000,000 are allowed: this is not a safetensors file, or it is damaged";
        });
        require(length <= bytes.size() - 8, [&] {
            return where + ": truncated: the header takes " + std::to_string(length) + " bytes, the file holds "
                   + std::to_string(bytes.size() - 8) + " after its length; fetch it again";
        });
        const auto text = std::string_view(reinterpret_cast<const char*>(bytes.data() + 8), length);
        const auto data = bytes.subspan(8 + static_cast<std::size_t>(length));
        detail::Header header = detail::read_header(text, data.size(), where);

        metadata_ = std::move(header.metadata);
        tensors_.reserve(header.entries.size());
        for (detail::HeaderEntry& entry : header.entries) {
            tensors_.push_back({std::move(entry.name), entry.type, std::move(entry.shape),
                                data.subspan(entry.begin, entry.end - entry.begin)});
        }
        by_name_.resize(tensors_.size());
        for (std::size_t i = 0; i < by_name_.size(); ++i) { by_name_[i] = i; }
        std::sort(by_name_.begin(), by_name_.end(),
                  [&](std::size_t a, std::size_t b) { return tensors_[a].name < tensors_[b].name; });
    }

    std::filesystem::path path_;
    std::shared_ptr<const Mapping> mapping_;
    std::vector<StoredTensor> tensors_;
    std::vector<std::size_t> by_name_;
    std::map<std::string, std::string> metadata_;
};

}  // namespace graft
