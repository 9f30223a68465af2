#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/models/adapter_config.hpp"
#include "graft/models/config.hpp"

// adapter_config.json, the settings of a LoRA adapter as PEFT writes and reads them.
//
//   read_adapter_config(path)                  path: the file, or the folder that holds it
//   write_adapter_config(path, config, model)  keys sorted, indented by 2, every field of PEFT 0.21, on disk whole or
//                                              not at
//                                              all; "all-linear" is written as the list of module names
//   adapter_targets(config, model)             which modules, with rank and scale (adapter_config/targets.hpp)
//
// Plain LoRA on linears is read: r, lora_alpha (whole or not), lora_dropout, use_rslora, target_modules (list, regular
// expression, "all-linear", absent), exclude_modules, rank_pattern, alpha_pattern, layers_to_transform, layers_pattern,
// init_lora_weights true, false, "gaussian", "eva", "orthogonal" or "mica", which leave the base as it is (and are
// written as true once the adapter goes on); modules_to_save, for embedding, head and norms, and ensure_weight_tying
// for them (adapter_config/saved_modules.hpp); trainable_token_indices of the
// embedding. Fields without effect are ignored; unknown ones may be there as long as
// they are null, false, 0 or empty.
//
// Refused, with an Error of one line that names file and field: another peft_type; use_dora, lora_bias, bias other than
// none, trainable_token_indices of another module, fan_in_fan_out; initialisations that
// change the base model (pissa, olora, corda, loftq, lora_ga) or may do so; another task_type; any other or unknown
// field that is set; layers_to_transform or layers_pattern with a text as target_modules; layers_pattern without
// layers_to_transform; r below 1, dropout outside [0, 1). Writing is refused where patterns overlap so that PEFT's
// sorting of their keys would give a module another value. Source: huggingface/peft 0.21,
// src/peft/tuners/lora/config.py, src/peft/config.py.
namespace graft {

namespace detail {

inline constexpr std::int64_t most_rank = 65536;

nlohmann::json number_json(double value);

}  // namespace detail

AdapterConfig parse_adapter_config(std::string_view text, const std::string& where);

AdapterConfig read_adapter_config(const std::filesystem::path& path);

// What write_adapter_config writes.
std::string adapter_config_text(const AdapterConfig& config, const ModelConfig& model, const std::string& where);

void write_adapter_config(const std::filesystem::path& path, const AdapterConfig& config, const ModelConfig& model);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/adapter_config.ipp"
#endif
