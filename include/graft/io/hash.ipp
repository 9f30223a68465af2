#pragma once
#include "graft/io/hash.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <filesystem>
#include <openssl/evp.h>
#include <span>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/io/atomic_file.hpp"
#include "graft/io/text.hpp"

namespace graft {

GRAFT_INLINE Sha256::Sha256() : context_(EVP_MD_CTX_new())
{
    require(context_ != nullptr && EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1,
            "SHA-256 cannot be had from OpenSSL");
}

GRAFT_INLINE void Sha256::add(std::span<const std::byte> bytes)
{
    require(EVP_DigestUpdate(context_, bytes.data(), bytes.size()) == 1, "SHA-256: OpenSSL refused the bytes");
}

GRAFT_INLINE void Sha256::add(std::int64_t number)
{
    std::byte bytes[8];
    for (int i = 0; i < 8; ++i) { bytes[i] = std::byte(std::uint64_t(number) >> (8 * i) & 0xFF); }
    add(std::span<const std::byte>(bytes));
}

GRAFT_INLINE std::string Sha256::hex()
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    require(EVP_DigestFinal_ex(context_, digest, &length) == 1, "SHA-256: OpenSSL could not end the hash");
    std::string out;
    for (unsigned i = 0; i < length; ++i) {
        out += "0123456789abcdef"[digest[i] >> 4];
        out += "0123456789abcdef"[digest[i] & 15];
    }
    return out;
}

GRAFT_INLINE std::string sha256(std::string_view text)
{
    Sha256 hash;
    hash.add(text);
    return hash.hex();
}

GRAFT_INLINE FileHash hash_file(const std::filesystem::path& path)
{
    const detail::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file.open()) { detail::file_error(path, "open", errno); }
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) { detail::file_error(path, "read", errno); }
    require(S_ISREG(status.st_mode), [&] { return printable(path.string(), 1000) + ": not a regular file"; });
    Sha256 hash;
    FileHash out;
    std::vector<std::byte> block(std::size_t(1) << 20);
    for (;;) {
        const ssize_t got = ::read(file.get(), block.data(), block.size());
        if (got < 0 && errno == EINTR) { continue; }
        if (got < 0) { detail::file_error(path, "read", errno); }
        if (got == 0) { break; }
        hash.add(std::span<const std::byte>(block).first(std::size_t(got)));
        out.bytes += got;
    }
    out.sha256 = hash.hex();
    return out;
}

}  // namespace graft
