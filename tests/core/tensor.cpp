#include "graft/core/tensor.hpp"

#include <doctest/doctest.h>

#include <type_traits>

using namespace graft;

TEST_CASE("tensor: rows of a multiple of 4 KiB lie a cache line further apart, others do not")
{
    CHECK(Acts<float, dyn, Cpu>(2, 1024).stride() == 1024 + 16);
    CHECK(Acts<float, dyn, Cpu>(2, 3072).stride() == 3072 + 16);
    CHECK(Acts<bf16, dyn, Cpu>(2, 2048).stride() == 2048 + 32);
    CHECK(Acts<double, dyn, Cpu>(2, 512).stride() == 512 + 8);
    CHECK(Acts<float, 1024, Cpu>(2).stride() == 1024 + 16);
    CHECK(Acts<float, dyn, Cpu>(2, 1023).stride() == 1023);
    CHECK(Acts<bf16, dyn, Cpu>(2, 1024).stride() == 1024);
    CHECK(Acts<float, dyn, Cpu>(2, 0).stride() == 0);
}

TEST_CASE("tensor: rows do not overlap, also where they are padded")
{
    const auto pool = Pool<Cpu>::create({.poison = true});
    auto x = Acts<float, dyn, Cpu>(3, 1024, pool);
    for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 1024; ++j) { x.view().row(i)[j] = float(i * 1024 + j); }
    }
    int wrong = 0;
    for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 1024; ++j) { wrong += x.view().row(i)[j] != float(i * 1024 + j); }
    }
    CHECK(wrong == 0);
    CHECK(x.memory().size() == 3 * 1040);
}

TEST_CASE("tensor: copies are handles to the same memory")
{
    auto x = Acts<float, 4, Cpu>(2);
    x.data()[5] = 3;
    const auto y = x;
    CHECK(y.data() == x.data());
    CHECK(y.view().row(1)[1] == 3);
    CHECK(empty_like(x).data() != x.data());
    CHECK(empty_like(x).rows() == 2);
}

TEST_CASE("tensor: a static extent that does not hold is an Error with both numbers")
{
    using Four = Tensor<float, Shape<dyn, 4>, Cpu>;
    CHECK_THROWS_WITH_AS(Four(2, 5), "tensor: the last extent is 5, its type says 4", Error);
    const auto x = Acts<float, dyn, Cpu>(2, 5);
    CHECK_THROWS_WITH_AS((x.as<Shape<dyn, 4>>()), "tensor: the last extent is 5, expected 4", Error);
    const auto y = x.as<Shape<dyn, 5>>();
    CHECK(y.data() == x.data());
    CHECK(y.cols() == 5);
    static_assert(mul(dyn, 3) == dyn && mul(4, 3) == 12 && agree(dyn, 3) && !agree(4, 3));
}

TEST_CASE("tensor: a view converts to one of const elements and of dyn extent, never back")
{
    static_assert(std::is_convertible_v<View<float, 4>, View<const float, dyn>>);
    static_assert(std::is_convertible_v<View<float, 4>, View<float>>);
    static_assert(!std::is_convertible_v<View<const float, 4>, View<float>>);
    static_assert(!std::is_convertible_v<View<float>, View<float, 4>>);
    auto x = Acts<float, 4, Cpu>(2);
    const View<const float> v = x.view();
    CHECK(v.cols() == 4);
    CHECK(v.rows == 2);
}

TEST_CASE("gradient: nothing until it is written; the first write assigns, later ones add")
{
    const auto pool = Pool<Cpu>::create({.poison = true});
    {
        auto x = Acts<float, 4, Cpu>(2, pool);
        const std::size_t before = pool->live_bytes();
        CHECK_FALSE(x.needs_grad());
        CHECK_FALSE(bool(x.grad().sink()));
        x.want_grad();
        CHECK(x.needs_grad());
        CHECK_FALSE(x.grad().written());
        CHECK(x.grad().view().data == nullptr);
        CHECK(pool->live_bytes() == before);  // lazy

        auto sink = x.grad().sink();
        CHECK_FALSE(sink.add);
        sink.put(1, 2, 5.0f);
        CHECK(x.grad().written());
        CHECK(pool->live_bytes() > before);
        sink = x.grad().sink();
        CHECK(sink.add);
        sink.put(1, 2, 1.0f);
        CHECK(x.grad().view().row(1)[2] == 6);

        const auto copy = x;  // one gradient, whichever handle asks
        CHECK(copy.grad().written());
        CHECK_FALSE(x.detached().needs_grad());
        x.grad().clear();
        CHECK_FALSE(copy.grad().written());
        CHECK(pool->live_bytes() == before);
    }
    CHECK(pool->live_bytes() == 0);
}

TEST_CASE("gradient: what is added is rounded once, in acc<T>")
{
    auto x = Acts<bf16, 1, Cpu>(1);
    x.want_grad();
    x.grad().sink().put(0, 0, 1.0f);
    x.grad().sink().put(0, 0,
                        0x1p-8f + 0x1p-20f);  // just above half a step of bf16: rounds up, in two steps it would not
    CHECK(float(x.grad().view().data[0]) == 1.0f + 0x1p-7f);
}

TEST_CASE("compute: kernels are skipped on a pool that only counts")
{
    bool ran = false;
    compute(Pool<Cpu>::create({.counting = true}), [&] { ran = true; });
    CHECK_FALSE(ran);
    compute(Pool<Cpu>::common(), [&] { ran = true; });
    CHECK(ran);
}
