#pragma once
#include "graft/checkpoint/merge/receipt.hpp"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

namespace graft {

GRAFT_INLINE MergeKind& MergeReceipt::of(const std::string& kind)
{
    const auto at = std::find_if(kinds.begin(), kinds.end(), [&](const MergeKind& k) { return k.kind == kind; });
    return at != kinds.end() ? *at : kinds.emplace_back(MergeKind{.kind = kind});
}

GRAFT_INLINE double MergeReceipt::max_error() const
{
    double most = 0;
    for (const MergeKind& k : kinds) { most = std::max(most, k.max_error); }
    return most;
}

GRAFT_INLINE std::string to_text(const MergeReceipt& receipt)
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

GRAFT_INLINE nlohmann::ordered_json to_json(const MergeReceipt& receipt)
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
