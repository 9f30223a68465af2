#include "graft/ops/matmul/cpu.hpp"

#include <doctest/doctest.h>

#include "graft/autograd/gradcheck.hpp"
#include "numbers.hpp"

using namespace graft;
using namespace graft_test;

namespace {

// One element's error in units of the largest: K products summed in acc<T>, one rounding to T.
template <class T, class Stored = T> double tolerance(std::int64_t k)
{
    return epsilon<Stored>() + 4 * epsilon<acc<T>>() * std::sqrt(double(k));
}

struct Size {
    std::int64_t rows, in, out;
};
// One of each; one row; odd; N not a multiple of 64; K over 1024 and not a multiple of 4; several tasks of rows; rows
// of 4 KiB.
const Size sizes[] = {{1, 1, 1},    {1, 64, 65},    {1, 1500, 3},   {3, 5, 7},      {7, 33, 100},   {48, 64, 64},
                      {50, 70, 17}, {49, 1029, 31}, {97, 2049, 66}, {2, 1024, 130}, {130, 40, 520}, {600, 12, 9}};

// C by Gemm itself for one target: either operand transposed, assigned or added to what is there.
template <class T>
Matrix gemm(Target on, const Acts<T, dyn, Cpu>& a, bool ta, const Acts<T, dyn, Cpu>& b, bool tb, const Matrix* onto)
{
    using Real = acc<T>;
    const std::int64_t m = ta ? a.cols() : a.rows(), k = ta ? a.rows() : a.cols(), n = tb ? b.rows() : b.cols();
    const cpu::Gemm<Real> product{m, n, k};
    const auto scratch = Buffer<std::byte, Cpu>(std::int64_t(product.workspace()), Pool<Cpu>::create({.poison = true}));
    auto c = Acts<Real, dyn, Cpu>(m, n, Pool<Cpu>::create({.poison = true}));
    for (std::int64_t i = 0; i < m && onto != nullptr; ++i) {
        for (std::int64_t j = 0; j < n; ++j) { c.view().row(i)[j] = Real((*onto)(i, j)); }
    }
    product.run(
        on, scratch.data(),
        [&](std::int64_t i, std::int64_t rows, std::int64_t k0, std::int64_t kn, Real* room) {
            return cpu::rows_of<Real>(a.data(), a.stride(), ta, i, rows, k0, kn, room);
        },
        [&](std::int64_t k0, std::int64_t kn, std::int64_t j, std::int64_t cols, Real* panel, std::int64_t width) {
            if (tb) {
                cpu::pack_transposed<Real>(b.data() + j * b.stride() + k0, b.stride(), kn, cols, panel, width);
            } else {
                cpu::pack_rows<Real>(b.data() + k0 * b.stride() + j, b.stride(), kn, cols, panel, width);
            }
        },
        cpu::store_to(Sink<Real>{c.view(), onto != nullptr}));
    return matrix(c);
}

}  // namespace

TEST_CASE_TEMPLATE("matmul: every CPU target against the formula, all transposes, assigned and added", T, double, float,
                   bf16)
{
    for (const Size& s : sizes) {
        Matrix onto(s.rows, s.out);
        for (std::size_t i = 0; i < onto.at.size(); ++i) { onto.at[i] = double(i % 5); }
        Matrix first;
        for (int form = 0; form < 4; ++form) {
            const bool ta = form / 2 == 1, tb = form % 2 == 1;
            const auto a = ta ? filled<T>(s.in, s.rows, 1) : filled<T>(s.rows, s.in, 1);
            const auto b = tb ? filled<T>(s.out, s.in, 2) : filled<T>(s.in, s.out, 2);
            Matrix expected = times(matrix(a), matrix(b), ta, tb);
            for (Target on : targets()) {
                CAPTURE(name(on));
                CAPTURE(s.rows);
                CAPTURE(s.in);
                CAPTURE(s.out);
                CAPTURE(form);
                CHECK(difference(gemm(on, a, ta, b, tb, nullptr), expected) < tolerance<T, acc<T>>(s.in));
                Matrix sum = expected;
                for (std::size_t i = 0; i < sum.at.size(); ++i) { sum.at[i] += onto.at[i]; }
                CHECK(difference(gemm(on, a, ta, b, tb, &onto), sum) < tolerance<T, acc<T>>(s.in));
            }
        }
    }
}

