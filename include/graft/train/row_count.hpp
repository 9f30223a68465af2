#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/inline.hpp"
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

    void done_before(std::int64_t steps);
    void add(std::span<const std::int64_t> rows);
    void end_step();

    std::int64_t least() const { return seen_.empty() ? 0 : *std::min_element(seen_.begin(), seen_.end()); }
    std::int64_t most() const { return seen_.empty() ? 0 : *std::max_element(seen_.begin(), seen_.end()); }
    std::int64_t total() const { return total_; }
    std::string order() const { return chain_; }

private:
    // A chain, so that the hash can be asked for at any step: SHA-256 of the one before and the rows of this step.
    void hash_rows();

    Batches batches_;
    std::vector<std::int64_t> seen_, order_;
    std::int64_t step_ = 0, total_ = 0;
    std::string chain_;
};

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/row_count.ipp"
#endif
