#pragma once
#include "graft/train/batches.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/labels.hpp"
#include "graft/core/random.hpp"
#include "graft/text/dataset/example.hpp"

namespace graft::detail {

// Keeps the random streams of a run apart: the order of the data is not the numbers of dropout.
inline constexpr std::uint64_t order_stream = stream_of("data order", 10);

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE std::vector<std::int64_t> epoch_order(std::int64_t count, std::int64_t epoch, std::uint64_t seed,
                                                   bool shuffle)
{
    std::vector<std::int64_t> order(static_cast<std::size_t>(count));
    std::iota(order.begin(), order.end(), std::int64_t{0});
    if (!shuffle) { return order; }
    const Philox random{.seed = seed ^ detail::order_stream};
    for (std::int64_t i = count - 1; i > 0; --i) {
        const auto other = random.below(std::uint64_t(i) + 1, std::uint64_t(epoch), std::uint64_t(i));
        std::swap(order[std::size_t(i)], order[std::size_t(other)]);
    }
    return order;
}

GRAFT_INLINE Batch collate(std::span<const Example> examples, std::span<const std::int64_t> rows)
{
    Batch batch;
    batch.bounds.push_back(0);
    for (const auto row : rows) {
        const auto& example = examples[std::size_t(row)];
        const auto length = example.ids.size();
        require(length > 0 && example.labels.size() == length, "an example needs tokens, and a label for each");
        batch.ids.insert(batch.ids.end(), example.ids.begin(), example.ids.end());
        batch.labels.insert(batch.labels.end(), example.labels.begin() + 1, example.labels.end());
        batch.labels.push_back(ignore);
        for (std::size_t t = 0; t < length; ++t) { batch.positions.push_back(std::int32_t(t)); }
        batch.bounds.push_back(std::int64_t(batch.ids.size()));
        batch.rows.push_back(row);
        batch.targets += std::int64_t(length - 1)
                         - std::int64_t(std::count(example.labels.begin() + 1, example.labels.end(), ignore));
    }
    return batch;
}

GRAFT_INLINE Batches::Batches(std::span<const Example> examples, const BatchOptions& options)
    : examples_(examples), options_(options), count_(std::int64_t(examples.size()))
{
    require(count_ > 0, "no examples to train on");
    require(options.batch >= 1, "batch must be at least 1");
    require(options.accumulate >= 1, "accumulate must be at least 1");
    require(options.epochs >= 0 && options.epochs <= 1e9, "epochs must be between 0 and 1e9");
    options_.batch = std::min(options.batch, count_);
    micro_per_epoch_ = (count_ + options_.batch - 1) / options_.batch;
    options_.accumulate = std::min(options.accumulate, micro_per_epoch_);
    steps_per_epoch_ = (micro_per_epoch_ + options_.accumulate - 1) / options_.accumulate;
    const double steps =
        options.steps >= 0 ? double(options.steps) : std::ceil(options.epochs * double(steps_per_epoch_));
    require(steps <= 0x1p53, "more steps than a run can count");
    steps_ = std::int64_t(steps);
}

GRAFT_INLINE std::vector<std::vector<std::int64_t>> Batches::rows(std::int64_t step)
{
    require(step >= 0, "a step cannot be negative");
    const auto epoch = epoch_of(step);
    if (order_.empty() || epoch != order_epoch_) {
        order_ = epoch_order(count_, epoch, options_.seed, options_.shuffle);
        order_epoch_ = epoch;
    }
    const auto first = (step % steps_per_epoch_) * options_.accumulate;
    const auto last = std::min(first + options_.accumulate, micro_per_epoch_);
    std::vector<std::vector<std::int64_t>> groups;
    for (auto micro = first; micro < last; ++micro) {
        const auto begin = order_.begin() + micro * options_.batch;
        groups.emplace_back(begin, begin + std::min(options_.batch, count_ - micro * options_.batch));
    }
    return groups;
}

GRAFT_INLINE std::vector<Batch> Batches::micro_batches(std::int64_t step)
{
    std::vector<Batch> batches;
    for (const auto& group : rows(step)) { batches.push_back(collate(examples_, group)); }
    return batches;
}

GRAFT_INLINE std::int64_t targets(std::span<const Batch> batches)
{
    std::int64_t sum = 0;
    for (const auto& batch : batches) { sum += batch.targets; }
    return sum;
}

}  // namespace graft
