#pragma once
#include "graft/train/progress.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

#include "graft/train/metrics.hpp"

namespace graft {

GRAFT_INLINE std::string bytes_text(std::int64_t bytes)
{
    const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = double(bytes);
    int unit = 0;
    while (value >= 1024 && unit < 4) { value /= 1024, ++unit; }
    char text[48];
    std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}

GRAFT_INLINE std::string duration_text(double seconds)
{
    if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e10) { return "?"; }
    const auto s = std::int64_t(std::llround(seconds));
    char text[64];
    if (s < 3600) {
        std::snprintf(text, sizeof text, "%d:%02d", int(s / 60), int(s % 60));
    } else if (s < 86400) {
        std::snprintf(text, sizeof text, "%d:%02d:%02d", int(s / 3600), int(s / 60 % 60), int(s % 60));
    } else {
        std::snprintf(text, sizeof text, "%lld d %d:%02d:%02d", static_cast<long long>(s / 86400), int(s / 3600 % 24),
                      int(s / 60 % 60), int(s % 60));
    }
    return text;
}

GRAFT_INLINE std::string progress_line(const StepMetrics& m, std::int64_t total, const ProgressOptions& options)
{
    const auto done = m.step + 1;
    const double speed = options.tokens_per_second >= 0 ? options.tokens_per_second
                         : m.seconds > 0                ? double(m.tokens) / m.seconds
                                                        : 0.0;
    const double left = options.seconds_left >= 0
                            ? options.seconds_left
                            : m.seconds / double(done) * double(std::max<std::int64_t>(0, total - done));
    std::string line;
    if (options.bar > 0) {
        const double share = total > 0 ? std::clamp(double(done) / double(total), 0.0, 1.0) : 1.0;
        const auto full = int(share * options.bar);
        line = "[" + std::string(std::size_t(full), '#') + std::string(std::size_t(options.bar - full), '.') + "] ";
    }
    char text[160];
    std::snprintf(text, sizeof text, "step %lld/%lld  loss %.4f  lr %.2e  %.0f tok/s  ", static_cast<long long>(done),
                  static_cast<long long>(total), m.loss, m.lr, speed);
    line += text + bytes_text(m.peak_bytes) + "  " + duration_text(left) + " left";
    if (m.preference) {
        std::snprintf(text, sizeof text, "  accuracy %.2f  margin %.3f", m.preference->accuracy, m.preference->margin);
        line += text;
    }
    if (m.eval_loss) {
        std::snprintf(text, sizeof text, "  eval %.4f", *m.eval_loss);
        line += text;
    }
    return line;
}

}  // namespace graft
