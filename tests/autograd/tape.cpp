#include "graft/autograd/tape.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "graft/autograd/gradcheck.hpp"
#include "graft/ops/add/cpu.hpp"
#include "graft/ops/silu_mul/cpu.hpp"
#include "numbers.hpp"

using namespace graft;
using graft_test::filled;

namespace {

// Counts how many of it are alive.
struct Counted {
    int* alive;
    explicit Counted(int* counter) : alive(counter) { ++*alive; }
    Counted(const Counted& other) : alive(other.alive) { ++*alive; }
    Counted& operator=(const Counted&) = delete;
    ~Counted() { --*alive; }
};

}  // namespace

TEST_CASE("tape: steps run in reverse, and each is dropped before the one ahead of it runs")
{
    int alive = 0;
    std::vector<int> order, alive_then;
    Tape tape;
    for (int i = 0; i < 4; ++i) {
        tape.record_step("step", 1, 1, 0, [i, &order, &alive_then, &alive, held = Counted(&alive)] {
            order.push_back(i), alive_then.push_back(alive);
        });
    }
    CHECK(alive == 4);
    CHECK(tape.size() == 4);
    tape.run();
    CHECK(order == std::vector<int>{3, 2, 1, 0});
    CHECK(alive_then == std::vector<int>{4, 3, 2, 1});
    CHECK(alive == 0);
    CHECK(tape.size() == 0);
}

TEST_CASE("tape: steps of many sizes over several chunks of its arena, used again after backward")
{
    Tape tape;
    int sum = 0, alive = 0;
    for (int round = 0; round < 3; ++round) {
        sum = 0;
        for (int i = 0; i < 600; ++i) {
            struct Large {
                int at[100];
            } large{};
            large.at[99] = 1;
            tape.record_step("large", 1, 1, 0, [&sum, large, held = Counted(&alive)] { sum += large.at[99]; });
            tape.record_step("small", 1, 1, 0, [&sum] { ++sum; });
        }
        CHECK(alive == 600);
        if (round == 1) {
            tape.clear();
            CHECK(sum == 0);
        } else {
            tape.run();
            CHECK(sum == 1200);
        }
        CHECK(alive == 0);
    }
}

TEST_CASE("tape: a step that throws is dropped, and the tape lets go of the others")
{
    int alive = 0;
    {
        Tape tape;
        tape.record_step("first", 1, 1, 0, [held = Counted(&alive)] {});
        tape.record_step("second", 1, 1, 0, [held = Counted(&alive)] { throw std::runtime_error("second"); });
        CHECK_THROWS_WITH_AS(tape.run(), "second", std::runtime_error);
        CHECK(alive == 1);
    }
    CHECK(alive == 0);
}

TEST_CASE("tape: a tensor used twice gets the sum of both gradients")
{
    auto x = filled<double, 8>(3, 8, 1), y = filled<double, 8>(3, 8, 2);
    const auto twice = gradcheck([&](TapeRef) { return probe(silu_mul(x, y) + silu_mul(y, x)); }, {{"x", x}, {"y", y}});
    CHECK_MESSAGE(twice.right(), twice.text());
    const auto square = gradcheck([&](TapeRef) { return probe(silu_mul(x, x)); }, {{"x", x}});
    CHECK_MESSAGE(square.right(), square.text());
    const auto doubled = gradcheck([&](TapeRef) { return probe(x + x); }, {{"x", x}});
    CHECK_MESSAGE(doubled.right(), doubled.text());
}

TEST_CASE("tape: an intermediate result used by several ops, through freed and poisoned memory")
{
    const auto pool = Pool<Cpu>::create({.poison = true});
    auto x = Acts<double, 8, Cpu>(3, pool);
    graft_test::fill(x, 1);
    const auto deep = [&](TapeRef) {
        auto a = x + x;
        auto b = silu_mul(a, x);
        auto c = a + b;
        auto d = silu_mul(c, b) + a;
        return probe(c + (d + b));
    };
    const auto result = gradcheck(deep, {{"x", x}});
    CHECK_MESSAGE(result.right(), result.text());
}

