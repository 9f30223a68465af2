#include "graft/ops/silu_mul/cpu.hpp"

#include <doctest/doctest.h>

#include "graft/autograd/gradcheck.hpp"
#include "numbers.hpp"

using namespace graft;
using namespace graft_test;

namespace {
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
}  // namespace

TEST_CASE_TEMPLATE("silu_mul: value and gradients by the formula", T, double, float, bf16)
{
    for (auto [rows, cols] : {std::pair{1, 1}, {1, 15}, {5, 16}, {33, 70}, {3, 1024}}) {
        auto g = filled<T>(rows, cols, 1, 3.0), u = filled<T>(rows, cols, 2), up = filled<T>(rows, cols, 3);
        Tape tape;
        g.on(&tape).want_grad(), u.on(&tape).want_grad();
        const auto h = silu_mul(g, u);
        Matrix value(rows, cols), dg(rows, cols), du(rows, cols);
        const Matrix mg = matrix(g), mu = matrix(u), mup = matrix(up);
        for (std::size_t i = 0; i < value.at.size(); ++i) {
            const double x = mg.at[i], s = sigmoid(x);
            value.at[i] = x * s * mu.at[i];
            dg.at[i] = mup.at[i] * mu.at[i] * s * (1 + x * (1 - s)), du.at[i] = mup.at[i] * x * s;
        }
        const double tolerance = epsilon<T>() + 8 * epsilon<acc<T>>();  // exp and five operations, one rounding to T
        CHECK(difference(matrix(h), value) < tolerance);
        const auto sink = h.grad().sink();
        for (std::int64_t i = 0; i < rows; ++i) { std::copy_n(up.view().row(i), cols, sink.view.row(i)); }
        tape.run();
        CHECK(difference(matrix(g.grad()), dg) < tolerance);
        CHECK(difference(matrix(u.grad()), du) < tolerance);
    }
}

TEST_CASE("silu_mul: gradients against differences, also of the same tensor twice and of one side alone")
{
    auto g = filled<double>(5, 19, 1, 2.0), u = filled<double>(5, 19, 2);
    const auto both = gradcheck([&](TapeRef) { return probe(silu_mul(g, u)); }, {{"g", g}, {"u", u}});
    CHECK_MESSAGE(both.right(), both.text());
    const auto same = gradcheck([&](TapeRef) { return probe(silu_mul(g, g)); }, {{"g", g}});
    CHECK_MESSAGE(same.right(), same.text());
    const auto left = gradcheck([&](TapeRef) { return probe(silu_mul(g, u.detached())); }, {{"g", g}});
    CHECK_MESSAGE(left.right(), left.text());
    const auto right = gradcheck([&](TapeRef) { return probe(silu_mul(g.detached(), u)); }, {{"u", u}});
    CHECK_MESSAGE(right.right(), right.text());
}

TEST_CASE("silu_mul: far from zero it is the identity or nothing, never NaN")
{
    auto g = Acts<float, 8, Cpu>(1), u = Acts<float, 8, Cpu>(1);
    const float gates[8] = {-1e30f, -200, -90, -0.0f, 0, 90, 200, 1e30f};
    for (int j = 0; j < 8; ++j) { g.data()[j] = gates[j], u.data()[j] = 1; }
    Tape tape;
    g.on(&tape).want_grad(), u.on(&tape).want_grad();
    const auto h = silu_mul(g, u);
    tape.backward(probe(h));
    for (int j = 0; j < 8; ++j) {
        CHECK(std::isfinite(h.data()[j]));
        CHECK(std::isfinite(g.grad().view().data[j]));
        CHECK(std::isfinite(u.grad().view().data[j]));
    }
    CHECK(h.data()[7] == 1e30f);
    CHECK(std::abs(h.data()[1]) < 1e-30f);
}

TEST_CASE_TEMPLATE("silu_mul: CPU targets against each other", T, float, bf16)
{
    const auto g = filled<T>(1, 77, 1, 3.0), u = filled<T>(1, 77, 2), up = filled<T>(1, 77, 3);
    Matrix first[3];
    for (Target on : targets()) {
        auto h = empty_like(g), dg = filled<T>(1, 77, 4), du = filled<T>(1, 77, 5);
        cpu::row_loops(on, [&](auto loops) {
            loops.silu_mul(h.data(), g.data(), u.data(), 77);
            loops.silu_mul_backward(dg.data(), true, du.data(), false, up.data(), g.data(), u.data(), 77);
        });
        const Matrix found[3] = {matrix(h), matrix(dg), matrix(du)};
        for (int k = 0; k < 3; ++k) {
            if (on == Target::portable) { first[k] = found[k]; }
            CHECK(difference(found[k], first[k]) <= epsilon<T>() + 8 * epsilon<float>());
        }
    }
}

TEST_CASE_TEMPLATE("silu_mul: equal to the bit for 1, 2, 3 and 5 threads", T, float, bf16)
{
    CHECK(same_for_threads([](Bits& bits) {
        auto g = filled<T>(77, 131, 1), u = filled<T>(77, 131, 2);
        Tape tape;
        g.on(&tape).want_grad(), u.on(&tape).want_grad();
        const auto h = silu_mul(g, u);
        bits.add(h);
        tape.backward(probe(h));
        bits.add(g.grad()), bits.add(u.grad());
    }));
}

TEST_CASE("silu_mul: shapes that differ are an Error; no rows are fine")
{
    CHECK_THROWS_AS(silu_mul(filled<float>(3, 5, 1), filled<float>(3, 4, 1)), Error);
    CHECK_THROWS_AS(silu_mul(filled<float>(3, 5, 1), filled<float>(2, 5, 1)), Error);
    CHECK(silu_mul(filled<float>(0, 5, 1), filled<float>(0, 5, 1)).rows() == 0);
}
