#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "graft/io/atomic_file.hpp"
#include "graft/io/checkpoint_folders.hpp"
#include "graft/io/hashed_files.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/sealed_json.hpp"
#include "graft/train/metrics_file.hpp"
#include "graft/train/run_settings.hpp"
#include "graft/version.hpp"

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

inline constexpr const char* record_name = "run_state.json";
inline constexpr const char* metrics_name = "metrics.jsonl";
inline constexpr std::size_t most_record = std::size_t(16) << 20;
inline constexpr std::size_t most_metrics = std::size_t(4) << 30;

inline void write_record(const std::filesystem::path& folder, const RunState& state)
{
    OrderedJson json;
    json["format"] = 1;
    json["graft"] = GRAFT_VERSION_STRING;
    json["step"] = state.step();
    json["tokens"] = state.tokens();
    json["seconds"] = state.seconds();
    json["settings"] = settings_json(state.settings);
    if (!state.changed.empty()) { json["changed"] = state.changed; }
    std::vector<std::string> files;
    for (const auto& file : entries_of(folder)) { files.push_back(file.filename().string()); }
    json["files"] = hashed_json(hash_files(folder, files));
    write_sealed(folder / record_name, json);
}

}  // namespace detail

// Reads the record of a checkpoint-N folder and holds every file of it to its size and hash.
inline RunState read_run_state(const std::filesystem::path& folder)
{
    using namespace detail;
    const auto path = folder / record_name;
    const std::string where = printable(path.string(), 1000);
    const OrderedJson json = read_sealed(path, most_record).json;
    const auto format = json_int(json, "format", where);
    require(format == 1, [&] {
        return where + ": format " + std::to_string(format) + " is not known to this version (" GRAFT_VERSION_STRING
               + "): resume with the version that wrote it, " + printable(json_string_or(json, "graft", "?", where));
    });
    const HashedFiles files = hashed_of_json(json_at(json, "files", where), where);
    for (const auto& [name, hash] : files) { check_file(folder, name, hash); }
    for (const char* needed : {metrics_name, "optimizer.safetensors"}) {
        require(files.contains(needed), [&] { return where + ": does not list " + needed; });
    }

    RunState state;
    state.settings = settings_of_json(json_at(json, "settings", where), where);
    state.changed = json_strings(json, "changed", where);
    const auto metrics = folder / metrics_name;
    state.steps = metrics_of(read_file(metrics, most_metrics), printable(metrics.string(), 1000));
    const auto step = json_int(json, "step", where);
    require(step == state.step(), [&] {
        return where + ": says " + std::to_string(step) + " steps, its metrics.jsonl has "
               + std::to_string(state.step());
    });
    return state;
}

}  // namespace graft
