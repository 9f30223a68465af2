#include "graft/train/preference.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <limits>
#include <vector>

#include <nlohmann/json.hpp>

#include "support.hpp"

using namespace graft;

namespace {

using Loss = PreferenceLoss;

// The values of the published formulas at a = 2, b = -3 and answers of 10 and 20 tokens.
const AnswerPair example{.chosen = -40,
                         .rejected = -63,
                         .reference_chosen = -42,
                         .reference_rejected = -60,
                         .chosen_tokens = 10,
                         .rejected_tokens = 20};

}  // namespace

TEST_CASE("preference: losses by the formulas")
{
    CHECK(preference_loss(example, {}).loss == doctest::Approx(0.474076984180).epsilon(1e-11));
    CHECK(preference_loss(example, {.label_smoothing = 0.1}).loss == doctest::Approx(0.524076984180).epsilon(1e-11));
    CHECK(preference_loss(example, {.loss = Loss::hinge}).loss == doctest::Approx(0.5).epsilon(1e-14));
    CHECK(preference_loss(example, {.loss = Loss::ipo}).loss == doctest::Approx(21.6225).epsilon(1e-14));
}

TEST_CASE("preference: slopes against differences, every loss, on both sides of the hinge")
{
    for (const auto& options :
         {PreferenceOptions{}, PreferenceOptions{.beta = 0.5, .label_smoothing = 0.2},
          PreferenceOptions{.loss = Loss::hinge, .beta = 0.4}, PreferenceOptions{.loss = Loss::ipo, .beta = 0.3}}) {
        for (const double shift : {-9.0, -1.0, 0.0, 1.5, 20.0}) {
            AnswerPair pair = example;
            pair.chosen += shift;
            const auto found = preference_loss(pair, options);
            const auto slope = [&](double AnswerPair::*side) {
                constexpr double h = 1e-4;
                AnswerPair up = pair, down = pair;
                up.*side += h, down.*side -= h;
                return (preference_loss(up, options).loss - preference_loss(down, options).loss) / (2 * h);
            };
            CAPTURE(shift);
            CAPTURE(options.beta);
            CAPTURE(int(options.loss));
            CHECK(std::abs(found.chosen - slope(&AnswerPair::chosen)) <= 1e-8 * (1 + std::abs(found.chosen)));
            CHECK(std::abs(found.rejected - slope(&AnswerPair::rejected)) <= 1e-8 * (1 + std::abs(found.rejected)));
        }
    }
}

TEST_CASE("preference: policy = reference gives ln 2, rewards 0 and accuracy 0")
{
    const AnswerPair same{.chosen = -7, .rejected = -9, .reference_chosen = -7, .reference_rejected = -9};
    const auto loss = preference_loss(same, {});
    CHECK(loss.loss == doctest::Approx(0.69314718055994531).epsilon(1e-15));
    CHECK(loss.chosen == doctest::Approx(-0.05).epsilon(1e-15));
    CHECK(loss.rejected == -loss.chosen);
    PreferenceMetrics metrics;
    add_pair(metrics, same, 0.1);
    CHECK(metrics.accuracy == 0);
    CHECK(metrics.margin == 0);
    CHECK(metrics.logps_chosen == -7);
    CHECK(metrics.logps_rejected == -9);
}

TEST_CASE("preference: finite and exact at the ends for large margins")
{
    for (const double margin : {1e3, 1e6, 1e300}) {
        const auto at = [&](double a, const PreferenceOptions& o) { return preference_loss({.chosen = a}, o); };
        for (const double e : {0.0, 0.1}) {
            const PreferenceOptions options{.beta = 1, .label_smoothing = e};
            CHECK(at(-margin, options).loss == doctest::Approx((1 - e) * margin));
            CHECK(at(-margin, options).chosen == doctest::Approx(-(1 - e)));
            CHECK(at(margin, options).loss == doctest::Approx(e * margin));
            CHECK(at(margin, options).chosen == doctest::Approx(e));
        }
        CHECK(at(margin, {.loss = Loss::hinge, .beta = 1}).loss == 0);
        CHECK(at(margin, {.loss = Loss::hinge, .beta = 1}).chosen == 0);
    }
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (const auto loss : {Loss::sigmoid, Loss::hinge, Loss::ipo}) {
        CHECK(std::isnan(preference_loss({.chosen = nan}, {.loss = loss}).loss));
    }
}

TEST_CASE("preference: an answer without tokens counts as one in ipo")
{
    const AnswerPair none{.chosen = -2, .chosen_tokens = 0, .rejected_tokens = 0};
    CHECK(preference_loss(none, {.loss = Loss::ipo}).loss == doctest::Approx(49.0));
}

TEST_CASE("preference: means over the pairs of a step")
{
    PreferenceMetrics all;
    for (int i = 0; i < 6; ++i) { add_pair(all, {.chosen = -1, .rejected = -2}, 0.1); }
    CHECK(mean_of(all, 6).accuracy == 1);  // counted, not summed up from sixths
    PreferenceMetrics m;
    add_pair(m, example, 0.1);
    add_pair(m, {.chosen = -4, .rejected = -2, .reference_chosen = -3, .reference_rejected = -2}, 0.1);
    m = mean_of(m, 2);
    CHECK(m.rewards_chosen == doctest::Approx(0.05));
    CHECK(m.rewards_rejected == doctest::Approx(-0.15));
    CHECK(m.margin == doctest::Approx(0.2));
    CHECK(m.accuracy == 0.5);
    CHECK(m.logps_chosen == doctest::Approx(-22));
    CHECK(m.logps_rejected == doctest::Approx(-32.5));
}

TEST_CASE("preference: settings that mean nothing are refused")
{
    CHECK_THROWS_AS(require_preference({.beta = 0}), Error);
    CHECK_THROWS_AS(require_preference({.beta = -1}), Error);
    CHECK_THROWS_AS(require_preference({.label_smoothing = 0.5}), Error);
    CHECK_THROWS_AS(require_preference({.loss = Loss::ipo, .label_smoothing = 0.1}), Error);
    CHECK_THROWS_AS(require_preference({.loss = Loss::hinge, .label_smoothing = 0.1}), Error);
    CHECK_NOTHROW(require_preference({.label_smoothing = 0.49}));
    CHECK_FALSE(preference_loss_named("kto"));
}
