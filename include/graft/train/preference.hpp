#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>

#include "graft/core/error.hpp"

// Direct preference optimisation: the loss of one pair, from the log-probabilities of its two answers.
//
//   a = log p(chosen) - log r(chosen)      b = log p(rejected) - log r(rejected)      p: policy, r: reference
//
//   sigmoid   -(1 - e) log s(beta (a - b)) - e log s(-beta (a - b))       e: label smoothing, 0 as a rule
//   hinge     max(0, 1 - beta (a - b))
//   ipo       (a / n - b / m - 1 / (2 beta))^2      n, m: tokens of the two answers, 1 at least
//
//   preference_loss(pair, options)    the loss, and its slopes in both log-probabilities
//   PreferenceMetrics                 what is shown of a step: means over its pairs (add_pair, mean_of)
//
// All in f64, and finite for any margin: log s(x) is min(x, 0) - log1p(exp(-|x|)). Where the policy is the reference a
// and b are 0: sigmoid gives ln 2, accuracy is 0 (a pair counts where its margin is above 0).
// Throws: Error for a beta that is not above 0, smoothing outside [0, 0.5) or with another loss than sigmoid.
// Source: Rafailov et al. 2023, arXiv:2305.18290; Azar et al. 2023, arXiv:2310.12036 (ipo); Zhao et al. 2023,
// arXiv:2305.10425 (hinge); Mitchell 2023 (smoothing). Log-probabilities are sums over the answer's tokens, but in ipo,
// which divides them by its length as TRL does.
namespace graft {

enum class PreferenceLoss { sigmoid, hinge, ipo };

struct PreferenceOptions {
    PreferenceLoss loss = PreferenceLoss::sigmoid;
    double beta = 0.1, label_smoothing = 0;
};

struct AnswerPair {
    double chosen = 0, rejected = 0;                      // log-probabilities under the policy
    double reference_chosen = 0, reference_rejected = 0;  // and under the reference
    std::int64_t chosen_tokens = 1, rejected_tokens = 1;
};

struct PairLoss {
    double loss = 0, chosen = 0, rejected = 0;  // and the slopes in the policy's log-probabilities
};

struct PreferenceMetrics {
    double rewards_chosen = 0, rewards_rejected = 0, margin = 0, accuracy = 0;  // rewards: beta a and beta b
    double logps_chosen = 0, logps_rejected = 0;                                // sums over an answer's tokens
};

inline std::optional<PreferenceLoss> preference_loss_named(std::string_view name)
{
    if (name == "sigmoid") { return PreferenceLoss::sigmoid; }
    if (name == "hinge") { return PreferenceLoss::hinge; }
    if (name == "ipo") { return PreferenceLoss::ipo; }
    return std::nullopt;
}

inline void require_preference(const PreferenceOptions& o)
{
    require(o.beta > 0 && std::isfinite(o.beta), "beta must be above 0");
    require(o.label_smoothing >= 0 && o.label_smoothing < 0.5, "label smoothing must be at least 0 and below 0.5");
    require(o.label_smoothing == 0 || o.loss == PreferenceLoss::sigmoid,
            "label smoothing belongs to the sigmoid loss; the others have none");
}

namespace detail {

inline double log_sigmoid(double x) { return std::fmin(x, 0.0) - std::log1p(std::exp(-std::fabs(x))); }
inline double sigmoid(double x)
{
    const double e = std::exp(-std::fabs(x));
    return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

}  // namespace detail

inline PairLoss preference_loss(const AnswerPair& p, const PreferenceOptions& o)
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

// Adds one pair to sums, of which mean_of makes the metrics of a step.
inline void add_pair(PreferenceMetrics& to, const AnswerPair& p, double beta)
{
    const double a = beta * (p.chosen - p.reference_chosen), b = beta * (p.rejected - p.reference_rejected);
    to.rewards_chosen += a, to.rewards_rejected += b, to.margin += a - b;
    to.accuracy += a > b ? 1.0 : 0.0;
    to.logps_chosen += p.chosen, to.logps_rejected += p.rejected;
}

inline PreferenceMetrics mean_of(const PreferenceMetrics& sums, std::int64_t pairs)
{
    const auto n = double(std::max<std::int64_t>(1, pairs));
    return {sums.rewards_chosen / n, sums.rewards_rejected / n, sums.margin / n,
            sums.accuracy / n,       sums.logps_chosen / n,     sums.logps_rejected / n};
}

}  // namespace graft
