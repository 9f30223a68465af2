#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/io/hash.hpp"
#include "graft/train/batches.hpp"

// Counts the rows that a run trains on, and holds the count against the rule: every row once an epoch, the first and
// the last included.
//
//   RowCount count(batches, rows);          rows: examples of the data set
//   count.done_before(step);                steps of an earlier part of the run, which a resumed one does not repeat
//   for (const Batch& batch : micro) { count.add(batch.rows); }
//   count.end_step();                       at the end of an epoch each row was seen once more, or an Error
//   count.least(), count.most()             times that a row was trained on; they differ only within an epoch
//   count.order()                           SHA-256 of the rows in the order of training, steps told apart;
//                                           empty before the first
//
// Throws: Error that names the row and how often it came.
namespace graft {

class RowCount {
public:
    RowCount(Batches batches, std::int64_t rows) : batches_(std::move(batches)), seen_(std::size_t(rows), 0) {}

    void done_before(std::int64_t steps)
    {
        while (step_ < steps) {
            for (const auto& rows : batches_.rows(step_)) { add(rows); }
            end_step();
        }
    }
    void add(std::span<const std::int64_t> rows)
    {
        for (const std::int64_t row : rows) {
            require(row >= 0 && row < std::int64_t(seen_.size()), "RowCount: there is no such row");
            ++seen_[std::size_t(row)];
            order_.push_back(row);
            ++total_;
        }
    }
    void end_step()
    {
        hash_rows();
        ++step_;
        const auto epoch = step_ / batches_.steps_per_epoch();
        const bool whole = step_ % batches_.steps_per_epoch() == 0;
        if (!whole) { return; }
        for (std::size_t row = 0; row < seen_.size(); ++row) {
            require(seen_[row] == epoch, [&] {
                return "example " + std::to_string(row + 1) + " was trained on " + std::to_string(seen_[row])
                       + " times in " + std::to_string(epoch) + " epochs: this is an error of the program";
            });
        }
    }

    std::int64_t least() const { return seen_.empty() ? 0 : *std::min_element(seen_.begin(), seen_.end()); }
    std::int64_t most() const { return seen_.empty() ? 0 : *std::max_element(seen_.begin(), seen_.end()); }
    std::int64_t total() const { return total_; }
    std::string order() const { return chain_; }

private:
    // A chain, so that the hash can be asked for at any step: SHA-256 of the one before and the rows of this step.
    void hash_rows()
    {
        Sha256 hash;
        hash.add(chain_);
        hash.add(std::int64_t(order_.size()));
        for (const std::int64_t row : order_) { hash.add(row); }
        chain_ = hash.hex();
        order_.clear();
    }

    Batches batches_;
    std::vector<std::int64_t> seen_, order_;
    std::int64_t step_ = 0, total_ = 0;
    std::string chain_;
};

}  // namespace graft
