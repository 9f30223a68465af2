#pragma once
#include "graft/train/manifest.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "graft/io/hashed_files.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/sealed_json.hpp"
#include "graft/train/metrics.hpp"
#include "graft/train/metrics_file.hpp"
#include "graft/train/run_settings.hpp"
#include "graft/version.hpp"

namespace graft::detail {

inline constexpr const char* manifest_name = "run.json";

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE std::string metrics_hash(std::span<const StepMetrics> steps)
{
    std::vector<StepMetrics> plain(steps.begin(), steps.end());
    for (StepMetrics& step : plain) { step.seconds = 0, step.peak_bytes = 0; }
    return sha256(metrics_text(plain));
}

GRAFT_INLINE std::string write_manifest(const std::filesystem::path& folder, const RunManifest& m)
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

GRAFT_INLINE bool has_manifest(const std::filesystem::path& folder)
{
    std::error_code code;
    return std::filesystem::exists(folder / detail::manifest_name, code);
}

GRAFT_INLINE FoundManifest read_manifest(const std::filesystem::path& folder)
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
