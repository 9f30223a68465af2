#include "graft/ops/rope/cpu.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "graft/autograd/gradcheck.hpp"
#include "graft/nn/rope.hpp"
#include "graft/ops/add/cpu.hpp"
#include "numbers.hpp"

using namespace graft;
using namespace graft_test;

namespace {

std::vector<double> frequencies(std::int64_t head)
{
    std::vector<double> f;
    for (std::int64_t i = 0; i < head / 2; ++i) { f.push_back(std::pow(10000.0, -2.0 * double(i) / double(head))); }
    return f;
}

template <class T>
Context<T, Cpu> context(std::int64_t head, const std::vector<std::int64_t>& lengths, std::int64_t positions = 40)
{
    return context_for<T, Cpu>(lengths, rope_table<acc<T>, Cpu>(frequencies(head), positions));
}

// rope on a copy of x, so that x itself stays as it is.
template <class T> Acts<T, dyn, Cpu> turned(const Acts<T, dyn, Cpu>& x, const Context<T, Cpu>& c)
{
    return rope(x + filled<T>(x.rows(), x.cols(), 1, 0.0), c);
}

}  // namespace

TEST_CASE_TEMPLATE("rope: each pair of a head is turned by its position's angle, in every document", T, double, float,
                   bf16)
{
    for (std::int64_t head : {2, 6, 64, 80, 128}) {
        const std::vector<std::int64_t> lengths = {3, 1, 35};
        const auto c = context<T>(head, lengths);
        auto x = filled<T>(39, 3 * head, 1);
        const auto y = turned(x, c);
        Matrix expected(39, 3 * head);
        const Matrix from = matrix(x);
        std::int64_t row = 0;
        for (std::int64_t length : lengths) {
            for (std::int64_t p = 0; p < length; ++p, ++row) {
                for (std::int64_t h = 0; h < 3; ++h) {
                    for (std::int64_t i = 0; i < head / 2; ++i) {
                        const double angle = double(p) * frequencies(head)[std::size_t(i)];
                        const double a = from(row, h * head + i), b = from(row, h * head + head / 2 + i);
                        expected(row, h * head + i) = a * std::cos(angle) - b * std::sin(angle);
                        expected(row, h * head + head / 2 + i) = b * std::cos(angle) + a * std::sin(angle);
                    }
                }
            }
        }
        CHECK(difference(matrix(y), expected) < epsilon<T>() + 2 * epsilon<acc<T>>());
    }
}

TEST_CASE("rope: gradients against differences")
{
    for (std::int64_t head : {2, 6, 16}) {
        const auto c = context<double>(head, {4, 1, 2});
        auto x = filled<double>(7, 2 * head, 1);
        const auto result = gradcheck([&](TapeRef) { return probe(turned(x, c)); }, {{"x", x}});
        CHECK_MESSAGE(result.right(), result.text());
    }
}

TEST_CASE_TEMPLATE("rope: the gradient is turned back: by -p it undoes the forward", T, double, float, bf16)
{
    const auto c = context<T>(16, {9});
    auto x = filled<T>(9, 32, 1);
    Tape tape;
    x.on(&tape).want_grad();
    const auto y = turned(x, c);
    y.grad().adopt(y.memory());
    const Matrix before = matrix(x);
    tape.run();
    CHECK(difference(matrix(x.grad()), before) < 2 * epsilon<T>() + 4 * epsilon<acc<T>>());
}

TEST_CASE("rope: what a row is turned by does not depend on the length of the table, nor on its neighbours")
{
    const auto x = filled<float>(5, 16, 1);
    const auto y = turned(x, context<float>(16, {5}, 5)), z = turned(x, context<float>(16, {5}, 1000));
    CHECK(difference(matrix(y), matrix(z)) == 0);
    auto last = Acts<float, dyn, Cpu>(1, 16, Pool<Cpu>::common());
    std::copy_n(x.view().row(4), 16, last.data());
    auto c = context<float>(16, {1}, 5);
    c.positions.data()[0] = 4;
    CHECK(std::memcmp(turned(last, c).data(), y.view().row(4), 16 * sizeof(float)) == 0);
}

TEST_CASE_TEMPLATE("rope: equal to the bit for 1, 2, 3 and 5 threads", T, float, bf16)
{
    const auto c = context<T>(16, {40, 30, 1, 33}, 40);
    CHECK(same_for_threads([&](Bits& bits) {
        auto x = filled<T>(104, 48, 1);
        Tape tape;
        x.on(&tape).want_grad();
        const auto y = turned(x, c);
        bits.add(y);
        tape.backward(probe(y));
        bits.add(x.grad());
    }));
}

TEST_CASE("rope: rows that are not whole heads, positions beyond the table or missing, no table: an Error each")
{
    const auto c = context<float>(16, {3}, 3);
    CHECK_THROWS_AS(rope(filled<float>(3, 24, 1), c), Error);
    CHECK_THROWS_AS(rope(filled<float>(4, 16, 1), c), Error);
    CHECK_THROWS_AS(rope(filled<float>(4, 16, 1), context<float>(16, {4}, 3)), Error);
    CHECK_THROWS_AS(rope(filled<float>(3, 16, 1), Context<float, Cpu>()), Error);
    auto negative = context<float>(16, {3}, 3);
    negative.positions.data()[1] = -1;
    CHECK_THROWS_WITH_AS(rope(filled<float>(3, 16, 1), negative), doctest::Contains("-1"), Error);
    CHECK(rope(filled<float>(0, 16, 1), context<float>(16, {})).rows() == 0);
}
