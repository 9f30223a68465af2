#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "graft/checkpoint/merge/receipt.hpp"
#include "graft/checkpoint/merge/value.hpp"
#include "graft/checkpoint/nf4_state.hpp"
#include "graft/core/inline.hpp"
#include "graft/core/parallel.hpp"
#include "graft/io/safetensors.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/safetensors/write.hpp"

// How a merged tensor becomes bytes: rounded once to a dense type, or quantised to NF4 again. Some rows at a time.
namespace graft::detail {

// Sums of one piece of a tensor; pieces are added up in their order, whatever thread made them.
struct MergeSums {
    double max_error = 0, sum_error = 0, max_update = 0, sum_update = 0;

    void see(double exact, double written, double update);
    void add_to(MergeKind& kind) const;
};

// Rows that are worked on at a time: whole pieces of `unit` rows, some 4 M values.
std::int64_t batch_rows(const MergedTensor& t, std::int64_t unit);

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

[[noreturn]] void not_finite_merged(const MergedTensor& t, std::int64_t row, std::int64_t col, double value,
                                    StoredType type);

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

void write_rounded(const MergedTensor& t, StoredType type, MergeKind& kind, const WriteBytes& write);

// A weight that becomes NF4 again, as its base was: the same block size, scales nested or not. Scales are found in a
// first pass over the values, because the state's text, whose length the file's header needs, depends on them; the
// packed bytes are made, and given, in a second.
class Requantized {
public:
    explicit Requantized(const MergedTensor& t);
    const Nf4State& state() const { return state_; }

    // The packed bytes of the tensor that this was made from.
    void write(const MergedTensor& t, MergeKind& kind, const WriteBytes& write) const;

private:
    void pass(const MergedTensor& t, MergeKind* kind, std::span<float> absmax, const WriteBytes* write) const;

    Nf4State state_;
};

}  // namespace graft::detail

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/merge/write.ipp"
#endif
