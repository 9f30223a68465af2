#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/models/config.hpp"

// The names that a checkpoint gives to the parts of a model, from its config alone, in the order of the model.
//
//   linear_modules(c)       every linear of the blocks: model.layers.0.self_attn.q_proj, …; without the head
//   module_names(c)         every module with a name, containers too, as the reference walks them: what adapter targets
//                           are matched against
//   checkpoint_tensors(c)   every tensor that a dense checkpoint holds, with its shape; no lm_head.weight where tied
//
// Weights of linears are (out, in). Throws: nothing. Source: huggingface/transformers,
// modeling_{llama,mistral,qwen2}.py.
namespace graft {

struct LinearInfo {
    std::string name;
    std::int64_t in = 0, out = 0;
    bool bias = false;
};

enum class ModuleKind : std::uint8_t { linear, embedding, head, other };

struct ModuleInfo {
    std::string name;
    ModuleKind kind = ModuleKind::other;
    std::int64_t in = 0, out = 0;  // linear, head; embedding: vocab, dim
    bool bias = false;
};

enum class TensorKind : std::uint8_t { embedding, attention, mlp, norm, bias, head };

struct TensorInfo {
    std::string name;
    std::vector<std::int64_t> shape;
    TensorKind kind = TensorKind::norm;
};

std::vector<ModuleInfo> module_names(const ModelConfig& c);

std::vector<LinearInfo> linear_modules(const ModelConfig& c);

std::vector<TensorInfo> checkpoint_tensors(const ModelConfig& c);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/modules.ipp"
#endif
