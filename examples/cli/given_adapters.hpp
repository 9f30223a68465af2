#pragma once
#include <algorithm>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "cli/finetune_options.hpp"
#include "graft/checkpoint/checkpoint.hpp"
#include "graft/checkpoint/merge/stored_adapter.hpp"
#include "graft/io/hash.hpp"
#include "graft/io/text.hpp"
#include "graft/train/adapter_stack.hpp"
#include "graft/train/fingerprint.hpp"

// Adapters that are to be taken together, and whether they belong to a base and to each other: by the fingerprints that
// training leaves in the metadata of their files.
//
//   graft.base    base_fingerprint of what the adapter was trained over
//   graft.over    adapter_fingerprint of each adapter that was active, frozen, below it; with commas
namespace cli {

inline std::string short_hash(const std::string& hash) { return "sha256 " + graft::printable(hash.substr(0, 8)); }

struct GivenAdapters {
    std::vector<graft::StoredAdapter> files;
    std::vector<std::string> hashes;  // adapter_fingerprint of each
    std::vector<std::string> notes;   // what could not be checked
};

// Throws: Error for one that is given twice, or that was trained over others that are not given; `how` they are given
// ends the message.
inline GivenAdapters open_adapters(std::span<const std::string> folders, const graft::ModelConfig& config,
                                   const std::string& how)
{
    GivenAdapters out;
    for (const std::string& folder : folders) {
        out.files.push_back(graft::StoredAdapter::open(folder, config));
        out.hashes.push_back(graft::adapter_fingerprint(folder));
        graft::require(std::count(out.hashes.begin(), out.hashes.end(), out.hashes.back()) == 1,
                       [&] { return graft::printable(folder, 1000) + ": is given twice"; });
    }
    const std::vector<std::filesystem::path> all(folders.begin(), folders.end());
    for (const auto& folder : all) { graft::require_stack(folder, all, how); }
    return out;
}

// Throws: Error for an adapter that was trained over another base than this one.
inline void require_base(GivenAdapters& given, const std::string& model, const std::string& hash)
{
    for (const auto& file : given.files) {
        const std::string name = graft::printable(file.folder().string(), 1000), base = file.metadata("graft.base");
        if (base.empty()) {
            given.notes.push_back(name
                                  + ": does not say which base it was trained over (other programs write no "
                                    "graft.base): taken as it is");
            continue;
        }
        graft::require(base == hash, [&] {
            return name + ": was trained over another base: " + short_hash(base) + ", and "
                   + graft::printable(model, 1000) + " is " + short_hash(hash)
                   + "; name the model that it was trained over with --model";
        });
    }
}

// What --merge-adapter merges, in words and as a hash: the adapters, and the type of the result.
inline std::string merged_text(const FinetuneOptions& o)
{
    return joined_names(o.merge_adapter) + (o.given.contains("dtype") ? " in " + o.dtype : "");
}
inline std::string merged_hash(const FinetuneOptions& o)
{
    const std::vector<std::filesystem::path> folders(o.merge_adapter.begin(), o.merge_adapter.end());
    return graft::sha256(graft::stack_fingerprint(folders) + (o.given.contains("dtype") ? " in " + o.dtype : ""));
}

}  // namespace cli
