#include "graft/ops/vector_math.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "numbers.hpp"
#include "support.hpp"

using namespace graft;
using graft_test::targets;

namespace {
// A row of made-up numbers.
std::vector<float> row(std::int64_t n, float size)
{
    auto x = graft_test::filled<float>(1, n, 1, size);
    return {x.data(), x.data() + n};
}
}  // namespace

TEST_CASE("exp: the relative error stays below what the header says, on every target, over the whole range")
{
    for (Target on : targets()) {
        double worst = 0;
        float at = 0;
        std::vector<float> x, y;
        for (double v = -87.29; v < 88.29; v += 1.0 / 8192) { x.push_back(float(v)); }
        y = x;
        cpu::row_loops(on, [&](auto loops) { loops.exp_sum(y.data(), std::int64_t(y.size()), 1.0f, 0.0f); });
        for (std::size_t i = 0; i < x.size(); ++i) {
            const double error = std::abs(double(y[i]) / std::exp(double(x[i])) - 1);
            if (error > worst) { worst = error, at = x[i]; }
        }
        CAPTURE(name(on));
        CAPTURE(at);
        CHECK(worst < 3e-7);
    }
}

TEST_CASE("exp: zero gives one, inputs out of range are held at its ends, NaN stays NaN")
{
    for (Target on : targets()) {
        std::vector<float> x = {0.0f, -0.0f, -1000, -HUGE_VALF, 1000, HUGE_VALF, std::nanf("")};
        x.resize(33, 0.0f);  // both the vector loop and its end
        x[32] = std::nanf("");
        cpu::row_loops(on, [&](auto loops) { loops.exp_sum(x.data(), 33, 1.0f, 0.0f); });
        CHECK(x[0] == 1);
        CHECK(x[1] == 1);
        CHECK(x[2] > 0);
        CHECK(x[2] < 1.3e-38f);
        CHECK(x[3] == x[2]);
        CHECK(x[4] > 1e38f);
        CHECK(std::isfinite(x[4]));
        CHECK(x[5] == x[4]);
        CHECK(std::isnan(x[6]));
        CHECK(std::isnan(x[32]));
        CHECK(x[31] == 1);
    }
}

TEST_CASE("row loops: sums, dot products and maxima for every length, on every target")
{
    for (Target on : targets()) {
        for (std::int64_t n = 1; n < 70; ++n) {
            CAPTURE(name(on));
            CAPTURE(n);
            auto x = row(n, 2);
            double sum = 0, dot = 0, size = 0, top = x[0];
            for (float v : x) {
                sum += std::exp(0.5 * double(v) - 0.25), dot += double(v) * double(v), size += double(v) * double(v);
                top = std::fmax(top, double(v));
            }
            cpu::row_loops(on, [&](auto loops) {
                CHECK(double(loops.largest(x.data(), n)) == top);
                CHECK(std::abs(double(loops.dot(x.data(), x.data(), n)) - dot) <= 8 * epsilon<float>() * size);
                CHECK(std::abs(double(loops.exp_sum(x.data(), n, 0.5f, 0.25f)) - sum) <= 8 * epsilon<float>() * sum);
            });
        }
    }
}

TEST_CASE("row loops: the largest may stand anywhere, and all may be far below zero")
{
    for (Target on : targets()) {
        for (std::int64_t n : {1, 5, 16, 17, 33}) {
            for (std::int64_t at = 0; at < n; ++at) {
                std::vector<float> x(std::size_t(n), -1e30f);
                x[std::size_t(at)] = -5;
                cpu::row_loops(on, [&](auto loops) { CHECK(loops.largest(x.data(), n) == -5.0f); });
            }
        }
    }
}

TEST_CASE("row loops: targets with fused multiply-add give the same bits as each other")
{
    if (targets().size() < 3) { return graft_test::skip("this machine has not both AVX2 and AVX-512"); }
    for (std::int64_t n : {1, 15, 16, 47, 1000}) {
        float sums[2], dots[2];
        std::vector<float> rows[2];
        for (int k = 0; k < 2; ++k) {
            rows[k] = row(n, 3);
            cpu::row_loops(k == 0 ? Target::avx2 : Target::avx512, [&](auto loops) {
                dots[k] = loops.dot(rows[k].data(), rows[k].data(), n);
                sums[k] = loops.exp_sum(rows[k].data(), n, 1.0f, 0.5f);
            });
        }
        CHECK(sums[0] == sums[1]);
        CHECK(dots[0] == dots[1]);
        CHECK(rows[0] == rows[1]);
    }
}
