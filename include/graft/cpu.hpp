#pragma once
#include "graft/graft.hpp"

// graft.hpp and all CPU kernels.
#include "graft/nn/trained/cpu.hpp"
#include "graft/ops/add/cpu.hpp"
#include "graft/ops/attention/cpu.hpp"
#include "graft/ops/cross_entropy/cpu.hpp"
#include "graft/ops/dropout/cpu.hpp"
#include "graft/ops/embedding/cpu.hpp"
#include "graft/ops/linear_cross_entropy/cpu.hpp"
#include "graft/ops/lora/cpu.hpp"
#include "graft/ops/matmul/cpu.hpp"
#include "graft/ops/nf4_matmul/cpu.hpp"
#include "graft/ops/rms_norm/cpu.hpp"
#include "graft/ops/rope/cpu.hpp"
#include "graft/ops/silu_mul/cpu.hpp"
#include "graft/optim/adamw/cpu.hpp"
#include "graft/optim/clip/cpu.hpp"
