#pragma once
#include <cstdio>
#include <string>
#include <vector>

#include "cli/merge_compare.hpp"
#include "graft/checkpoint/merge.hpp"
#include "graft/io/text.hpp"

// The receipt of a merge: what the programs print, and merge.json in the folder.
namespace cli {

inline std::string receipt_text(const graft::MergeReceipt& receipt, const std::string& model,
                                const std::vector<std::string>& adapters, const std::string& output)
{
    std::string text = "merging " + graft::name_list(adapters) + " into " + graft::printable(model, 300) + ": "
                       + std::to_string(receipt.merged) + " of " + std::to_string(receipt.tensors) + " tensors; "
                       + graft::printable(output, 300) + " is " + (receipt.requantized ? "NF4" : receipt.dtype) + ", "
                       + graft::with_commas(receipt.bytes) + " bytes\n";
    if (receipt.dequantized) {
        text += "the base is NF4: its weights were decoded and are written as " + receipt.dtype
                + " (--dtype f32 rounds less, --requantize writes NF4 again)\n";
    }
    if (receipt.requantized) {
        text += "NF4 again: the update is now as coarse as 4 bits are; the errors below say how much of it is left\n";
    }
    return text + graft::to_text(receipt);
}

inline std::string receipt_json(const graft::MergeReceipt& receipt, const std::string& model, const std::string& base,
                                const std::vector<std::string>& adapters, const std::vector<std::string>& hashes,
                                const std::vector<Comparison>& compared)
{
    nlohmann::ordered_json out = {{"model", model}, {"model_fingerprint", base}};
    out["adapters"] = nlohmann::ordered_json::array();
    for (std::size_t i = 0; i < adapters.size(); ++i) {
        out["adapters"].push_back({{"folder", adapters[i]}, {"fingerprint", hashes[i]}});
    }
    out["weights"] = to_json(receipt);
    out["prompts"] = nlohmann::ordered_json::array();
    for (const auto& one : compared) { out["prompts"].push_back(to_json(one)); }
    return out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace cli
