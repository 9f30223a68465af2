#pragma once
#include "graft/train/adapter_stack.hpp"

#include <algorithm>
#include <cstddef>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/io/hash.hpp"
#include "graft/io/safetensors.hpp"
#include "graft/io/text.hpp"
#include "graft/train/fingerprint.hpp"

namespace graft {

GRAFT_INLINE std::map<std::string, std::string> stack_metadata(std::span<const std::filesystem::path> folders)
{
    std::string hashes;
    for (const auto& folder : folders) { hashes += (hashes.empty() ? "" : ",") + adapter_fingerprint(folder); }
    if (hashes.empty()) { return {}; }
    return {{trained_over_key, hashes}};
}

GRAFT_INLINE std::string stack_fingerprint(std::span<const std::filesystem::path> folders)
{
    std::string hashes;
    for (const auto& folder : folders) { hashes += adapter_fingerprint(folder); }
    return folders.size() == 1 ? hashes : sha256(hashes);
}

GRAFT_INLINE std::vector<std::string> trained_over(const std::filesystem::path& folder)
{
    std::vector<std::string> out;
    const auto path = folder / "adapter_model.safetensors";
    if (!std::filesystem::exists(path)) { return out; }
    const auto file = SafetensorsFile::open(path);
    const auto at = file.metadata().find(trained_over_key);
    if (at == file.metadata().end()) { return out; }
    for (std::size_t begin = 0; begin <= at->second.size();) {
        const std::size_t end = std::min(at->second.find(',', begin), at->second.size());
        out.push_back(at->second.substr(begin, end - begin));
        const std::string& one = out.back();
        const bool hash = one.size() == 64 && one.find_first_not_of("0123456789abcdef") == std::string::npos;
        require(hash, [&] {
            return printable(path.string(), 1000) + ": metadata " + trained_over_key + " is "
                   + printable(at->second, 100) + ", expected SHA-256 hashes of adapters with commas between them";
        });
        begin = end + 1;
    }
    return out;
}

GRAFT_INLINE void require_stack(const std::filesystem::path& folder, std::span<const std::filesystem::path> given,
                                const std::string& how)
{
    const auto over = trained_over(folder);
    if (over.empty()) { return; }
    std::vector<std::string> have, missing;
    for (const auto& one : given) { have.push_back(adapter_fingerprint(one)); }
    for (const auto& hash : over) {
        const bool given_here = std::find(have.begin(), have.end(), hash) != have.end();
        if (!given_here) { missing.push_back("sha256 " + hash.substr(0, 8)); }
    }
    require(missing.empty(), [&] {
        return printable(folder.string(), 1000) + ": was trained over "
               + (over.size() == 1 ? "another adapter" : std::to_string(over.size()) + " other adapters")
               + " and means nothing without " + (over.size() == 1 ? "it" : "them")
               + "; not given, or changed since: " + name_list(missing) + "; " + how;
    });
}

}  // namespace graft
