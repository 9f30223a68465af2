#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "graft/core/inline.hpp"

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

std::optional<PreferenceLoss> preference_loss_named(std::string_view name);

void require_preference(const PreferenceOptions& o);

namespace detail {

double sigmoid(double x);

}  // namespace detail

PairLoss preference_loss(const AnswerPair& p, const PreferenceOptions& o);

// Adds one pair to sums, of which mean_of makes the metrics of a step.
void add_pair(PreferenceMetrics& to, const AnswerPair& p, double beta);

PreferenceMetrics mean_of(const PreferenceMetrics& sums, std::int64_t pairs);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/preference.ipp"
#endif
