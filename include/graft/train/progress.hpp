#pragma once
#include <cstdint>
#include <string>

#include "graft/core/inline.hpp"
#include "graft/train/metrics.hpp"

// The line that tells a waiting person how a run is doing.
//
//   progress_line(metrics, total, {...})    "step 12/100  loss 2.3457  lr 1.96e-04  812 tok/s  34.1 MiB  1:02 left"
//
// Preference training adds "  accuracy 0.75  margin 0.213", a measured evaluation "  eval 2.3012".
// With bar > 0 it starts with a bar of that many characters, for a terminal. Text alone: printing is the program's.
// Throws: nothing.
namespace graft {

struct ProgressOptions {
    int bar = 0;                    // characters; 0: none
    double tokens_per_second = -1;  // negative: tokens / seconds of the metrics, the mean since the run began
    double seconds_left = -1;       // negative: from the mean time of a step
};

// "34.1 MiB"; whole bytes below 1 KiB.
std::string bytes_text(std::int64_t bytes);

// "0:07", "12:34", "3:04:05", "2 d 3:04:05".
std::string duration_text(double seconds);

// The step counted here is the number of steps done: metrics.step + 1.
std::string progress_line(const StepMetrics& m, std::int64_t total, const ProgressOptions& options = {});

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/progress.ipp"
#endif
