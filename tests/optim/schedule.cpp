#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <string>

#include <nlohmann/json.hpp>

#include "graft/optim/schedule.hpp"
#include "support.hpp"

TEST_CASE("schedule: rates equal those of an established implementation at every step")
{
    const auto root = graft_test::data();
    if (!root) { return graft_test::skip("GRAFT_TEST_DATA is not set"); }
    std::ifstream file(*root / "golden/schedules.json");
    int compared = 0;
    for (const auto& run : nlohmann::json::parse(file)) {
        const auto name = run["name"].get<std::string>();
        const auto total = run["total_steps"].get<std::int64_t>();
        const auto warmup = run["warmup_steps"].get<std::int64_t>();
        const auto lr = run["lr"].get<double>();
        // Their "constant" leaves a warm-up out; ours is constant_with_warmup, the same without one.
        auto schedule = graft::schedule_named(name == "constant_with_warmup" ? "constant" : name);
        if (!schedule || (name == "constant" && warmup > 0)) { continue; }
        const auto given = run["warmup_given_as"].get<std::string>();
        const auto share = given.rfind("ratio ", 0) == 0 ? given.substr(6) : given;
        CHECK(graft::warmup_steps(std::stod(share), total) == warmup);
        const auto& expected = run["lr_used_by_step"];
        for (std::size_t step = 0; step < expected.size(); ++step) {
            CHECK(std::abs(lr * graft::factor(*schedule, std::int64_t(step), total, warmup)
                           - expected[step].get<double>())
                  <= 1e-15);
            ++compared;
        }
    }
    CHECK(compared == 10 * 60);
}

TEST_CASE("schedule: edges")
{
    using graft::factor;
    using graft::Schedule;
    CHECK(factor(Schedule::linear, 0, 10, 0) == 1.0);
    CHECK(factor(Schedule::linear, 0, 10, 3) == 0.0);  // the first warm-up step has rate 0
    CHECK(factor(Schedule::linear, 3, 10, 3) == 1.0);
    CHECK(factor(Schedule::linear, 10, 10, 3) == 0.0);
    CHECK(factor(Schedule::linear, 50, 10, 3) == 0.0);  // behind the end
    CHECK(factor(Schedule::linear, 0, 0, 0) == 0.0);
    CHECK(factor(Schedule::cosine, 5, 10, 0) == doctest::Approx(0.5));
    CHECK(factor(Schedule::cosine, 10, 10, 10) == 1.0);
    CHECK(factor(Schedule::constant, 1, 10, 4) == 0.25);
    CHECK(factor(Schedule::cosine, 5, 10, 100) == 0.05);  // a warm-up longer than the run
    CHECK(graft::warmup_steps(0, 57) == 0);
    CHECK(graft::warmup_steps(0.09, 57) == 6);
    CHECK(graft::warmup_steps(1, 57) == 1);
    CHECK(graft::warmup_steps(100, 57) == 100);
    CHECK_THROWS_AS(graft::warmup_steps(-1, 57), graft::Error);
    CHECK_THROWS_AS(graft::warmup_steps(1.5, 57), graft::Error);
    CHECK_THROWS_AS(graft::warmup_steps(std::nan(""), 57), graft::Error);
    CHECK(!graft::schedule_named("polynomial"));
    CHECK(std::string(graft::name_of(*graft::schedule_named("cosine"))) == "cosine");
}
