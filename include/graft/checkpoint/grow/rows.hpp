#pragma once
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/io/safetensors.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/safetensors/write.hpp"

// A table (V, D) with more rows, made of the bytes of one with fewer.
namespace graft::detail {

// The mean of these rows: an f64 sum in the order of the ids, rounded once to the tensor's type. Each column is summed
// by one thread, so that their number changes nothing.
std::vector<std::byte> mean_row(const StoredTensor& table, const std::set<std::int64_t>& ids);

// Writes `rows` rows: those of the table, but `fresh` in the place of [first, end) and behind the table.
void write_grown(const StoredTensor& table, std::int64_t rows, std::int64_t first, std::int64_t end,
                 std::span<const std::byte> fresh, const WriteBytes& write);

}  // namespace graft::detail

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/grow/rows.ipp"
#endif
