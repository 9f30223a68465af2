#include "graft/autograd/recompute.hpp"

#include <doctest/doctest.h>

#include "graft/autograd/gradcheck.hpp"
#include "graft/ops/add/cpu.hpp"
#include "graft/ops/dropout/cpu.hpp"
#include "graft/ops/matmul/cpu.hpp"
#include "graft/ops/silu_mul/cpu.hpp"
#include "numbers.hpp"

using namespace graft;
using namespace graft_test;

namespace {

using S = Shape<dyn, dyn>;

template <class T> Context<T, Cpu> training()
{
    auto c = context_for<T, Cpu>({4, 3}, nullptr);
    c.training = true, c.random = {11, 2};
    return c;
}

// A residual block with dropout: x + drop(silu(x W) x).
template <class T>
Acts<T, dyn, Cpu> block(const Acts<T, dyn, Cpu>& x, const Param<T, S, Cpu>& w, const Context<T, Cpu>& c)
{
    return x + dropout(silu_mul(matmul(x, w), x), 0.25, 9, c);
}

// Two blocks, values and gradients, with recompute or without.
template <class T> Bits run(bool again, bool input_needs, const std::shared_ptr<Pool<Cpu>>& pool)
{
    auto x = Acts<T, dyn, Cpu>(7, 12, pool);
    fill(x, 1);
    auto w = param<T>(12, 12, 2), v = param<T>(12, 12, 3);
    const auto c = training<T>();
    Tape tape;
    x.on(&tape);
    if (input_needs) { x.want_grad(); }
    auto y = x;
    for (const auto* weight : {&w, &v}) {
        const auto one = [weight, c](const Acts<T, dyn, Cpu>& in) { return block(in, *weight, c); };
        y = again ? recompute(one, y) : one(y);
    }
    const auto loss = probe(y + x);  // x is used beside the block too
    Bits bits;
    bits.add(y);
    tape.backward(loss);
    if (input_needs) { bits.add(x.grad()); }
    bits.add(w.grad()), bits.add(v.grad());
    return bits;
}

}  // namespace

TEST_CASE_TEMPLATE("recompute: equal to the plain block to the bit, dropout included", T, double, float, bf16)
{
    for (bool needs : {true, false}) {
        const auto pool = Pool<Cpu>::create({.poison = true});
        CHECK(run<T>(true, needs, pool) == run<T>(false, needs, pool));
        CHECK(pool->live_bytes() == 0);
    }
}

TEST_CASE("recompute: gradients against differences, nested too")
{
    auto x = filled<double>(7, 12, 1);
    auto w = param<double>(12, 12, 2);
    const auto c = training<double>();
    const auto one = [&](const Acts<double, dyn, Cpu>& in) { return block(in, w, c); };
    const auto result = gradcheck([&](TapeRef) { return probe(recompute(one, x)); }, {{"x", x}, {"w", w}});
    CHECK_MESSAGE(result.right(), result.text());
    const auto two = [&](const Acts<double, dyn, Cpu>& in) { return recompute(one, recompute(one, in)); };
    const auto nested = gradcheck([&](TapeRef) { return probe(recompute(two, x) + x); }, {{"x", x}, {"w", w}});
    CHECK_MESSAGE(nested.right(), nested.text());
}

TEST_CASE("recompute: keeps only x, one step on the tape; nothing without a tape")
{
    const auto pool = Pool<Cpu>::create();
    auto x = Acts<float, dyn, Cpu>(7, 12, pool);
    fill(x, 1);
    auto w = param<float>(12, 12, 2);
    const auto c = training<float>();
    const auto one = [&](const Acts<float, dyn, Cpu>& in) { return block(in, w, c); };
    Tape tape;
    x.on(&tape).want_grad();
    const std::size_t before = pool->live_bytes();
    const auto y = recompute(one, x);
    CHECK(tape.size() == 1);
    CHECK(pool->live_bytes() == 2 * before);  // x and y
    tape.clear();
    x.on(nullptr);
    CHECK_FALSE(recompute(one, x).needs_grad());
    CHECK(tape.size() == 0);
}

TEST_CASE("recompute: a block that gives back its input")
{
    auto x = filled<double>(3, 4, 1);
    const auto same = [](const Acts<double, dyn, Cpu>& in) { return in; };
    const auto result = gradcheck([&](TapeRef) { return probe(recompute(same, x) + silu_mul(x, x)); }, {{"x", x}});
    CHECK_MESSAGE(result.right(), result.text());
}

TEST_CASE("recompute: a block without anything to train and an input that needs no gradient")
{
    auto x = filled<float>(3, 4, 1);
    Tape tape;
    x.on(&tape);
    const auto y = recompute([](const Acts<float, dyn, Cpu>& in) { return in + in; }, x);
    tape.backward(probe(y));
    CHECK_FALSE(x.grad().written());
}
