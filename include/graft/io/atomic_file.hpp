#pragma once
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"

// A file that appears whole or not at all.
//
//   AtomicFile file(path);     opens PATH.partial-PID beside it
//   file.write(bytes);         any number of times; gathered in a buffer of 1 MiB
//   file.commit();             flush, fsync, rename over PATH, fsync of the folder
//
// Until commit returns, PATH is as it was; a kill at any instant leaves the old file or the new one. An object
// destroyed without commit removes its temporary file. What a kill leaves behind is named PATH.partial-… and is never
// read.
//
// write_file(path, text) does all of this for a text. read_file(path, limit) reads a file whole.
// sync_folder(path) makes renames in a folder lasting.
//
// Throws: Error that names the file and the system's reason (no such folder, not writable, disk full, too large).
// POSIX only.
namespace graft {

namespace detail {

[[noreturn]] void file_error(const std::filesystem::path& path, const char* doing, int code);

// Owns a file descriptor.
class Descriptor {
public:
    Descriptor() = default;
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept;
    ~Descriptor() { reset(); }

    int get() const { return number_; }
    bool open() const { return number_ >= 0; }
    // 0, or the error that close reports (some file systems report a full disk only here).
    int reset();

private:
    int number_ = -1;
};

}  // namespace detail

void sync_folder(const std::filesystem::path& folder);

class AtomicFile {
public:
    explicit AtomicFile(std::filesystem::path path);
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;
    ~AtomicFile() { abandon(); }

    void write(std::span<const std::byte> bytes);
    void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

    void commit();

    const std::filesystem::path& path() const { return path_; }

private:
    static constexpr std::size_t buffer_size = std::size_t(1) << 20;

    void flush();
    void put(std::span<const std::byte> bytes);
    [[noreturn]] void fail(const char* doing, int code);
    void abandon() noexcept;

    std::filesystem::path path_;
    std::string temporary_;
    detail::Descriptor descriptor_;
    std::vector<std::byte> buffer_;
};

void write_file(const std::filesystem::path& path, std::string_view text);

std::string read_file(const std::filesystem::path& path, std::size_t limit);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/io/atomic_file.ipp"
#endif
