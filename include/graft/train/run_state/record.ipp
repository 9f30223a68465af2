#pragma once
#include "graft/train/run_state/record.hpp"

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
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

namespace graft::detail {

inline constexpr const char* record_name = "run_state.json";

inline constexpr std::size_t most_record = std::size_t(16) << 20;

inline constexpr std::size_t most_metrics = std::size_t(4) << 30;

GRAFT_INLINE void write_record(const std::filesystem::path& folder, const RunState& state)
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

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE RunState read_run_state(const std::filesystem::path& folder)
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
