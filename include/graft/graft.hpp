#pragma once

// The table of contents: every public header, in the order in which a training step meets them. Kernels are not among
// them: include graft/cpu.hpp, or graft/cuda.cuh in a file compiled by nvcc. checkpoint, text and train need
// nlohmann/json and PCRE2 and are included by whoever uses them.
#include "graft/version.hpp"

// In the order in which they are read.
// clang-format off

// core: values
#include "graft/core/dtype.hpp"       // bf16, f16, f32, f64; acc<T>
#include "graft/core/shape.hpp"       // Shape<dyn, 576>
#include "graft/core/error.hpp"       // require, Error
#include "graft/core/device.hpp"      // Cpu, Cuda; kernel<Op, Device>
#include "graft/core/machine.hpp"     // what this processor can do; Variants
#include "graft/core/parallel.hpp"    // parallel_for: the only place that knows of threads
#include "graft/core/random.hpp"      // Philox
#include "graft/core/labels.hpp"      // ignore
#include "graft/core/buffer.hpp"      // pools and the memory that they hand out
#include "graft/core/view.hpp"        // all that a kernel sees
#include "graft/core/tensor.hpp"      // Tensor, Acts, lazy gradients

// autograd: what was done, so that it can be undone
#include "graft/autograd/tape.hpp"         // a list of backward steps
#include "graft/autograd/param.hpp"        // Param (trained) and Frozen
#include "graft/autograd/recompute.hpp"    // forget a block's activations, run it again

// ops: the maths
#include "graft/ops/context.hpp"    // positions, documents, cache, random key
#include "graft/ops/add.hpp"
#include "graft/ops/attention.hpp"
#include "graft/ops/cross_entropy.hpp"
#include "graft/ops/dropout.hpp"
#include "graft/ops/embedding.hpp"
#include "graft/ops/gather_rows.hpp"
#include "graft/ops/linear_cross_entropy.hpp"
#include "graft/ops/linear_log_probs.hpp"
#include "graft/ops/lora_embedding.hpp"
#include "graft/ops/lora.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/nf4_matmul.hpp"
#include "graft/ops/qkv.hpp"
#include "graft/ops/rms_norm.hpp"
#include "graft/ops/rope.hpp"
#include "graft/ops/silu_mul.hpp"
#include "graft/ops/swiglu_mlp.hpp"

// nn: parameters and ops
#include "graft/nn/visit.hpp"         // walks parts()
#include "graft/nn/trained.hpp"       // every Param by its name
#include "graft/nn/linear.hpp"        // Linear, FrozenLinear
#include "graft/nn/nf4_linear.hpp"    // Nf4Linear
#include "graft/nn/lora.hpp"          // Lora over either
#include "graft/nn/embedding.hpp"     // Table: embedding and head
#include "graft/nn/rms_norm.hpp"      // RmsNorm
#include "graft/nn/rope.hpp"          // rope_table
#include "graft/nn/any.hpp"           // layers whose kind is chosen at run time
#include "graft/nn/clone.hpp"         // a model with memory of its own
#include "graft/nn/init.hpp"          // starting values of a model made from nothing

// models, and what updates them
#include "graft/models/config.hpp"      // sizes of a model
#include "graft/models/adapter_config.hpp"    // settings of the adapter on it
#include "graft/models/rope.hpp"        // angles of positions, scaled for long documents
#include "graft/models/llama.hpp"       // Llama, SmolLM, Mistral, Qwen2
#include "graft/models/any.hpp"         // the model of a program
#include "graft/models/generate.hpp"    // text from a model
#include "graft/optim/adamw.hpp"
#include "graft/optim/clip.hpp"
#include "graft/optim/schedule.hpp"
// clang-format on