TEST_CASE_TEMPLATE("matmul: value and both gradients by the formula, on poisoned memory", T, double, float, bf16)
{
    const auto pool = Pool<Cpu>::create({.poison = true});
    for (const Size& s : sizes) {
        CAPTURE(s.rows);
        CAPTURE(s.in);
        CAPTURE(s.out);
        auto x = Acts<T, dyn, Cpu>(s.rows, s.in, pool);
        fill(x, 1);
        auto w = param<T>(s.out, s.in, 2);
        auto up = Acts<T, dyn, Cpu>(s.rows, s.out, pool);
        fill(up, 3);
        Tape tape;
        x.on(&tape).want_grad();
        const auto y = matmul(x, w);
        CHECK(difference(matrix(y), times(matrix(x), matrix(w.working()), false, true)) < tolerance<T>(s.in));
        std::copy_n(up.data(), up.memory().size(), y.grad().sink().view.data);
        tape.run();
        CHECK(difference(matrix(x.grad()), times(matrix(up), matrix(w.working()))) < tolerance<T>(s.out));
        CHECK(difference(matrix(w.grad()), times(matrix(up), matrix(x), true)) < tolerance<T, acc<T>>(s.rows));
    }
}

TEST_CASE("matmul: gradients against differences")
{
    for (const Size& s : {Size{1, 5, 3}, {9, 33, 70}, {4, 1030, 2}}) {
        auto x = filled<double>(s.rows, s.in, 1);
        auto w = param<double>(s.out, s.in, 2);
        const auto result = gradcheck([&](TapeRef) { return probe(matmul(x, w)); }, {{"x", x}, {"w", w}});
        CHECK_MESSAGE(result.right(), result.text());
    }
}

TEST_CASE("matmul: a gradient that was there already is added to")
{
    auto x = filled<float>(5, 33, 1);
    auto w = param<float>(7, 33, 2);
    Matrix once_x, once_w;
    for (int step = 1; step <= 2; ++step) {
        Tape tape;
        x.on(&tape).want_grad();
        tape.backward(probe(matmul(x, w)));
        if (step == 1) { once_x = matrix(x.grad()), once_w = matrix(w.grad()); }
    }
    for (double& each : once_x.at) { each *= 2; }
    for (double& each : once_w.at) { each *= 2; }
    CHECK(difference(matrix(x.grad()), once_x) == 0);
    CHECK(difference(matrix(w.grad()), once_w) == 0);
}

TEST_CASE("matmul: a frozen weight saves nothing of x, and passes the gradient on")
{
    auto x = filled<double>(5, 6, 1);
    const auto w = Frozen<double, Shape<dyn, dyn>, Cpu>(filled<double>(4, 6, 2));
    const auto result = gradcheck([&](TapeRef) { return probe(matmul(x, w)); }, {{"x", x}});
    CHECK_MESSAGE(result.right(), result.text());

    const auto pool = Pool<Cpu>::create();
    Tape tape;
    auto input = Acts<double, dyn, Cpu>(5, 6, pool);
    fill(input, 1);
    input.on(&tape).want_grad();
    const auto y = matmul(input, w);
    const std::size_t with = pool->live_bytes();
    input = {};
    CHECK(pool->live_bytes() < with);
}

TEST_CASE_TEMPLATE("matmul: equal to the bit for 1, 2, 3 and 5 threads", T, float, bf16)
{
    for (const Size& s : {Size{200, 70, 130}, {1, 300, 517}, {40, 1100, 30}, {1100, 64, 65}}) {
        CHECK(same_for_threads([&](Bits& bits) {
            auto x = filled<T>(s.rows, s.in, 1);
            auto w = param<T>(s.out, s.in, 2);
            Tape tape;
            x.on(&tape).want_grad();
            const auto y = matmul(x, w);
            bits.add(y);
            tape.backward(probe(y));
            bits.add(x.grad()), bits.add(w.grad());
        }));
    }
}

TEST_CASE("matmul: a row does not depend on how many rows there are")
{
    const auto w = param<float>(70, 1100, 2);
    const auto x = filled<float>(200, 1100, 1);
    auto one = Acts<float, dyn, Cpu>(1, 1100, Pool<Cpu>::common());
    std::copy_n(x.view().row(131), 1100, one.data());
    const auto all = matmul(x, w), alone = matmul(one, w);
    CHECK(std::memcmp(all.view().row(131), alone.data(), 70 * sizeof(float)) == 0);
}

TEST_CASE("matmul: no rows at all")
{
    auto x = filled<float>(0, 6, 1);
    auto w = param<float>(4, 6, 2);
    Tape tape;
    x.on(&tape).want_grad();
    const auto y = matmul(x, w);
    CHECK(y.rows() == 0);
    tape.backward(probe(y));
    for (double each : matrix(w.grad()).at) { CHECK(each == 0); }
}

TEST_CASE("matmul: widths that do not meet are an Error with both")
{
    const auto x = filled<float>(3, 5, 1);
    CHECK_THROWS_WITH_AS(matmul(x, param<float>(4, 6, 2)), "matmul: the last extent of x is 5, the weight has In = 6",
                         Error);
}
