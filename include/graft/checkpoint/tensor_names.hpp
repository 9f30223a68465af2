#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "graft/core/inline.hpp"

// What a name that a file gives to a tensor means, whoever wrote the file.
//
//   model_name("module.model.layers.0.mlp.up_proj.weight")    "model.layers.0.mlp.up_proj.weight": the name in the
//   model is_buffer(name)        rotary angles, masks, positions: computed anew by every model, never trained
//   is_other_head(name)    score, classifier, v_head, …: what another task has in the place of lm_head
//
// Understood, because only one tensor can be meant:
//   layers.0.…, embed_tokens.…, norm.…    without "model.", as a model that is saved without its head has them
//   PREFIX.model.layers.0.…, PREFIX.lm_head.…    where each part of PREFIX is the word of a wrapper: module (DDP,
//                                         DeepSpeed), model (Lightning), base_model (PEFT), and the like
//   _orig_mod, _fsdp_wrapped_module, _checkpoint_wrapped_module, _forward_module    anywhere: torch.compile, FSDP,
//                                         activation checkpoints, DeepSpeed
// Any other name is returned as it is, for a reader to refuse. That two tensors of a file mean the same is for the
// reader to notice too.
//
// Throws: nothing. Sources: torch (nn/parallel, distributed/fsdp, _dynamo/eval_frame.py), huggingface/transformers 5.24
// (core_model_loading.py, rename_source_key), huggingface/trl (models/modeling_value_head.py).
namespace graft {

namespace detail {

bool is_number(std::string_view part);

}  // namespace detail

std::string model_name(std::string_view stored);

// shape and type decide about a mask, which shares its name with the biases of other models.
bool is_buffer(std::string_view name, std::size_t axes = 0, bool logical = false);

bool is_other_head(std::string_view name);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/tensor_names.ipp"
#endif
