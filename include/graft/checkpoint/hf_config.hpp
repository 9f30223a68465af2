#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/models/config.hpp"

// config.json of a Hugging Face checkpoint → ModelConfig.
//
//   read_config(path)              path: the file, or the folder that holds it
//   eos_ids(folder)                where generation stops: generation_config.json, else config.json
//   config_text(folder)            the file as it is, for a copy
//   config_text(folder, "float32", config)
//                                  the same with dtype / torch_dtype set, quantization_config removed and a named
//                                  rotary scaling of config written, for a full checkpoint that is saved
//
// Both spellings are read: rope_theta + rope_scaling + torch_dtype (transformers 4), and rope_parameters + dtype
// (transformers 5). rope_parameters wins over a top-level rope_theta; scaling given in both and not alike is refused.
// The family is model_type, or architectures[0] where that is absent.
//
//   absent field              meaning
//   num_key_value_heads       as num_attention_heads
//   head_dim                  hidden_size / num_attention_heads
//   rms_norm_eps              1e-6
//   rope_theta                10000
//   tie_word_embeddings       false
//   max_position_embeddings   2048 llama, 131072 mistral, 32768 qwen2
//   sliding_window            mistral: 4096 (null: none); qwen2: none unless use_sliding_window; llama: none
//   biases                    llama: attention_bias (q, k, v, o) and mlp_bias; qwen2: q, k, v; mistral: none
//
// Rotary scalings are read by checkpoint/rope_config.hpp.
//
// Refused, with an Error of one line that names the file and the field: other families, other activations, unknown
// rotary scalings, partial rotary, pretraining_tp > 1, sizes that do not divide or are out of range, quantisation other
// than bitsandbytes NF4.
// Source: huggingface/transformers, configuration_{llama,mistral,qwen2}.py.
namespace graft {

// From a text that is already there; where is named in errors.
ModelConfig parse_config(std::string_view text, const std::string& where);

ModelConfig read_config(const std::filesystem::path& path);

std::vector<std::int64_t> eos_ids(const std::filesystem::path& folder);

std::string config_text(const std::filesystem::path& folder);

// dtype: float32, float16 or bfloat16.
std::string config_text(const std::filesystem::path& folder, const std::string& dtype, const ModelConfig& config = {});

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/hf_config.ipp"
#endif
