#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/io/safetensors.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/ops/nf4_matmul/format.hpp"

// A weight that bitsandbytes has quantised, as it lies in a checkpoint: up to six tensors.
//
//   P.weight                                the packed bytes, U8 [(n + 1) / 2, 1]; or, with bnb_4bit_quant_storage, the
//                                           same bytes under the name of another type: they are reinterpreted
//   P.weight.absmax                         F32 [B], or U8 [B] if nested
//   P.weight.quant_map                      F32 [16], the codes: must be those of the type
//   P.weight.nested_absmax                  F32 [ceil(B / nested_blocksize)], if nested
//   P.weight.nested_quant_map               F32 [256], if nested
//   P.weight.quant_state.bitsandbytes__nf4  (or …__fp4) U8, JSON: quant_type, blocksize, dtype, shape and, if nested,
//                                           nested_blocksize, nested_dtype, nested_offset
//
//   nf4_weight_of("P.weight.absmax")        "P.weight": whose part a tensor is; empty for any other tensor
//   read_nf4("P.weight", tensors, where)    everything about one weight; `where`, the file, is named in errors
//   nf4_state_text(state)                   the JSON, byte for byte as bitsandbytes writes it
//
// The name of the last tensor decides between nf4 and fp4, whatever the config says. Decoded scales may be zero,
// subnormal or slightly negative (format.hpp says when). The parts of one weight may come from several shards.
// Throws graft::Error, "FILE: WEIGHT: …": a tensor missing, twice, unknown, of another type or length; JSON broken, or
// with a field missing, unknown or out of range; codes that are not those of the type; numbers that are not finite.
// Source: bitsandbytes 0.50, functional.py (QuantState.as_dict, from_dict).
namespace graft {

struct Nf4State {
    nf4::Type type = nf4::Type::nf4;
    std::vector<std::int64_t> shape;  // of the weight: (Out, In)
    std::string dtype;                // that it was quantised from: float32, float16 or bfloat16
    int block = nf4::default_block;
    std::span<const std::uint8_t> packed;  // in the file's memory, which must stay
    std::vector<float> absmax;             // decoded, one a block
    std::optional<nf4::Nested> nested;     // as it was stored

    std::size_t elements() const;

    // Decodes elements first … first + out.size() of the flat weight.
    template <class T> void dequantize(std::size_t first, std::span<T> out) const
    {
        nf4::dequantize(packed, std::span<const float>(absmax), block, first, out, type);
    }
};

std::string_view nf4_weight_of(std::string_view tensor);

// tensors: those of the file, or at least those whose names begin with that of the weight.
Nf4State read_nf4(const std::string& weight, std::span<const StoredTensor> tensors, const std::string& file);

std::string nf4_state_text(const Nf4State& state);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/nf4_state.ipp"
#endif
