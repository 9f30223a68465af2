#include "graft/ops/add/cpu.hpp"

#include <doctest/doctest.h>

#include "graft/autograd/gradcheck.hpp"
#include "numbers.hpp"

using namespace graft;
using namespace graft_test;

TEST_CASE_TEMPLATE("add: the formula, and gradients that are dy to the bit", T, double, float, bf16)
{
    for (auto [rows, cols] : {std::pair{1, 1}, {1, 37}, {130, 64}, {3, 1024}}) {
        auto a = filled<T>(rows, cols, 1), b = filled<T>(rows, cols, 2);
        Tape tape;
        a.on(&tape).want_grad(), b.on(&tape).want_grad();
        const auto y = a + b;
        auto up = filled<T>(rows, cols, 3);
        y.grad().adopt(up.memory());
        Matrix expected(rows, cols);
        for (std::size_t i = 0; i < expected.at.size(); ++i) {
            expected.at[i] = double(T(acc<T>(matrix(a).at[i] + matrix(b).at[i])));
        }
        CHECK(difference(matrix(y), expected) == 0);
        if (rows > 1) {
            tape.run();
            CHECK(difference(matrix(a.grad()), matrix(up)) == 0);
            CHECK(difference(matrix(b.grad()), matrix(up)) == 0);
        }
    }
}

TEST_CASE("add: gradients against differences: a + b, a + a, one side frozen, a bias")
{
    auto a = filled<double, 7>(5, 7, 1), b = filled<double, 7>(5, 7, 2);
    auto w = param<double>(1, 7, 3);
    const auto sum = gradcheck([&](TapeRef) { return probe((a + b) + a); }, {{"a", a}, {"b", b}});
    CHECK_MESSAGE(sum.right(), sum.text());
    const auto twice = gradcheck([&](TapeRef) { return probe((a + a) + (b + b)); }, {{"a", a}, {"b", b}});
    CHECK_MESSAGE(twice.right(), twice.text());
    const auto left = gradcheck([&](TapeRef) { return probe(a + b.detached()); }, {{"a", a}});
    CHECK_MESSAGE(left.right(), left.text());
    const auto right = gradcheck([&](TapeRef) { return probe(a.detached() + b); }, {{"b", b}});
    CHECK_MESSAGE(right.right(), right.text());
    const auto bias = gradcheck([&](TapeRef) { return probe(add_bias(a + b, w)); }, {{"a", a}, {"b", b}, {"w", w}});
    CHECK_MESSAGE(bias.right(), bias.text());
    // A bias over a frozen base: the only thing that is trained.
    const auto only = gradcheck([&](TapeRef tape) { return probe(add_bias((a + b).on(tape.tape), w)); }, {{"w", w}});
    CHECK_MESSAGE(only.right(), only.text());
}

TEST_CASE("add: a gradient that was there already is added to, not replaced")
{
    auto a = filled<float>(3, 5, 1), b = filled<float>(3, 5, 2);
    auto w = param<float>(1, 5, 3);
    Matrix once_a, once_w;
    for (int step = 1; step <= 2; ++step) {
        Tape tape;
        a.on(&tape).want_grad(), b.on(&tape).want_grad();
        tape.backward(probe(add_bias(a + b, w)));
        if (step == 1) { once_a = matrix(a.grad()), once_w = matrix(w.grad()); }
    }
    for (std::size_t i = 0; i < once_a.at.size(); ++i) { CHECK(matrix(a.grad()).at[i] == 2 * once_a.at[i]); }
    CHECK(difference(matrix(b.grad()), matrix(a.grad())) == 0);
    for (std::size_t i = 0; i < once_w.at.size(); ++i) { CHECK(matrix(w.grad()).at[i] == 2 * once_w.at[i]); }
}

TEST_CASE_TEMPLATE("add_bias: each row is moved, the gradient is the sum over rows", T, double, float, bf16)
{
    for (auto [rows, cols] : {std::pair{1, 1}, {1, 130}, {67, 65}}) {
        auto a = filled<T>(rows, cols, 1);
        auto zero = filled<T>(rows, cols, 1, 0.0);
        auto w = param<T>(1, cols, 3);
        Tape tape;
        a.on(&tape).want_grad();
        const auto y = add_bias(a + zero, w);
        Matrix expected = matrix(a), sums(1, cols);
        const auto loss = probe(y);
        tape.backward(loss);
        const Matrix up = matrix(a.grad());
        for (std::int64_t i = 0; i < rows; ++i) {
            for (std::int64_t j = 0; j < cols; ++j) {
                expected(i, j) += double(w.working().data()[j]), sums(0, j) += up(i, j);
            }
        }
        CHECK(difference(matrix(y), expected) <= epsilon<T>());
        CHECK(difference(matrix(w.grad()), sums) <= 4 * epsilon<acc<T>>() * std::sqrt(double(rows)));
    }
}

TEST_CASE_TEMPLATE("add: equal to the bit for 1, 2, 3 and 5 threads", T, float, bf16)
{
    CHECK(same_for_threads([](Bits& bits) {
        auto a = filled<T>(333, 131, 1), b = filled<T>(333, 131, 2);
        auto w = param<T>(1, 131, 3);
        Tape tape;
        a.on(&tape).want_grad(), b.on(&tape).want_grad();
        const auto y = add_bias((a + b) + a, w);
        bits.add(y);
        tape.backward(probe(y));
        bits.add(a.grad()), bits.add(b.grad()), bits.add(w.grad());
    }));
}

TEST_CASE("add: shapes that differ are an Error with both")
{
    const auto a = filled<float>(3, 5, 1);
    CHECK_THROWS_WITH_AS(a + filled<float>(3, 4, 1), "add: shapes differ: (3, 5) and (3, 4)", Error);
    CHECK_THROWS_WITH_AS(a + filled<float>(2, 5, 1), "add: shapes differ: (3, 5) and (2, 5)", Error);
    CHECK_THROWS_AS(add_bias(a, param<float>(1, 4, 1)), Error);
    CHECK((filled<float>(0, 5, 1) + filled<float>(0, 5, 1)).rows() == 0);
}
