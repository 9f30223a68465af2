#include "graft/autograd/param.hpp"

#include <doctest/doctest.h>

#include "numbers.hpp"

using namespace graft;

TEST_CASE("param: trained values and gradients are kept in acc<T>")
{
    using S = Shape<dyn, dyn>;
    static_assert(std::is_same_v<Param<bf16, S, Cpu>::Master, float>);
    static_assert(std::is_same_v<Param<double, S, Cpu>::Master, double>);
    auto same = graft_test::param<float>(3, 4, 1);
    CHECK(same.working().data() == same.value().data());
    auto apart = graft_test::param<bf16>(3, 4, 1);
    CHECK(static_cast<const void*>(apart.working().data()) != static_cast<const void*>(apart.value().data()));
    CHECK(float(apart.working().data()[5]) == float(bf16(apart.value().data()[5])));
    CHECK(Param<float, S, Cpu>().empty());
    CHECK_FALSE(same.empty());
}

TEST_CASE("param: handles share values and gradient; the gradient has the layout of the value")
{
    auto w = graft_test::param<float>(2, 1024, 1);
    const auto copy = w;
    w.grad().sink().put(1, 1023, 5.0f);
    CHECK(copy.grad().written());
    CHECK(copy.grad().view().stride == w.value().stride());
    CHECK(copy.grad().view().row(1)[1023] == 5);
    static_assert(Weight<Param<float, Shape<dyn, 4>, Cpu>> && Weight<Frozen<float, Shape<dyn, 4>, Cpu>>);
    static_assert(!Weight<Acts<float, 4, Cpu>>);
    CHECK_FALSE(bool(weight_grad(Frozen<float, Shape<dyn, 4>, Cpu>(Acts<float, 4, Cpu>(2)))));
}
