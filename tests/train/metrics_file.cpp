#include <doctest/doctest.h>

#include <cmath>

#include "graft/train/metrics_file.hpp"

TEST_CASE("metrics: lines read back to the same text, bit for bit")
{
    std::vector<graft::StepMetrics> steps;
    for (int i = 0; i < 50; ++i) {
        steps.push_back({.step = i,
                         .loss = std::exp(-0.1 * i),
                         .lr = 1e-3 / (i + 3),
                         .grad_norm = std::sqrt(i + 0.1),
                         .tokens = 1'000'000'007LL * i,
                         .targets = i % 3,
                         .seconds = 0.1 * i,
                         .peak_bytes = 1LL << 40});
        if (i % 7 == 0) { steps.back().eval_loss = 1.0 / 3; }
        if (i % 2 == 0) {
            steps.back().preference = {0.1 * i, -1.0 / (i + 3), 0.1 * i + 1.0 / (i + 3), 0.5, -i / 3.0, -1e3 / (i + 7)};
        }
    }
    steps[3].loss = NAN;
    const std::string text = graft::metrics_text(steps);
    CHECK(graft::metrics_text(graft::metrics_of(text, "f")) == text);
    CHECK(graft::metrics_of("", "f").empty());
}

TEST_CASE("metrics: a line that is cut, damaged or out of turn is an error with its number")
{
    const std::string line = graft::metrics_line({.step = 0}) + "\n", next = graft::metrics_line({.step = 1}) + "\n";
    const auto said = [](const std::string& text) -> std::string {
        try {
            graft::metrics_of(text, "f");
        } catch (const graft::Error& error) {
            return error.what();
        }
        return "";
    };
    for (std::size_t cut = 1; cut < next.size(); ++cut) { CHECK(said(line + next.substr(0, cut)).starts_with("f:2")); }
    CHECK(said(next).find("step 1 where 0 is expected") != std::string::npos);
    CHECK(said(line + "[]\n").starts_with("f:2"));
    auto pair = graft::metrics_line({.step = 0, .preference = graft::PreferenceMetrics{}}) + "\n";
    CHECK(said(pair).empty());
    CHECK(graft::metrics_of(pair, "f")[0].preference.has_value());
    pair.replace(pair.find("\"accuracy\""), 10, "\"precision\"");
    CHECK(said(pair).find("accuracy is missing") != std::string::npos);
    CHECK(said("{\"step\": 0}\n").find("tokens") != std::string::npos);
}
