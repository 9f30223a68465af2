#pragma once
#include "graft/train/fingerprint.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "graft/checkpoint/checkpoint.hpp"
#include "graft/core/parallel.hpp"
#include "graft/io/hash.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/text/dataset/example.hpp"

namespace graft {

GRAFT_INLINE std::string data_fingerprint(std::span<const Example> examples)
{
    Sha256 hash;
    hash.add(std::int64_t(examples.size()));
    for (const Example& example : examples) {
        hash.add(std::int64_t(example.ids.size()));
        hash.add(std::as_bytes(std::span(example.ids)));
        hash.add(std::as_bytes(std::span(example.labels)));
    }
    return hash.hex();
}

GRAFT_INLINE std::string base_fingerprint(const Checkpoint& checkpoint)
{
    std::vector<const StoredTensor*> tensors;
    std::int64_t bytes = 0;
    for (const auto* some : {&checkpoint.tensors(), &checkpoint.passed_over()}) {
        for (const auto& entry : *some) {
            tensors.push_back(entry.second);
            bytes += std::int64_t(entry.second->bytes.size());
        }
    }
    std::sort(tensors.begin(), tensors.end(), [](const auto* a, const auto* b) { return a->name < b->name; });
    std::vector<std::string> hashes(tensors.size());
    parallel_for(std::int64_t(tensors.size()), bytes, [&](std::int64_t i, int) {
        const StoredTensor& tensor = *tensors[std::size_t(i)];
        Sha256 hash;
        hash.add(std::string(stored_name(tensor.type)) + " " + shape_text(tensor.shape) + " " + tensor.name + "\n");
        hash.add(tensor.bytes);
        hashes[std::size_t(i)] = hash.hex();
    });
    Sha256 hash;
    hash.add(hash_file(checkpoint.folder() / "config.json").sha256);
    for (const std::string& one : hashes) { hash.add(one); }
    return hash.hex();
}

GRAFT_INLINE std::string adapter_fingerprint(const std::filesystem::path& folder)
{
    return sha256(hash_file(folder / "adapter_config.json").sha256
                  + hash_file(folder / "adapter_model.safetensors").sha256);
}

}  // namespace graft