TEST_CASE("tape: ops whose inputs need no gradient record nothing, and no_tape records nothing")
{
    auto x = filled<float, 4>(2, 4, 1), y = filled<float, 4>(2, 4, 2);
    Tape tape;
    x.on(&tape), y.on(&tape);
    const auto sum = silu_mul(x, y) + x;
    CHECK(tape.size() == 0);
    CHECK(sum.tape() == &tape);
    CHECK_FALSE(sum.needs_grad());
    CHECK_FALSE(probe(sum).needs_grad());

    x.want_grad();
    const auto recorded = silu_mul(x, y) + x;
    CHECK(tape.size() == 2);
    CHECK(recorded.needs_grad());

    auto z = x;
    z.on(nullptr);
    const auto silent = silu_mul(z, z.detached()) + z;
    CHECK(tape.size() == 2);
    CHECK(silent.tape() == nullptr);
    CHECK(TapeRef(no_tape).tape == nullptr);
    CHECK(TapeRef(tape).tape == &tape);
}

TEST_CASE("tape: a branch that does not reach the loss is skipped, and costs no gradient")
{
    const auto pool = Pool<Cpu>::create({.poison = true});
    auto x = Acts<float, 4, Cpu>(2, pool), unused = Acts<float, 4, Cpu>(2, pool);
    graft_test::fill(x, 1), graft_test::fill(unused, 2);
    Tape tape;
    x.on(&tape).want_grad();
    unused.on(&tape).want_grad();
    const auto aside = silu_mul(unused, unused);
    const auto loss = probe(x + x.detached());
    tape.backward(loss);
    CHECK(x.grad().written());
    CHECK_FALSE(unused.grad().written());
    CHECK_FALSE(aside.grad().written());
}

TEST_CASE("tape: backward of a loss without gradient clears the tape")
{
    int alive = 0;
    Tape tape;
    tape.record_step("step", 1, 1, 0, [held = Counted(&alive)] { FAIL("must not run"); });
    Tensor<float, Shape<1>, Cpu> loss(1, 1);
    loss.data()[0] = 0;
    tape.backward(loss.on(&tape));
    CHECK(alive == 0);
    CHECK(tape.size() == 0);
}

TEST_CASE("tape: the seed of backward scales all gradients")
{
    auto x = filled<double, 4>(2, 4, 1);
    const auto gradient = [&](double seed) {
        Tape tape;
        x.on(&tape).want_grad().grad().clear();
        tape.backward(probe(silu_mul(x, x)), seed);
        return graft_test::matrix(x.grad());
    };
    auto once = gradient(1), scaled = gradient(-2.5);
    for (double& each : once.at) { each *= -2.5; }
    CHECK(graft_test::difference(scaled, once) < 1e-15);
}

TEST_CASE("tape: saved tensors and gradients are released as steps run; a second step asks the system for nothing")
{
    const auto pool = Pool<Cpu>::create({.poison = true});
    auto x = Acts<float, 1000, Cpu>(8, pool);
    graft_test::fill(x, 1);
    const std::size_t only_x = pool->live_bytes(), one = only_x;
    Tape tape;
    std::size_t calls = 0;
    for (int step = 0; step < 3; ++step) {
        pool->reset_peak();
        x.on(&tape).want_grad();
        {
            auto y = x + x;
            for (int i = 0; i < 9; ++i) { y = silu_mul(y, x); }
            const auto loss = probe(y);
            y = {};
            CHECK(pool->live_bytes() >= 10 * one);  // ten results are saved, x beside them (the last y was let go)
            tape.backward(loss);
        }
        CHECK(pool->live_bytes() == 2 * only_x);  // x and its gradient
        CHECK(pool->peak_bytes() <= 14 * one);    // never all gradients beside all results
        x.grad().clear();
        CHECK(pool->live_bytes() == only_x);
        if (step == 0) { calls = pool->system_calls(); }
        CHECK(pool->system_calls() == calls);
    }
}

TEST_CASE("tape: a step on a counting pool has the peak of the real one, and no memory")
{
    const auto peak = [](const std::shared_ptr<Pool<Cpu>>& pool) {
        auto x = Acts<float, 100, Cpu>(8, pool);
        compute(pool, [&] { graft_test::fill(x, 1); });
        Tape tape;
        x.on(&tape).want_grad();
        tape.backward(probe(silu_mul(silu_mul(x, x) + x, x)));
        return pool->peak_bytes();
    };
    const auto counting = Pool<Cpu>::create({.counting = true});
    CHECK(peak(counting) == peak(Pool<Cpu>::create()));
    CHECK(counting->held_bytes() == 0);
}

TEST_CASE("tape: print lists steps in order with names, shapes and bytes")
{
    auto x = filled<float, 4>(2, 4, 1);
    Tape tape;
    x.on(&tape).want_grad();
    const auto y = silu_mul(x + x, x);
    const std::string text = tape.print();
    CHECK(text.find("add") < text.find("silu_mul"));
    CHECK(text.find("(2, 4) 32 bytes") != std::string::npos);
}
