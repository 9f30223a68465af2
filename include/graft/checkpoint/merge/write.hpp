#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "graft/checkpoint/merge/receipt.hpp"
#include "graft/checkpoint/merge/value.hpp"
#include "graft/core/parallel.hpp"
#include "graft/io/safetensors.hpp"

// How a merged tensor becomes bytes: rounded once to a dense type, or quantised to NF4 again. Some rows at a time.
namespace graft::detail {

// Sums of one piece of a tensor; pieces are added up in their order, whatever thread made them.
struct MergeSums {
    double max_error = 0, sum_error = 0, max_update = 0, sum_update = 0;

    void see(double exact, double written, double update)
    {
        const double error = std::abs(written - exact), by = std::abs(update);
        max_error = std::max(max_error, error), max_update = std::max(max_update, by);
        sum_error += error, sum_update += by;
    }
    void add_to(MergeKind& kind) const
    {
        kind.max_error = std::max(kind.max_error, max_error), kind.max_update = std::max(kind.max_update, max_update);
        kind.sum_error += sum_error, kind.sum_update += sum_update;
    }
};

// Rows that are worked on at a time: whole pieces of `unit` rows, some 4 M values.
inline std::int64_t batch_rows(const MergedTensor& t, std::int64_t unit)
{
    return std::max<std::int64_t>(1, (std::int64_t(1) << 22) / (t.cols() * unit)) * unit;
}

// Calls piece(first, count, value, update, sums) for pieces of `unit` rows, several threads at once, and done(count)
// after each batch of them, in order.
template <class Piece, class Done>
void each_piece(const MergedTensor& t, std::int64_t unit, MergeKind* kind, Piece&& piece, Done&& done)
{
    const std::int64_t rows = t.row_count(), cols = t.cols(), batch = batch_rows(t, unit);
    for (std::int64_t from = 0; from < rows; from += batch) {
        const std::int64_t count = std::min(batch, rows - from), pieces = (count + unit - 1) / unit;
        std::vector<MergeSums> sums(static_cast<std::size_t>(pieces));
        parallel_rows(count, unit, t.row_work(), [&](std::int64_t begin, std::int64_t end) {
            std::vector<double> value(std::size_t((end - begin) * cols)), update(value.size());
            t.rows(from + begin, end - begin, value.data(), update.data());
            piece(from + begin, end - begin, std::span<const double>(value), std::span<const double>(update),
                  sums[std::size_t(begin / unit)]);
        });
        if (kind != nullptr) {
            for (const MergeSums& s : sums) { s.add_to(*kind); }
        }
        done(count);
    }
}

[[noreturn]] inline void not_finite_merged(const MergedTensor& t, std::int64_t row, std::int64_t col, double value,
                                           StoredType type)
{
    throw Error("merge: " + printable(t.name()) + ", row " + std::to_string(row) + ", column " + std::to_string(col)
                + ": the value would be " + std::to_string(value) + ", which " + std::string(stored_name(type))
                + " does not hold as a finite number"
                + (t.changed() ? ": the base, the adapter or its scale is broken" : ": the base is broken")
                + "; nothing was written");
}

template <class T> void write_rounded(const MergedTensor& t, StoredType type, MergeKind& kind, const WriteBytes& write)
{
    const std::int64_t cols = t.cols();
    const std::int64_t unit = std::max<std::int64_t>(1, 16384 / cols);
    const std::int64_t batch = batch_rows(t, unit);
    std::vector<std::byte> bytes(std::size_t(std::min(batch, t.row_count()) * cols) * sizeof(T));
    each_piece(
        t, unit, &kind,
        [&](std::int64_t first, std::int64_t count, std::span<const double> value, std::span<const double> update,
            MergeSums& sums) {
            std::byte* at = bytes.data() + std::size_t(first % batch * cols) * sizeof(T);
            for (std::int64_t i = 0; i < count * cols; ++i, at += sizeof(T)) {
                const double exact = value[std::size_t(i)];
                const T out = round_once<T>(exact);
                double written = 0;
                if constexpr (std::is_same_v<T, double>) {
                    written = out;
                } else {
                    written = double(float(out));
                }
                if (!std::isfinite(written)) { not_finite_merged(t, first + i / cols, i % cols, exact, type); }
                sums.see(exact, written, update[std::size_t(i)]);
                std::memcpy(at, &out, sizeof(T));
            }
        },
        [&](std::int64_t count) {
            write(std::span<const std::byte>(bytes).first(std::size_t(count * cols) * sizeof(T)));
        });
}

inline void write_rounded(const MergedTensor& t, StoredType type, MergeKind& kind, const WriteBytes& write)
{
    switch (type) {
    case StoredType::bf16: return write_rounded<bf16>(t, type, kind, write);
    case StoredType::f16: return write_rounded<f16>(t, type, kind, write);
    case StoredType::f64: return write_rounded<double>(t, type, kind, write);
    default: return write_rounded<float>(t, type, kind, write);
    }
}

// A weight that becomes NF4 again, as its base was: the same block size, scales nested or not. Scales are found in a
// first pass over the values, because the state's text, whose length the file's header needs, depends on them; the
// packed bytes are made, and given, in a second.
class Requantized {
public:
    explicit Requantized(const MergedTensor& t) : state_(*t.state())
    {
        require(state_.type == nf4::Type::nf4, [&] {
            return "merge: " + printable(t.name()) + " is FP4, which is read only: leave out --requantize";
        });
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
    const Nf4State& state() const { return state_; }

    // The packed bytes of the tensor that this was made from.
    void write(const MergedTensor& t, MergeKind& kind, const WriteBytes& write) const
    {
        std::vector<float> again(state_.absmax.size());
        pass(t, &kind, again, &write);
    }

private:
    void pass(const MergedTensor& t, MergeKind* kind, std::span<float> absmax, const WriteBytes* write) const
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
                const auto stored =
                    std::span<const float>(state_.absmax).subspan(at / std::size_t(block), scales.size());
                nf4::dequantize<float>(bytes, stored, int(block), 0, decoded);
                for (std::size_t i = 0; i < n; ++i) { sums.see(value[i], double(decoded[i]), update[i]); }
            },
            [](std::int64_t) {});
        if (write != nullptr) { (*write)(std::as_bytes(std::span<const std::uint8_t>(packed))); }
    }

    Nf4State state_;
};

}  // namespace graft::detail
