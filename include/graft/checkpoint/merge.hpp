#pragma once
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "graft/checkpoint/merge/receipt.hpp"
#include "graft/checkpoint/merge/stored_adapter.hpp"
#include "graft/checkpoint/merge/value.hpp"
#include "graft/core/inline.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/models/config.hpp"

// Adapters into their base: a checkpoint that stands alone, W' = W + sum over adapters of s B A.
//
//   const auto adapter = StoredAdapter::open(adapter_folder, read_config(base));
//   const auto receipt = merge_adapter(base, {&adapter, 1}, folder, {.type = StoredType::bf16});
//
//   merge_adapter      weights, tokeniser's and generation files, config.json last: it makes the folder count
//   merge_weights      model.safetensors alone; finish_checkpoint(base, folder, merged_config(base, receipt)) is the
//                      rest
//
// From files to files: one tensor after the other, some rows at a time; memory holds the factors of one tensor (and,
// for requantize, the new scales of all). Each value is made in f64 (merge/value.hpp) and rounded once. Several
// adapters are those that were active together: their branches add.
//
//   type         of every dense tensor written; without it each keeps the type that it has, and 4-bit weights take
//                the type that they were quantised from (quant_state.dtype)
//   requantize   weights of an NF4 base become NF4 again, with their block size, scales nested or not as they were;
//                those without an adapter keep their bytes. Rounded to f32, then quantised. Otherwise an NF4 base is
//                written dense, and quantization_config goes.
//
// Throws: Error, and nothing stays in the folder: tensors that the config does not ask for, or of another shape; a head
// that differs from the embedding it is tied to; values that are not finite, or too large for the type; requantize with
// a dense base or with type; whatever StoredAdapter::open refuses.
namespace graft {

struct MergeOptions {
    std::optional<StoredType> type{};
    bool requantize = false;
};

namespace detail {

std::string dtype_name(StoredType type);

// The tensors of the base are those of its config, of the shapes that it gives.
void check_base(const MergeBase& base, const ModelConfig& config);

}  // namespace detail

MergeReceipt merge_weights(const std::filesystem::path& base, std::span<const StoredAdapter> adapters,
                           const std::filesystem::path& folder, const MergeOptions& options = {});

// The text of the result's config.json.
std::string merged_config(const std::filesystem::path& base, const MergeReceipt& receipt);

MergeReceipt merge_adapter(const std::filesystem::path& base, std::span<const StoredAdapter> adapters,
                           const std::filesystem::path& folder, const MergeOptions& options = {});

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/merge.ipp"
#endif
