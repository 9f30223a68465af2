#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/dataset/example.hpp"

// Which examples an optimiser step sees, and how they lie in memory.
//
//   epoch_order(count, epoch, seed, shuffle)   the order of the examples in an epoch
//   Batches                                    plan of a run: step -> micro-batches -> examples
//   collate(examples, rows)                    a micro-batch, padding-free
//
// The order is a pure function of (seed, epoch, index): Fisher and Yates' shuffle with the Philox number of
// (epoch, index). Every example comes once in each epoch, the first one too. Without shuffling: file order.
// The last micro-batch of an epoch may be short, and so may the last accumulation group: neither crosses into the next
// epoch. A run is epochs long, or `steps` steps, which then decides and goes over as many epochs as it takes.
//
// Labels of a Batch are shifted: labels[t] is what position t must predict, and the last position of each document is
// ignore. Documents lie back to back; positions restart at 0 in each; bounds are their starts and the end.
// Throws Error: no examples, sizes below 1, a run of more than 2^53 steps.
namespace graft {

struct Batch {
    std::vector<std::int32_t> ids, labels, positions;  // one a token
    std::vector<std::int64_t> bounds;                  // documents + 1: where each starts, and the end
    std::vector<std::int64_t> rows;                    // the examples, as numbered in the data set
    std::int64_t targets = 0;

    std::int64_t tokens() const { return std::int64_t(ids.size()); }
    std::int64_t documents() const { return std::int64_t(rows.size()); }
};

struct BatchOptions {
    std::int64_t batch = 4;       // examples of a micro-batch
    std::int64_t accumulate = 1;  // micro-batches of an optimiser step
    double epochs = 1;            // whole epochs, or a part of the last one
    std::int64_t steps = -1;      // not negative: this many optimiser steps, whatever epochs says
    std::uint64_t seed = 42;
    bool shuffle = true;
};

std::vector<std::int64_t> epoch_order(std::int64_t count, std::int64_t epoch, std::uint64_t seed, bool shuffle);

// Puts examples back to back and shifts their labels.
Batch collate(std::span<const Example> examples, std::span<const std::int64_t> rows);

class Batches {
public:
    Batches(std::span<const Example> examples, const BatchOptions& options);

    std::int64_t steps() const { return steps_; }
    std::int64_t steps_per_epoch() const { return steps_per_epoch_; }
    std::int64_t epoch_of(std::int64_t step) const { return step / steps_per_epoch_; }

    // The examples of each micro-batch of a step. Any step, in any order; steps of one epoch share its order.
    std::vector<std::vector<std::int64_t>> rows(std::int64_t step);

    // The micro-batches of a step.
    std::vector<Batch> micro_batches(std::int64_t step);

private:
    std::span<const Example> examples_;
    BatchOptions options_;
    std::int64_t count_ = 0, micro_per_epoch_ = 0, steps_per_epoch_ = 0, steps_ = 0;
    std::vector<std::int64_t> order_;
    std::int64_t order_epoch_ = -1;
};

// Targets of all micro-batches of a step: what the loss of the step is divided by.
std::int64_t targets(std::span<const Batch> batches);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/batches.ipp"
#endif
