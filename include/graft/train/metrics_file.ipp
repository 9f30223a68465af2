#pragma once
#include "graft/train/metrics_file.hpp"

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/io/json_file.hpp"
#include "graft/train/metrics.hpp"

namespace graft {

GRAFT_INLINE std::string metrics_text(std::span<const StepMetrics> steps)
{
    std::string out;
    for (const StepMetrics& step : steps) { out += metrics_line(step) + "\n"; }
    return out;
}

GRAFT_INLINE std::vector<StepMetrics> metrics_of(std::string_view text, const std::string& where)
{
    std::vector<StepMetrics> out;
    while (!text.empty()) {
        const auto end = text.find('\n');
        const std::string line = where + ":" + std::to_string(out.size() + 1);
        require(end != std::string_view::npos, [&] { return line + ": the file ends inside this line"; });
        const auto json = parse_json(text.substr(0, end), line);
        text.remove_prefix(end + 1);
        const auto number = [&](const char* name) {  // null: it was not finite
            return json_number_or(json, name, std::numeric_limits<double>::quiet_NaN(), line);
        };
        StepMetrics m{.step = json_int(json, "step", line),
                      .loss = number("loss"),
                      .lr = number("lr"),
                      .grad_norm = number("grad_norm"),
                      .tokens = json_int(json, "tokens", line),
                      .targets = json_int(json, "targets", line),
                      .seconds = number("seconds"),
                      .peak_bytes = json_int(json, "peak_bytes", line)};
        if (json.contains(preference_fields[0].first)) {
            m.preference.emplace();
            for (const auto& [name, field] : preference_fields) {
                require(json.contains(name), [&, missing = name] {
                    return line + ": " + missing + " is missing beside " + preference_fields[0].first;
                });
                (*m.preference).*field = number(name);
            }
        }
        if (json.contains("eval_loss")) { m.eval_loss = number("eval_loss"); }
        require(m.step == std::int64_t(out.size()), [&] {
            return line + ": step " + std::to_string(m.step) + " where " + std::to_string(out.size()) + " is expected";
        });
        out.push_back(m);
    }
    return out;
}

}  // namespace graft
