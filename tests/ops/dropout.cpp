#include "graft/ops/dropout/cpu.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "graft/autograd/gradcheck.hpp"
#include "numbers.hpp"

using namespace graft;
using namespace graft_test;

namespace {

template <class T>
Context<T, Cpu> context(const std::vector<std::int64_t>& lengths, std::uint32_t first_sample = 0,
                        RandomKey key = {7, 3})
{
    auto c = context_for<T, Cpu>(lengths, nullptr);
    auto segments = *c.segments;
    for (auto& each : segments) { each.sample += first_sample; }
    c.segments = std::make_shared<const std::vector<Segment>>(segments);
    c.training = true, c.random = key;
    return c;
}

template <class T> Acts<T, dyn, Cpu> ones(std::int64_t rows, std::int64_t cols)
{
    auto x = filled<T>(rows, cols, 1, 0.0);
    for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < cols; ++j) { x.view().row(i)[j] = T(acc<T>(1)); }
    }
    return x;
}

}  // namespace

TEST_CASE_TEMPLATE("dropout: what is kept is divided by 1 - p, the rest is 0, the share is p", T, double, float, bf16)
{
    for (double p : {0.1, 0.5, 0.9}) {
        const std::int64_t rows = 100, cols = 403;
        const auto y = matrix(dropout(ones<T>(rows, cols), p, 5, context<T>({60, 40})));
        std::int64_t dropped = 0;
        const double kept = double(T(acc<T>(1 / (1 - p))));
        for (double each : y.at) {
            dropped += each == 0;
            REQUIRE((each == 0 || each == kept));
        }
        const double count = double(rows * cols);
        CHECK(std::abs(double(dropped) - p * count) < 5 * std::sqrt(p * (1 - p) * count));  // five standard deviations
    }
}

TEST_CASE_TEMPLATE("dropout: the gradient passes where the value did", T, double, float, bf16)
{
    auto x = ones<T>(20, 33);
    Tape tape;
    x.on(&tape).want_grad();
    const auto y = dropout(x, 0.3, 5, context<T>({13, 7}));
    const auto up = ones<T>(20, 33);
    y.grad().adopt(up.memory());
    tape.run();
    CHECK(difference(matrix(x.grad()), matrix(y)) == 0);
}

TEST_CASE("dropout: gradients against differences")
{
    auto x = filled<double>(9, 21, 1);
    const auto c = context<double>({4, 5});
    const auto result = gradcheck([&](TapeRef) { return probe(dropout(x, 0.4, 2, c)); }, {{"x", x}});
    CHECK_MESSAGE(result.right(), result.text());
}

TEST_CASE_TEMPLATE("dropout: micro-batches draw what the whole batch draws", T, float, bf16)
{
    const auto x = filled<T>(30, 19, 1);
    const Matrix whole = matrix(dropout(x, 0.3, 5, context<T>({12, 1, 17})));
    std::int64_t at = 0;
    std::uint32_t sample = 0;
    for (std::int64_t rows : {12, 1, 17}) {
        auto part = Acts<T, dyn, Cpu>(rows, 19, Pool<Cpu>::common());
        std::copy_n(x.view().row(at), rows * 19, part.data());
        const Matrix y = matrix(dropout(part, 0.3, 5, context<T>({rows}, sample++)));
        for (std::int64_t i = 0; i < rows; ++i) {
            for (std::int64_t j = 0; j < 19; ++j) { REQUIRE(y(i, j) == whole(at + i, j)); }
        }
        at += rows;
    }
}

TEST_CASE("dropout: seed, step, module, sample, position and column each change what is drawn")
{
    const auto x = ones<float>(2, 64);
    const auto draw = [&](std::uint32_t module, const Context<float, Cpu>& c) {
        return matrix(dropout(x, 0.5, module, c));
    };
    const Matrix base = draw(5, context<float>({2}));
    CHECK(draw(5, context<float>({2})).at == base.at);
    CHECK(draw(6, context<float>({2})).at != base.at);
    CHECK(draw(5, context<float>({2}, 1)).at != base.at);
    CHECK(draw(5, context<float>({2}, 0, {8, 3})).at != base.at);
    CHECK(draw(5, context<float>({2}, 0, {7, 4})).at != base.at);
    CHECK(draw(5, context<float>({1, 1})).at != base.at);
    CHECK(std::vector<double>(base.at.begin(), base.at.begin() + 64)
          != std::vector<double>(base.at.begin() + 64, base.at.end()));
}

TEST_CASE("dropout: rate 0 and inference give back x itself and record nothing")
{
    auto x = filled<float>(3, 5, 1);
    Tape tape;
    x.on(&tape).want_grad();
    CHECK(dropout(x, 0.0, 5, context<float>({3})).data() == x.data());
    auto c = context<float>({3});
    c.training = false;
    CHECK(dropout(x, 0.5, 5, c).data() == x.data());
    CHECK(tape.size() == 0);
}

TEST_CASE_TEMPLATE("dropout: equal to the bit for 1, 2, 3 and 5 threads", T, float, bf16)
{
    CHECK(same_for_threads([](Bits& bits) {
        auto x = filled<T>(100, 131, 1);
        Tape tape;
        x.on(&tape).want_grad();
        const auto y = dropout(x, 0.2, 5, context<T>({70, 1, 29}));
        bits.add(y);
        tape.backward(probe(y));
        bits.add(x.grad());
    }));
}

TEST_CASE("dropout: a rate outside [0, 1) is an Error")
{
    const auto x = filled<float>(3, 5, 1);
    CHECK_THROWS_AS(dropout(x, 1.0, 5, context<float>({3})), Error);
    CHECK_THROWS_AS(dropout(x, -0.1, 5, context<float>({3})), Error);
    CHECK_THROWS_AS(dropout(x, std::nan(""), 5, context<float>({3})), Error);
}
