#pragma once
#include "graft/checkpoint/merge/write.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <span>
#include <string>
#include <unistd.h>
#include <vector>

#include "graft/checkpoint/merge/receipt.hpp"
#include "graft/checkpoint/merge/value.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/error.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/safetensors/write.hpp"
#include "graft/ops/nf4_matmul/format.hpp"

namespace graft::detail {

GRAFT_INLINE void MergeSums::see(double exact, double written, double update)
{
    const double error = std::abs(written - exact), by = std::abs(update);
    max_error = std::max(max_error, error), max_update = std::max(max_update, by);
    sum_error += error, sum_update += by;
}

GRAFT_INLINE void MergeSums::add_to(MergeKind& kind) const
{
    kind.max_error = std::max(kind.max_error, max_error), kind.max_update = std::max(kind.max_update, max_update);
    kind.sum_error += sum_error, kind.sum_update += sum_update;
}

GRAFT_INLINE std::int64_t batch_rows(const MergedTensor& t, std::int64_t unit)
{
    return std::max<std::int64_t>(1, (std::int64_t(1) << 22) / (t.cols() * unit)) * unit;
}

GRAFT_INLINE void not_finite_merged(const MergedTensor& t, std::int64_t row, std::int64_t col, double value,
                                    StoredType type)
{
    throw Error("merge: " + printable(t.name()) + ", row " + std::to_string(row) + ", column " + std::to_string(col)
                + ": the value would be " + std::to_string(value) + ", which " + std::string(stored_name(type))
                + " does not hold as a finite number"
                + (t.changed() ? ": the base, the adapter or its scale is broken" : ": the base is broken")
                + "; nothing was written");
}

GRAFT_INLINE void write_rounded(const MergedTensor& t, StoredType type, MergeKind& kind, const WriteBytes& write)
{
    switch (type) {
    case StoredType::bf16: return write_rounded<bf16>(t, type, kind, write);
    case StoredType::f16: return write_rounded<f16>(t, type, kind, write);
    case StoredType::f64: return write_rounded<double>(t, type, kind, write);
    default: return write_rounded<float>(t, type, kind, write);
    }
}

GRAFT_INLINE Requantized::Requantized(const MergedTensor& t) : state_(*t.state())
{
    require(state_.type == nf4::Type::nf4,
            [&] { return "merge: " + printable(t.name()) + " is FP4, which is read only: leave out --requantize"; });
    require(!state_.nested || state_.nested->block == nf4::nested_block, [&] {
        return "merge: " + printable(t.name()) + " has nested scales in blocks of "
               + std::to_string(state_.nested->block) + ", written are blocks of 256: leave out --requantize";
    });
    std::vector<float> absmax(state_.absmax.size());
    pass(t, nullptr, absmax, nullptr);
    if (state_.nested) {
        state_.nested = nf4::nest(absmax);
        nf4::unnest(*state_.nested, state_.absmax);
    } else {
        state_.absmax = absmax;
    }
    state_.packed = {};
}

GRAFT_INLINE void Requantized::write(const MergedTensor& t, MergeKind& kind, const WriteBytes& write) const
{
    std::vector<float> again(state_.absmax.size());
    pass(t, &kind, again, &write);
}

GRAFT_INLINE void Requantized::pass(const MergedTensor& t, MergeKind* kind, std::span<float> absmax,
                                    const WriteBytes* write) const
{
    const std::int64_t cols = t.cols(), block = state_.block;
    const std::int64_t unit = block / std::gcd(block, cols);  // rows that whole blocks fill
    std::vector<std::uint8_t> packed(nf4::bytes_of(std::size_t(t.row_count() * cols)));
    each_piece(
        t, unit, kind,
        [&](std::int64_t first, std::int64_t count, std::span<const double> value, std::span<const double> update,
            MergeSums& sums) {
            const auto n = std::size_t(count * cols), at = std::size_t(first * cols);
            std::vector<float> values(n), decoded(n);
            for (std::size_t i = 0; i < n; ++i) {
                values[i] = float(value[i]);
                if (!std::isfinite(values[i])) {
                    not_finite_merged(t, first + std::int64_t(i) / cols, std::int64_t(i) % cols, value[i],
                                      StoredType::f32);
                }
            }
            const auto scales = absmax.subspan(at / std::size_t(block), nf4::blocks_of(n, std::size_t(block)));
            const auto bytes = std::span(packed).subspan(at / 2, nf4::bytes_of(n));
            nf4::quantize<float>(values, int(block), bytes, scales);
            if (kind == nullptr) { return; }
            const auto stored = std::span<const float>(state_.absmax).subspan(at / std::size_t(block), scales.size());
            nf4::dequantize<float>(bytes, stored, int(block), 0, decoded);
            for (std::size_t i = 0; i < n; ++i) { sums.see(value[i], double(decoded[i]), update[i]); }
        },
        [](std::int64_t) {});
    if (write != nullptr) { (*write)(std::as_bytes(std::span<const std::uint8_t>(packed))); }
}

}  // namespace graft::detail
