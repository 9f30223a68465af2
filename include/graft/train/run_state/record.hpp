#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/train/metrics.hpp"
#include "graft/train/run_settings.hpp"

// run_state.json: what a checkpoint-N folder is the state of, and what its other files must be.
//
//   {"format": 1, "graft": "0.1.0", "step": 20, "tokens": 5120, "seconds": 1.5,
//    "settings": [{"name": "lr", "value": "0.01"}, {"name": "data", "value": "rows.jsonl", "hash": "9f86…"}],
//    "files": {"optimizer.safetensors": {"bytes": 1200, "sha256": "60303a…"}, …},
//    "sha256": "…"}
//
// A sealed file (io/sealed_json.hpp), so that damage to the record itself is seen. It is written last: a folder without
// it is none. Throws: Error that names the file and what is wrong with it.
namespace graft {

// The state of a run between two steps. Data order, rates and random numbers are functions of seed and step.
struct RunState {
    std::vector<StepMetrics> steps{};  // of each step done, from 0
    RunSettings settings{};
    std::vector<std::string> changed{};  // what was allowed to change on the way, as "lr after step 30"

    std::int64_t step() const { return std::int64_t(steps.size()); }
    std::int64_t tokens() const { return steps.empty() ? 0 : steps.back().tokens; }
    double seconds() const { return steps.empty() ? 0.0 : steps.back().seconds; }
};

namespace detail {

inline constexpr const char* metrics_name = "metrics.jsonl";

void write_record(const std::filesystem::path& folder, const RunState& state);

}  // namespace detail

// Reads the record of a checkpoint-N folder and holds every file of it to its size and hash.
RunState read_run_state(const std::filesystem::path& folder);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/run_state/record.ipp"
#endif
