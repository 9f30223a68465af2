#pragma once
#include <string>
#include <string_view>

#include "graft/core/inline.hpp"
#include "graft/io/json_file.hpp"
#include "graft/models/config.hpp"

// Rotary positions as config.json says them, and as an option may.
//
//   read_rope(json, config, where)        rope_scaling + rope_theta, or rope_parameters; head_dim and max_positions of
//                                         config are known by then
//   name_scaling(config, "yarn:4")        lays a scaling over a config that has none: longer documents than the model
//                                         was trained on
//   has_scaling(config, "yarn:4")         whether that would change nothing, as the config has it
//   write_rope(json, config)              the named scaling into a config.json that is to be saved
//   scaling_text(config)                  "yarn, factor 4, from 2048 to 8192 positions", or ""
//
//   type        fields; [in brackets] those that may be absent
//   default
//   linear      factor
//   dynamic     factor
//   llama3      factor, low_freq_factor, high_freq_factor, [original_max_position_embeddings]
//   yarn        factor, [original_max_position_embeddings, attention_factor, mscale and mscale_all_dim, beta_fast,
//               beta_slow, truncate]
//   longrope    short_factor, long_factor, [original_max_position_embeddings, attention_factor, factor]
//
// The type is rope_type or type; "su", and "yarn" with lists of factors, are old names of longrope. An original_…
// beside the object wins over the one in it; where it is nowhere, it is max_position_embeddings. A factor of yarn that
// is null is max_position_embeddings / original_max_position_embeddings. Zero and null betas and mscales count as
// absent; beta_fast is 32, beta_slow 1. Without an attention_factor, yarn takes
// g(factor, mscale) / g(factor, mscale_all_dim), or g(factor, 1), with g(s, m) = 1 + 0.1 m ln s for s > 1, else 1;
// longrope takes sqrt(1 + ln s / ln O), or 1 for s <= 1, with s = factor, or max_position_embeddings / O.
//
// A named scaling is linear, dynamic, yarn or llama3 and a factor above 1. What it writes is read by others as it is
// here: linear and dynamic leave max_position_embeddings, yarn and llama3 make it the original and multiply it.
//
// Throws: Error of one line, "FILE: rope_scaling: FIELD must be …".
// Source: huggingface/transformers 5, modeling_rope_utils.py; what a scaling covers as vllm derives it.
namespace graft {

namespace detail {

// An object that is there and not empty.
const OrderedJson* object_of(const OrderedJson& json, const char* key, const std::string& where);

}  // namespace detail

RopeSettings read_rope(const OrderedJson& json, const ModelConfig& config, const std::string& where);

std::string scaling_text(const ModelConfig& config);

// KIND:FACTOR over a config without scaling. The same over one that has just that changes nothing.
void name_scaling(ModelConfig& config, const std::string& named);

bool has_scaling(ModelConfig config, const std::string& named);

void write_rope(OrderedJson& json, const ModelConfig& config);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/rope_config.ipp"
#endif
