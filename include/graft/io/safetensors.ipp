#pragma once
#include "graft/io/safetensors.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/io/atomic_file.hpp"
#include "graft/io/file_kind.hpp"
#include "graft/io/safetensors/header.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/safetensors/write.hpp"
#include "graft/io/text.hpp"

namespace graft {

GRAFT_INLINE SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path)
{
    SafetensorsFile file;
    file.path_ = path;
    file.mapping_ = std::make_shared<const Mapping>(path);
    file.read(file.mapping_->bytes());
    return file;
}

GRAFT_INLINE const StoredTensor* SafetensorsFile::find(std::string_view name) const
{
    const auto at = std::lower_bound(by_name_.begin(), by_name_.end(), name,
                                     [&](std::size_t i, std::string_view key) { return tensors_[i].name < key; });
    return at != by_name_.end() && tensors_[*at].name == name ? &tensors_[*at] : nullptr;
}

GRAFT_INLINE const StoredTensor& SafetensorsFile::at(std::string_view name) const
{
    const StoredTensor* tensor = find(name);
    require(tensor != nullptr,
            [&] { return printable(path_.string(), 1000) + ": there is no tensor " + printable(name); });
    return *tensor;
}

GRAFT_INLINE SafetensorsFile::Mapping::Mapping(const std::filesystem::path& path)
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

GRAFT_INLINE void SafetensorsFile::read(std::span<const std::byte> bytes)
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

}  // namespace graft
