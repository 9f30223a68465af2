#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

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

    MergeKind& of(const std::string& kind)
    {
        const auto at = std::find_if(kinds.begin(), kinds.end(), [&](const MergeKind& k) { return k.kind == kind; });
        return at != kinds.end() ? *at : kinds.emplace_back(MergeKind{.kind = kind});
    }
    double max_error() const
    {
        double most = 0;
        for (const MergeKind& k : kinds) { most = std::max(most, k.max_error); }
        return most;
    }
};

// A table: kinds that an adapter sits on or that were rounded.
inline std::string to_text(const MergeReceipt& receipt)
{
    char line[160];
    std::snprintf(line, sizeof line, "%-26s %9s %12s %12s %12s %12s\n", "weights as written", "merged", "max error",
                  "mean error", "max update", "mean update");
    std::string out = line;
    for (const MergeKind& k : receipt.kinds) {
        if (k.merged == 0 && k.max_error == 0) { continue; }
        const std::string merged = std::to_string(k.merged) + "/" + std::to_string(k.tensors);
        std::snprintf(line, sizeof line, "  %-24s %9s %12.3g %12.3g %12.3g %12.3g\n", k.kind.c_str(), merged.c_str(),
                      k.max_error, k.mean_error(), k.max_update, k.mean_update());
        out += line;
    }
    return out;
}

inline nlohmann::ordered_json to_json(const MergeReceipt& receipt)
{
    nlohmann::ordered_json kinds = nlohmann::ordered_json::array();
    for (const MergeKind& k : receipt.kinds) {
        kinds.push_back({{"kind", k.kind},
                         {"tensors", k.tensors},
                         {"merged", k.merged},
                         {"elements", k.elements},
                         {"max_error", k.max_error},
                         {"mean_error", k.mean_error()},
                         {"max_update", k.max_update},
                         {"mean_update", k.mean_update()}});
    }
    return {{"dtype", receipt.dtype},
            {"dequantized", receipt.dequantized},
            {"requantized", receipt.requantized},
            {"tensors", receipt.tensors},
            {"merged", receipt.merged},
            {"bytes", receipt.bytes},
            {"kinds", kinds}};
}

}  // namespace graft
