#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "graft/checkpoint/checkpoint.hpp"
#include "graft/checkpoint/merge/stored_adapter.hpp"
#include "graft/checkpoint/modules.hpp"
#include "graft/checkpoint/nf4_state.hpp"
#include "graft/core/inline.hpp"
#include "graft/io/safetensors/types.hpp"

// What one tensor of a merged checkpoint holds: the one place where its value is made.
//
//   MergedTensor t(info, base, adapters);
//   t.rows(first, count, value, update)    exact values of some rows, W + sum over adapters of s B A, and what the
//                                          adapters add to them
//   round_once<bf16>(x)                    to the nearest, ties to even; never by way of f32, where a tie may arise
//
// A tensor that an adapter holds whole takes the place of W, and rows of tokens that of the embedding's, in both uses
// where these are one tensor. Otherwise W is read from the file, or decoded from NF4 to
// the f32 values that training sees. Products and sums are in f64: of the f32 or 16-bit factors every product is exact,
// and the sum is off by 2^-53 of its terms at most.
namespace graft {

// The tensors of a base by the job that they have.
class MergeBase {
public:
    explicit MergeBase(const Checkpoint& checkpoint);
    const Checkpoint& checkpoint() const { return checkpoint_; }
    std::string where() const { return printable(checkpoint_.folder().string(), 1000); }
    bool four_bit() const { return !four_bit_.empty(); }

    // The parts of a 4-bit weight; nullptr where it is dense.
    const std::vector<StoredTensor>* parts(const std::string& name) const;
    const auto& four_bit_weights() const { return four_bit_; }

private:
    const Checkpoint& checkpoint_;
    std::map<std::string, std::vector<StoredTensor>> four_bit_;
};

class MergedTensor {
public:
    MergedTensor(const TensorInfo& info, const MergeBase& base, std::span<const StoredAdapter> adapters);

    const std::string& name() const { return name_; }
    std::int64_t row_count() const { return rows_; }
    std::int64_t cols() const { return cols_; }
    bool changed() const { return !branches_.empty() || !new_rows_.empty(); }
    const std::optional<Nf4State>& state() const { return state_; }

    // Elementary operations a row, for sharing work.
    std::int64_t row_work() const;

    void rows(std::int64_t first, std::int64_t count, double* value, double* update) const;

private:
    struct Branch {
        std::int64_t rank;
        double scale;
        std::vector<double> a, b;
    };

    // Of the embedding, W is (in, out): its update is the transpose of a linear's.
    static Branch read_branch(const StoredBranch& from);
    static std::vector<double> transposed(const std::vector<double>& from, std::int64_t rows, std::int64_t cols);

    void add(const Branch& branch, std::int64_t first, std::int64_t count, double* update) const;

    std::string name_;
    std::int64_t rows_ = 0, cols_ = 0;
    const StoredTensor* dense_ = nullptr;
    std::optional<Nf4State> state_;
    std::vector<Branch> branches_;
    std::map<std::int64_t, std::vector<double>> new_rows_;
};

// To f32, bf16 or f16 in one rounding. By way of an f32 whose last bit says that something was cut off (round to odd):
// rounding that again cannot meet a tie that the value itself was not.
template <class T> T round_once(double x)
{
    const auto nearest = static_cast<float>(x);
    if constexpr (std::is_same_v<T, double>) {
        return x;
    } else if constexpr (std::is_same_v<T, float>) {
        return nearest;
    } else {
        if (double(nearest) == x || !std::isfinite(x)) { return T(nearest); }
        auto bits = std::bit_cast<std::uint32_t>(nearest);
        if (std::abs(double(nearest)) > std::abs(x)) { bits -= 1; }  // towards zero
        return T(std::bit_cast<float>(bits | 1U));
    }
}

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/merge/value.ipp"
#endif
