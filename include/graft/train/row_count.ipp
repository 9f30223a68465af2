#pragma once
#include "graft/train/row_count.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "graft/core/error.hpp"
#include "graft/io/hash.hpp"

namespace graft {

GRAFT_INLINE void RowCount::done_before(std::int64_t steps)
{
    while (step_ < steps) {
        for (const auto& rows : batches_.rows(step_)) { add(rows); }
        end_step();
    }
}

GRAFT_INLINE void RowCount::add(std::span<const std::int64_t> rows)
{
    for (const std::int64_t row : rows) {
        require(row >= 0 && row < std::int64_t(seen_.size()), "RowCount: there is no such row");
        ++seen_[std::size_t(row)];
        order_.push_back(row);
        ++total_;
    }
}

GRAFT_INLINE void RowCount::end_step()
{
    hash_rows();
    ++step_;
    const auto epoch = step_ / batches_.steps_per_epoch();
    const bool whole = step_ % batches_.steps_per_epoch() == 0;
    if (!whole) { return; }
    for (std::size_t row = 0; row < seen_.size(); ++row) {
        require(seen_[row] == epoch, [&] {
            return "example " + std::to_string(row + 1) + " was trained on " + std::to_string(seen_[row]) + " times in "
                   + std::to_string(epoch) + " epochs: this is an error of the program";
        });
    }
}

GRAFT_INLINE void RowCount::hash_rows()
{
    Sha256 hash;
    hash.add(chain_);
    hash.add(std::int64_t(order_.size()));
    for (const std::int64_t row : order_) { hash.add(row); }
    chain_ = hash.hex();
    order_.clear();
}

}  // namespace graft
