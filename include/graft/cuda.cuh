#pragma once
#include "graft/graft.hpp"

// graft.hpp and all CUDA kernels. Needs nvcc, and cuBLASLt when linking.
#include "graft/core/cuda.cuh"
#include "graft/ops/add/cuda.cuh"
#include "graft/ops/cross_entropy/cuda.cuh"
#include "graft/ops/lora/cuda.cuh"
#include "graft/ops/matmul/cuda.cuh"
#include "graft/ops/nf4_matmul/cuda.cuh"
#include "graft/ops/rms_norm/cuda.cuh"
