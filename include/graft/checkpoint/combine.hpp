#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graft/checkpoint/merge/stored_adapter.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/inline.hpp"
#include "graft/core/tensor.hpp"
#include "graft/io/safetensors.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/safetensors/write.hpp"
#include "graft/models/adapter_config.hpp"
#include "graft/models/config.hpp"

// Adapters into another adapter, without their base: only its config is needed, for the names of its modules.
//
//   grow_rank(adapter, 64, config)             the same function in more dimensions, to be trained on
//   concat_adapters(first, second, config)     the sum of both
//   write_adapter(combined, folder, config)    in PEFT's form; adapter_config.json last
//
// grow_rank: A gets rows of zeros, B columns of zeros, in the type that they have; every module has the new rank, so
// rank_pattern goes. The scale of each module stays the same to the bit: alpha is the number with alpha / rank (or
// alpha / sqrt(rank), whichever the adapter uses, or the other where only that does it) equal to the old scale in f64;
// where modules have several, in alpha_pattern by full name. There is one for every rank that is a multiple of the old
// one or a power of two; for others there may be none: refused. A module of a larger rank is refused too.
//
// concat_adapters: of ranks R1 and R2 (the largest of a module) the result has R1 + R2 everywhere: A is the rows of
// both, B the columns of both; a module that one adapter lacks, or gives a smaller rank, gets zeros. The result is
// plain LoRA with one scale s, never rsLoRA (whose sqrt would apply to the sum of ranks); B of adapter i is multiplied
// by s_i / s. s is the scale of a module or 1: the one with which the fewest elements of B have to be rounded. None has
// where all scales are the same, or powers of two apart; `rounded` counts them and `worst` is the largest relative
// error, at most half a unit in the last place of f32. Types are kept where both have the same and B is not scaled,
// else f32 (and f32 for f64). Dropout is kept where both have the same, else 0.
//
// Throws: Error that names the adapter and what is refused.
namespace graft {

struct CombinedAdapter {
    struct Tensor {
        std::string name;  // in the model
        StoredType type = StoredType::f32;
        std::vector<std::int64_t> shape;
        std::vector<std::byte> bytes;
    };
    AdapterConfig config;
    std::vector<Tensor> tensors;
    std::int64_t rounded = 0;
    double worst = 0;
    Metadata metadata;
};

namespace detail {

// The alpha with which this rank gives this scale to the bit.
std::optional<double> alpha_for(double scale, std::int64_t rank, bool rslora);

// (R, In) with rows of zeros, (Out, R) with columns of zeros, in the type that it has.
CombinedAdapter::Tensor padded(const StoredTensor& t, const std::string& name, std::int64_t rows, std::int64_t cols);

// b * (from / to) as it will be stored, and whether that is exact.
struct ScaledValue {
    float value;
    bool exact;
};
ScaledValue scaled(double b, double from, double to);

}  // namespace detail

CombinedAdapter grow_rank(const StoredAdapter& adapter, std::int64_t rank, const ModelConfig& model);

CombinedAdapter concat_adapters(const StoredAdapter& first, const StoredAdapter& second, const ModelConfig& model);

void write_adapter(const CombinedAdapter& adapter, const std::filesystem::path& folder, const ModelConfig& model);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/combine.ipp"
#endif
