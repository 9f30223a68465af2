#include "graft/autograd/gradcheck.hpp"

#include <doctest/doctest.h>

#include "graft/ops/add/cpu.hpp"
#include "numbers.hpp"

using namespace graft;

namespace {

using X = Acts<double, 4, Cpu>;

// y = x^3, and a backward that is wrong by `factor` in the elements of `column` (all where it is negative).
X cube(const X& x, double factor = 1, std::int64_t column = -1)
{
    auto y = empty_like(x);
    for (std::int64_t i = 0; i < 4 * x.rows(); ++i) { y.data()[i] = x.data()[i] * x.data()[i] * x.data()[i]; }
    y.on(x.tape());
    if (Tape* tape = x.tape(); tape != nullptr && x.needs_grad()) {
        y.want_grad();
        tape->record("cube", y, [x = x.detached(), dx = x.grad(), dy = y.grad(), factor, column] {
            const auto sink = dx.sink();
            for (std::int64_t i = 0; i < x.rows(); ++i) {
                for (std::int64_t j = 0; j < 4; ++j) {
                    const double v = x.view().row(i)[j], f = column < 0 || column == j ? factor : 1.0;
                    sink.put(i, j, f * 3 * v * v * dy.view().row(i)[j]);
                }
            }
        });
    }
    return y;
}

}  // namespace

TEST_CASE("gradcheck: a right gradient passes, and so does what differences give")
{
    auto x = graft_test::filled<double, 4>(3, 4, 1);
    const auto result = gradcheck([&](TapeRef) { return probe(cube(x)); }, {{"x", x}});
    CHECK_MESSAGE(result.right(), result.text());
    CHECK(result.worst > 0);
    CHECK(result.worst < 1e-9);
    CHECK(result.uncertainty < 1e-9);
}

TEST_CASE("gradcheck: a wrong gradient is found, and its size is the error")
{
    auto x = graft_test::filled<double, 4>(3, 4, 1);
    const auto wrong = gradcheck([&](TapeRef) { return probe(cube(x, 1.001)); }, {{"x", x}});
    CHECK(wrong.wrong());
    CHECK(wrong.worst == doctest::Approx(0.001).epsilon(0.01));
    CHECK(wrong.uncertainty < 1e-6);
    const auto column =
        gradcheck([&](TapeRef) { return probe(cube(x, 1.5, 2)); }, {{"x", x}}, {.directions = 0, .elements = 16});
    CHECK(column.worst > 0.1);
    CHECK(column.where.find(", 2]") != std::string::npos);
    const auto seen = gradcheck([&](TapeRef) { return probe(cube(x, 1.5, 2)); }, {{"x", x}}, {.elements = 0});
    CHECK(seen.wrong());
    CHECK(seen.where.find(", 2]") != std::string::npos);  // a direction shows it, halves of it lead there
    CHECK(wrong.text().find("the tape gives") != std::string::npos);
}

TEST_CASE("gradcheck: a forgotten branch, and NaN, are wrong")
{
    auto x = graft_test::filled<double, 4>(3, 4, 1);
    const auto forgotten = gradcheck([&](TapeRef) { return probe(cube(x.detached())); }, {{"x", x}});
    CHECK(forgotten.worst == doctest::Approx(1.0));
    const auto nan = gradcheck([&](TapeRef) { return probe(cube(x, std::nan(""))); }, {{"x", x}});
    CHECK(nan.worst == HUGE_VAL);
    CHECK(nan.wrong());
    CHECK(nan.text().find("the gradient of x[0, 0] is ") != std::string::npos);
}

TEST_CASE("gradcheck: values come back to the bit, gradients cleared, tensors off the tape")
{
    auto x = graft_test::filled<double, 4>(3, 4, 1);
    auto w = graft_test::param<double>(1, 4, 2);
    graft_test::Bits before, after;
    before.add(x), before.add(w.value());
    const auto result = gradcheck([&](TapeRef) { return probe(add_bias(cube(x), w)); }, {{"x", x}, {"w", w}});
    CHECK_MESSAGE(result.right(), result.text());
    after.add(x), after.add(w.value());
    CHECK(before == after);
    CHECK_FALSE(x.grad().written());
    CHECK_FALSE(w.grad().written());
    CHECK(x.tape() == nullptr);
}
