#pragma once
#include "graft/train/preference.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>

#include "graft/core/error.hpp"

namespace graft {

GRAFT_INLINE std::optional<PreferenceLoss> preference_loss_named(std::string_view name)
{
    if (name == "sigmoid") { return PreferenceLoss::sigmoid; }
    if (name == "hinge") { return PreferenceLoss::hinge; }
    if (name == "ipo") { return PreferenceLoss::ipo; }
    return std::nullopt;
}

GRAFT_INLINE void require_preference(const PreferenceOptions& o)
{
    require(o.beta > 0 && std::isfinite(o.beta), "beta must be above 0");
    require(o.label_smoothing >= 0 && o.label_smoothing < 0.5, "label smoothing must be at least 0 and below 0.5");
    require(o.label_smoothing == 0 || o.loss == PreferenceLoss::sigmoid,
            "label smoothing belongs to the sigmoid loss; the others have none");
}

}  // namespace graft

namespace graft::detail {

inline double log_sigmoid(double x) { return std::fmin(x, 0.0) - std::log1p(std::exp(-std::fabs(x))); }

GRAFT_INLINE double sigmoid(double x)
{
    const double e = std::exp(-std::fabs(x));
    return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE PairLoss preference_loss(const AnswerPair& p, const PreferenceOptions& o)
{
    const double a = p.chosen - p.reference_chosen, b = p.rejected - p.reference_rejected;
    const double margin = o.beta * (a - b), e = o.label_smoothing;
    switch (o.loss) {
    case PreferenceLoss::sigmoid: {
        const double loss = -(1 - e) * detail::log_sigmoid(margin) - e * detail::log_sigmoid(-margin);
        const double slope = o.beta * (e * detail::sigmoid(margin) - (1 - e) * detail::sigmoid(-margin));
        return {loss, slope, -slope};
    }
    case PreferenceLoss::hinge: {
        const double slope = margin < 1 ? -o.beta : 0.0;
        return {margin < 1 ? 1 - margin : margin >= 1 ? 0.0 : margin, slope, -slope};  // a NaN stays one
    }
    case PreferenceLoss::ipo: {
        const auto n = double(std::max<std::int64_t>(1, p.chosen_tokens));
        const auto m = double(std::max<std::int64_t>(1, p.rejected_tokens));
        const double off = a / n - b / m - 1 / (2 * o.beta);
        return {off * off, 2 * off / n, -2 * off / m};
    }
    }
    return {};
}

GRAFT_INLINE void add_pair(PreferenceMetrics& to, const AnswerPair& p, double beta)
{
    const double a = beta * (p.chosen - p.reference_chosen), b = beta * (p.rejected - p.reference_rejected);
    to.rewards_chosen += a, to.rewards_rejected += b, to.margin += a - b;
    to.accuracy += a > b ? 1.0 : 0.0;
    to.logps_chosen += p.chosen, to.logps_rejected += p.rejected;
}

GRAFT_INLINE PreferenceMetrics mean_of(const PreferenceMetrics& sums, std::int64_t pairs)
{
    const auto n = double(std::max<std::int64_t>(1, pairs));
    return {sums.rewards_chosen / n, sums.rewards_rejected / n, sums.margin / n,
            sums.accuracy / n,       sums.logps_chosen / n,     sums.logps_rejected / n};
}

}  // namespace graft
