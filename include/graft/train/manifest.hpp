#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/io/hashed_files.hpp"
#include "graft/io/sealed_json.hpp"
#include "graft/train/metrics_file.hpp"
#include "graft/train/run_settings.hpp"
#include "graft/version.hpp"

// run.json: what a finished run was made from and what it made, so that it can be checked and run again.
//
//   write_manifest(folder, manifest)     folder/run.json, sealed (io/sealed_json.hpp); returns its hash
//   read_manifest(folder)                Throws: Error that names the file and the field
//   metrics_hash(steps)                  of what was measured, without times and memory, which differ from run to run
//
// The chain: `settings` hold the hashes of base, data and continued adapter; `order` that of the rows as they were
// trained on; `before` and `after` those of the trained tensors and of the files; `earlier` is the hash of the run.json
// of the run whose adapter this one continued. Nothing in it depends on where, when or on how many threads it ran.
namespace graft {

using OptionValues = std::vector<std::pair<std::string, std::string>>;

// Formats of run.json and of what a run writes beside it; a replay keeps to the one of its run.
//   1    an adapter's file does not say how its base was held
//   2    it does (graft.quantized)
inline constexpr std::int64_t newest_format = 2;

struct RunManifest {
    std::int64_t format = newest_format;
    std::string graft = GRAFT_VERSION_STRING;
    std::string target;                          // of the processor: bits are equal on one target (machine.hpp)
    OptionValues options{};                      // that decide the result, by name, as they were given
    RunSettings settings{};                      // the same, resolved: with defaults and hashes
    std::vector<std::string> changed{};          // settings that a resumed run changed on the way
    std::int64_t steps = 0, planned = 0;         // optimiser steps done, and those of the whole run
    std::int64_t rows = 0, least = 0, most = 0;  // examples; times that each was trained on
    std::string order{};                         // of the rows (row_count.hpp)
    std::int64_t declared = 0, trained = 0, without_gradient = 0, frozen = 0;  // tensors
    std::string before{};                      // of the trained tensors as the run found them
    std::string after{};                       // and as it left them
    double probe_before = 0, probe_after = 0;  // losses (probe.hpp)
    double first_loss = 0, last_loss = 0;      // of the first and the last step
    std::string metrics{};
    std::string earlier{};  // empty: no adapter with a manifest was continued
    HashedFiles files{};    // of the result, run.json apart
};

namespace detail {

inline constexpr const char* manifest_name = "run.json";

}  // namespace detail

inline std::string metrics_hash(std::span<const StepMetrics> steps)
{
    std::vector<StepMetrics> plain(steps.begin(), steps.end());
    for (StepMetrics& step : plain) { step.seconds = 0, step.peak_bytes = 0; }
    return sha256(metrics_text(plain));
}

inline std::string write_manifest(const std::filesystem::path& folder, const RunManifest& m)
{
    OrderedJson json;
    json["format"] = m.format;
    json["graft"] = m.graft;
    json["target"] = m.target;
    json["options"] = OrderedJson::object();
    for (const auto& [name, value] : m.options) { json["options"][name] = value; }
    json["settings"] = settings_json(m.settings);
    json["changed"] = m.changed;
    json["steps"] = {{"done", m.steps}, {"planned", m.planned}};
    json["rows"] = {{"examples", m.rows}, {"least", m.least}, {"most", m.most}, {"order", m.order}};
    json["tensors"] = {{"declared", m.declared}, {"trained", m.trained}, {"without_gradient", m.without_gradient},
                       {"frozen", m.frozen},     {"before", m.before},   {"after", m.after}};
    json["probe"] = {{"before", m.probe_before}, {"after", m.probe_after}};
    json["loss"] = {{"first", m.first_loss}, {"last", m.last_loss}, {"metrics", m.metrics}};
    json["earlier"] = m.earlier;
    json["files"] = hashed_json(m.files);
    return write_sealed(folder / detail::manifest_name, json);
}

struct FoundManifest {
    RunManifest run;
    std::string sha256;  // of run.json: what a later run calls `earlier`
};

inline bool has_manifest(const std::filesystem::path& folder)
{
    std::error_code code;
    return std::filesystem::exists(folder / detail::manifest_name, code);
}

inline FoundManifest read_manifest(const std::filesystem::path& folder)
{
    const auto path = folder / detail::manifest_name;
    const std::string where = printable(path.string(), 1000);
    require(has_manifest(folder), [&] {
        return printable(folder.string(), 1000) + ": there is no run.json: no run of this library ended here";
    });
    const Sealed sealed = read_sealed(path);
    const OrderedJson& json = sealed.json;
    const auto format = json_int(json, "format", where);
    require(format >= 1 && format <= newest_format, [&] {
        return where + ": format " + std::to_string(format) + " is not known to this version (" GRAFT_VERSION_STRING
               + "); it was written by " + printable(json_string_or(json, "graft", "?", where));
    });
    const auto section = [&](const char* name) -> const OrderedJson& {
        const OrderedJson& found = json_at(json, name, where);
        if (!found.is_object()) { json_field_error(where, name, "an object", found); }
        return found;
    };
    RunManifest m;
    m.format = format;
    m.graft = json_string(json, "graft", where);
    m.target = json_string(json, "target", where);
    for (const auto& option : section("options").items()) {
        m.options.emplace_back(option.key(), json_as_string(option.value(), "options", where));
    }
    m.settings = settings_of_json(json_at(json, "settings", where), where);
    m.changed = json_strings(json, "changed", where);
    const OrderedJson &steps = section("steps"), &rows = section("rows"), &tensors = section("tensors"),
                      &probe = section("probe"), &loss = section("loss");
    m.steps = json_int(steps, "done", where), m.planned = json_int(steps, "planned", where);
    m.rows = json_int(rows, "examples", where), m.least = json_int(rows, "least", where);
    m.most = json_int(rows, "most", where), m.order = json_string(rows, "order", where);
    m.declared = json_int(tensors, "declared", where), m.trained = json_int(tensors, "trained", where);
    m.without_gradient = json_int(tensors, "without_gradient", where), m.frozen = json_int(tensors, "frozen", where);
    m.before = json_string(tensors, "before", where), m.after = json_string(tensors, "after", where);
    m.probe_before = json_number_or(probe, "before", 0, where);
    m.probe_after = json_number_or(probe, "after", 0, where);
    m.first_loss = json_number_or(loss, "first", 0, where), m.last_loss = json_number_or(loss, "last", 0, where);
    m.metrics = json_string(loss, "metrics", where);
    m.earlier = json_string_or(json, "earlier", "", where);
    m.files = hashed_of_json(json_at(json, "files", where), where);
    return {m, sealed.sha256};
}

}  // namespace graft
