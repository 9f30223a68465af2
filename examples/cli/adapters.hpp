#pragma once
#include <algorithm>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "cli/finetune_options.hpp"
#include "graft/checkpoint/checkpoint.hpp"
#include "graft/checkpoint/merge/adapter_file.hpp"
#include "graft/io/text.hpp"
#include "graft/train/fingerprint.hpp"

// Adapters that are to be taken together, and whether they belong to a base and to each other: by the fingerprints that
// training leaves in the metadata of their files.
//
//   graft.base    base_fingerprint of what the adapter was trained over
//   graft.over    adapter_fingerprint of each adapter that was active, frozen, below it; with commas
namespace cli {

inline std::string short_hash(const std::string& hash) { return "sha256 " + graft::printable(hash.substr(0, 8)); }

struct GivenAdapters {
    std::vector<graft::AdapterFile> files;
    std::vector<std::string>        hashes;    // adapter_fingerprint of each
    std::vector<std::string>        notes;     // what could not be checked
};

// Throws: Error for one that is given twice, or that was trained over others that are not given.
inline GivenAdapters open_adapters(std::span<const std::string> folders, const graft::ModelConfig& config)
{
    GivenAdapters out;
    for (const std::string& folder : folders) {
        out.files.push_back(graft::AdapterFile::open(folder, config));
        out.hashes.push_back(graft::adapter_fingerprint(folder));
        graft::require(std::count(out.hashes.begin(), out.hashes.end(), out.hashes.back()) == 1,
                       [&] { return graft::printable(folder, 1000) + ": is given twice"; });
    }
    for (const auto& file : out.files) {
        for (const std::string& below : split_names(file.metadata("graft.over"))) {
            const bool given = std::find(out.hashes.begin(), out.hashes.end(), below) != out.hashes.end();
            graft::require(given, [&] {
                const std::string name = graft::printable(file.folder().string(), 1000);
                return name + ": was trained over another adapter (" + short_hash(below)
                     + "), without which it means nothing: give both, --adapter OTHER," + name;
            });
        }
    }
    return out;
}

// Throws: Error for an adapter that was trained over another base than this one.
inline void require_base(GivenAdapters& given, const std::string& model, const std::string& hash)
{
    for (const auto& file : given.files) {
        const std::string name = graft::printable(file.folder().string(), 1000), base = file.metadata("graft.base");
        if (base.empty()) {
            given.notes.push_back(name + ": does not say which base it was trained over (other programs write no "
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

}  // namespace cli
