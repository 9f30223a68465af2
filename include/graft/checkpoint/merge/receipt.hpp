#pragma once
#include <cmath>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/io/text.hpp"

// What merging has done to the weights: by kind of module (q_proj, …, embed_tokens), how far what was written is from
// the exact value, and how large the update is that the adapters made.
namespace graft {

struct MergeKind {
    std::string kind;
    std::int64_t tensors = 0, merged = 0, elements = 0;  // merged: tensors that an adapter sits on
    double max_error = 0, sum_error = 0, max_update = 0, sum_update = 0;

    double mean_error() const { return elements == 0 ? 0 : sum_error / double(elements); }
    double mean_update() const { return elements == 0 ? 0 : sum_update / double(elements); }
};

struct MergeReceipt {
    std::vector<MergeKind> kinds;  // in the order of the model
    std::string dtype;             // what config.json says: float32, bfloat16, float16
    bool dequantized = false;      // an NF4 base was written dense
    bool requantized = false;      // … or in NF4 again
    bool untied = false;           // the head is no longer the embedding
    std::int64_t tensors = 0, merged = 0, bytes = 0;

    MergeKind& of(const std::string& kind);
    double max_error() const;
};

// A table: kinds that an adapter sits on or that were rounded.
std::string to_text(const MergeReceipt& receipt);

nlohmann::ordered_json to_json(const MergeReceipt& receipt);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/merge/receipt.ipp"
#endif
