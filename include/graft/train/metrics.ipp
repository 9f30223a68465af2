#pragma once
#include "graft/train/metrics.hpp"

#include <cmath>
#include <string>

#include "graft/io/text.hpp"

namespace graft::detail {

GRAFT_INLINE std::string shortest(double value)
{
    if (!std::isfinite(value)) { return "null"; }
    return shortest_text(value);
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE std::string metrics_line(const StepMetrics& m)
{
    using detail::shortest;
    std::string line = "{\"step\": " + std::to_string(m.step) + ", \"loss\": " + shortest(m.loss)
                       + ", \"lr\": " + shortest(m.lr) + ", \"grad_norm\": " + shortest(m.grad_norm)
                       + ", \"tokens\": " + std::to_string(m.tokens) + ", \"targets\": " + std::to_string(m.targets)
                       + ", \"seconds\": " + shortest(m.seconds) + ", \"peak_bytes\": " + std::to_string(m.peak_bytes);
    if (m.preference) {
        for (const auto& [name, field] : preference_fields) {
            line += ", \"" + std::string(name) + "\": " + shortest((*m.preference).*field);
        }
    }
    if (m.eval_loss) { line += ", \"eval_loss\": " + shortest(*m.eval_loss); }
    return line + "}";
}

}  // namespace graft
