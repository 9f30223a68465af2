#pragma once
#include "graft/io/atomic_file.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/io/file_kind.hpp"
#include "graft/io/text.hpp"

namespace graft::detail {

GRAFT_INLINE void file_error(const std::filesystem::path& path, const char* doing, int code)
{
    if (const std::string link = code == ENOENT ? broken_link(path) : ""; !link.empty()) { throw Error(link); }
    std::string text =
        printable(path.string(), 1000) + ": cannot " + doing + ": " + std::generic_category().message(code);
    if (code == ENOSPC || code == EDQUOT) { text += " (the disk is full: free some space and run again)"; }
    throw Error(text);
}

GRAFT_INLINE Descriptor& Descriptor::operator=(Descriptor&& other) noexcept
{
    if (this != &other) {
        reset();
        number_ = std::exchange(other.number_, -1);
    }
    return *this;
}

GRAFT_INLINE int Descriptor::reset()
{
    const int number = std::exchange(number_, -1);
    return number >= 0 && ::close(number) != 0 ? errno : 0;
}

inline std::filesystem::path folder_of(const std::filesystem::path& path)
{
    return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE void sync_folder(const std::filesystem::path& folder)
{
    const detail::Descriptor descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!descriptor.open()) { detail::file_error(folder, "open the folder", errno); }
    // Some file systems cannot sync a folder and say EINVAL; there is nothing more to be done there.
    if (::fsync(descriptor.get()) != 0 && errno != EINVAL && errno != ENOTSUP) {
        detail::file_error(folder, "sync the folder", errno);
    }
}

GRAFT_INLINE AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path))
{
    require(path_.has_filename(), [&] { return printable(path_.string(), 1000) + ": not the name of a file"; });
    const std::string stem = path_.string() + ".partial-" + std::to_string(::getpid());
    for (int attempt = 0; !descriptor_.open(); ++attempt) {
        temporary_ = attempt == 0 ? stem : stem + "-" + std::to_string(attempt);
        descriptor_ = detail::Descriptor(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                                                S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH));
        if (!descriptor_.open() && (errno != EEXIST || attempt >= 1000)) {
            const int code = errno;
            temporary_.clear();
            detail::file_error(path_, "write", code);
        }
    }
    buffer_.reserve(buffer_size);
}

GRAFT_INLINE void AtomicFile::write(std::span<const std::byte> bytes)
{
    if (bytes.size() >= buffer_size) {
        flush();
        put(bytes);
    } else {
        if (buffer_.size() + bytes.size() > buffer_size) { flush(); }
        buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    }
}

GRAFT_INLINE void AtomicFile::commit()
{
    require(descriptor_.open(), "AtomicFile: committed twice, or after a failure");
    flush();
    if (::fsync(descriptor_.get()) != 0) { fail("write", errno); }
    if (const int code = descriptor_.reset(); code != 0) { fail("write", code); }
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) { fail("rename into place", errno); }
    temporary_.clear();
    sync_folder(detail::folder_of(path_));
}

GRAFT_INLINE void AtomicFile::flush()
{
    put(buffer_);
    buffer_.clear();
}

GRAFT_INLINE void AtomicFile::put(std::span<const std::byte> bytes)
{
    require(descriptor_.open(), "AtomicFile: written to after commit, or after a failure");
    while (!bytes.empty()) {
        const ssize_t done = ::write(descriptor_.get(), bytes.data(), bytes.size());
        if (done < 0 && errno == EINTR) { continue; }
        if (done <= 0) { fail("write", done < 0 ? errno : ENOSPC); }
        bytes = bytes.subspan(static_cast<std::size_t>(done));
    }
}

GRAFT_INLINE void AtomicFile::fail(const char* doing, int code)
{
    abandon();
    detail::file_error(path_, doing, code);
}

GRAFT_INLINE void AtomicFile::abandon() noexcept
{
    descriptor_.reset();
    if (!temporary_.empty()) { ::unlink(temporary_.c_str()); }
    temporary_.clear();
}

GRAFT_INLINE void write_file(const std::filesystem::path& path, std::string_view text)
{
    AtomicFile file(path);
    file.write(text);
    file.commit();
}

GRAFT_INLINE std::string read_file(const std::filesystem::path& path, std::size_t limit)
{
    const detail::Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!descriptor.open()) { detail::file_error(path, "open", errno); }
    struct stat status {};
    if (::fstat(descriptor.get(), &status) != 0) { detail::file_error(path, "read", errno); }
    require(!S_ISDIR(status.st_mode), [&] { return printable(path.string(), 1000) + ": a folder, not a file"; });

    const auto too_large = [&] {
        if (auto other = wrong_file(first_bytes(path), path, FileWanted::settings); !other.empty()) { return other; }
        return printable(path.string(), 1000) + ": larger than " + with_commas(static_cast<std::int64_t>(limit))
               + " bytes, the most that is read of such a file";
    };
    require(status.st_size < 0 || static_cast<std::size_t>(status.st_size) <= limit, too_large);
    std::string text;
    std::vector<char> block(std::size_t(1) << 16);
    for (;;) {
        const ssize_t got = ::read(descriptor.get(), block.data(), block.size());
        if (got < 0 && errno == EINTR) { continue; }
        if (got < 0) { detail::file_error(path, "read", errno); }
        if (got == 0) { return text; }
        text.append(block.data(), static_cast<std::size_t>(got));
        require(text.size() <= limit, too_large);
    }
}

}  // namespace graft
