#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "graft/core/inline.hpp"
#include "graft/train/preference.hpp"

// metrics.jsonl: what a training step measured, a line of JSON each.
//
//   step        from 0
//   loss        sum over all targets of all micro-batches of the step / their number, in nats
//   lr          the rate that the step used
//   grad_norm   over everything trained, before clipping
//   tokens      real tokens seen so far, no padding
//   targets     labels after the shift in this step
//   seconds     since the run began
//   peak_bytes  of the pools
//   rewards_chosen, rewards_rejected, margin, accuracy, logps_chosen, logps_rejected
//               preference training alone: means over the pairs of the step (preference.hpp), whose mean loss is loss
//   eval_loss   mean over all targets of the evaluation set, only where it was measured
//
// Numbers are written as the shortest text that reads back to the same bits. JSON has no NaN and no infinity: null.
// Throws: nothing.
namespace graft {

struct StepMetrics {
    std::int64_t step = 0;
    double loss = 0, lr = 0, grad_norm = 0;
    std::int64_t tokens = 0, targets = 0;
    double seconds = 0;
    std::int64_t peak_bytes = 0;
    std::optional<double> eval_loss = {};
    std::optional<PreferenceMetrics> preference = {};
};

namespace detail {

// The shortest text that reads back to the same number.
std::string shortest(double value);

}  // namespace detail

// The numbers of preference training and their names.
inline constexpr std::pair<const char*, double PreferenceMetrics::*> preference_fields[] = {
    {"rewards_chosen", &PreferenceMetrics::rewards_chosen},
    {"rewards_rejected", &PreferenceMetrics::rewards_rejected},
    {"margin", &PreferenceMetrics::margin},
    {"accuracy", &PreferenceMetrics::accuracy},
    {"logps_chosen", &PreferenceMetrics::logps_chosen},
    {"logps_rejected", &PreferenceMetrics::logps_rejected}};

// One line, without its line end.
std::string metrics_line(const StepMetrics& m);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/metrics.ipp"
#endif
