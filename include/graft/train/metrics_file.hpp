#pragma once
#include <cmath>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/train/metrics.hpp"

// metrics.jsonl back into values.
//
//   metrics_text(steps)         the lines of steps as one text
//   metrics_of(text, where)     the steps of such a text: metrics_text(metrics_of(t)) is t again, bit for bit
//
// Throws: Error that names line and field: not JSON, a field that is missing, a line cut short, a step out of turn.
namespace graft {

std::string metrics_text(std::span<const StepMetrics> steps);

std::vector<StepMetrics> metrics_of(std::string_view text, const std::string& where);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/metrics_file.ipp"
#endif
