#pragma once
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graft/io/atomic_file.hpp"
#include "graft/io/checkpoint_folders.hpp"
#include "graft/io/hash.hpp"
#include "graft/io/json_file.hpp"
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
// The last field is the hash of all bytes before it (up to the comma), so that damage to the record itself is seen.
// It is written last: a folder without it is none. Throws: Error that names the file and what is wrong with it.
namespace graft {

// The state of a run between two steps. Data order, rates and random numbers are functions of seed and step.
struct RunState {
    std::vector<StepMetrics> steps{};       // of each step done, from 0
    RunSettings              settings{};

    std::int64_t step() const { return std::int64_t(steps.size()); }
    std::int64_t tokens() const { return steps.empty() ? 0 : steps.back().tokens; }
    double       seconds() const { return steps.empty() ? 0.0 : steps.back().seconds; }
};

namespace detail {

inline constexpr const char* record_name  = "run_state.json";
inline constexpr const char* metrics_name = "metrics.jsonl";
inline constexpr std::size_t most_record  = std::size_t(16) << 20;
inline constexpr std::size_t most_metrics = std::size_t(4) << 30;

inline std::string sealed(const std::string& text) { return text + ",\n  \"sha256\": \"" + sha256(text) + "\"\n}\n"; }

inline void write_record(const std::filesystem::path& folder, const RunState& state)
{
    OrderedJson json;
    json["format"]  = 1;
    json["graft"]   = GRAFT_VERSION_STRING;
    json["step"]    = state.step();
    json["tokens"]  = state.tokens();
    json["seconds"] = state.seconds();
    json["settings"] = OrderedJson::array();
    for (const RunSetting& setting : state.settings) {
        OrderedJson one{{"name", setting.name}, {"value", setting.value}};
        if (!setting.hash.empty()) { one["hash"] = setting.hash; }
        json["settings"].push_back(std::move(one));
    }
    json["files"] = OrderedJson::object();
    std::vector<std::filesystem::path> files = entries_of(folder);
    std::sort(files.begin(), files.end());
    for (const auto& file : files) {
        const FileHash hash = hash_file(file);
        json["files"][file.filename().string()] = {{"bytes", hash.bytes}, {"sha256", hash.sha256}};
    }
    std::string text = json.dump(2, ' ', false, OrderedJson::error_handler_t::replace);
    text.resize(text.size() - 2);    // the bracket that closes, and its line
    write_file(folder / record_name, sealed(text));
}

inline void check_files(const std::filesystem::path& folder, const OrderedJson& files, const std::string& where)
{
    require(files.is_object(), [&] { return where + ": files must be an object, found " + json_text(files); });
    for (const auto& entry : files.items()) {
        const std::string& name = entry.key();
        require(!name.empty() && name.find('/') == std::string::npos && name != "." && name != ".."
                    && name.find('\0') == std::string::npos,
                [&] { return where + ": " + printable(name) + " is not a file of this folder"; });
        const FileHash want{json_int(entry.value(), "bytes", where), json_string(entry.value(), "sha256", where)};
        const FileHash found = hash_file(folder / name);
        const std::string file = printable((folder / name).string(), 1000);
        require(found.bytes == want.bytes, [&] {
            return file + ": damaged: " + with_commas(found.bytes) + " bytes, was written with "
                 + with_commas(want.bytes);
        });
        require(found.sha256 == want.sha256, [&] { return file + ": damaged: not the bytes that were written"; });
    }
}

}  // namespace detail

// Reads the record of a checkpoint-N folder and holds every file of it to its size and hash.
inline RunState read_run_state(const std::filesystem::path& folder)
{
    using namespace detail;
    const auto        path  = folder / record_name;
    const std::string where = printable(path.string(), 1000);
    const std::string text  = read_file(path, most_record);
    const std::size_t tail  = sealed("").size();
    require(text.size() > tail && sealed(text.substr(0, text.size() - tail)) == text,
            [&] { return where + ": damaged: not the bytes that were written"; });
    const auto json = parse_json<OrderedJson>(text, where);
    const auto format = json_int(json, "format", where);
    require(format == 1, [&] {
        return where + ": format " + std::to_string(format) + " is not known to this version (" GRAFT_VERSION_STRING
             + "): resume with the version that wrote it, " + printable(json_string_or(json, "graft", "?", where));
    });
    const OrderedJson& files = json_at(json, "files", where);
    check_files(folder, files, where);
    for (const char* needed : {metrics_name, "optimizer.safetensors"}) {
        require(files.contains(needed), [&] { return where + ": does not list " + needed; });
    }

    RunState state;
    const OrderedJson& settings = json_at(json, "settings", where);
    require(settings.is_array(), [&] { return where + ": settings must be a list, found " + json_text(settings); });
    for (const OrderedJson& one : settings) {
        state.settings.push_back({json_string(one, "name", where), json_string(one, "value", where),
                                  json_string_or(one, "hash", "", where)});
    }
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
