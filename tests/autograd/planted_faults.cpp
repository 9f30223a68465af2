#include "graft/autograd/gradcheck.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "graft/cpu.hpp"
#include "numbers.hpp"

// gradcheck tells right from wrong by itself: ops with one fault planted in their backward are found, the same ops
// without it are not accused, and neither is what differences can hardly see: corners, noise, scales.
using namespace graft;
using graft_test::filled;
using graft_test::param;

namespace {

using X = Acts<double, dyn, Cpu>;

// An op of one input, by its value and by what its backward puts for (x, dy) at (i, j). `rows`: how many rows of the
// gradient are written; `adds`: whether a second write adds.
struct Planted {
    std::function<double(const X& x, std::int64_t i, std::int64_t j)> value;
    std::function<double(const X& x, View<const double> dy, std::int64_t i, std::int64_t j)> slope;
    std::function<bool(std::int64_t i, std::int64_t j)> writes = [](std::int64_t, std::int64_t) { return true; };
    bool adds = true;

    X operator()(const X& x) const
    {
        auto y = empty_like(x);
        for (std::int64_t i = 0; i < x.rows(); ++i) {
            for (std::int64_t j = 0; j < x.cols(); ++j) { y.view().row(i)[j] = value(x, i, j); }
        }
        y.on(x.tape());
        if (Tape* tape = x.tape(); tape != nullptr && x.needs_grad()) {
            y.want_grad();
            tape->record("planted", y, [x = x.detached(), op = *this, dx = x.grad(), dy = y.grad()] {
                Sink<double> sink = dx.sink();
                sink.add = sink.add && op.adds;
                for (std::int64_t i = 0; i < x.rows(); ++i) {
                    for (std::int64_t j = 0; j < x.cols(); ++j) {
                        if (op.writes(i, j)) { sink.put(i, j, op.slope(x, dy.view(), i, j)); }
                    }
                }
            });
        }
        return y;
    }
};

double at(const X& x, std::int64_t i, std::int64_t j) { return x.view().row(i)[j]; }

// y = x^3.
Planted cube()
{
    return {.value = [](const X& x, auto i, auto j) { return at(x, i, j) * at(x, i, j) * at(x, i, j); },
            .slope = [](const X& x, auto dy, auto i, auto j) { return 3 * at(x, i, j) * at(x, i, j) * dy.row(i)[j]; }};
}

// y = x r, r = 1 / sqrt(mean x^2 + eps), with the three ways to get dx = r (dy - x r^2 mean(x dy)) wrong.
double root(const X& x, std::int64_t i)
{
    double sum = 0;
    for (std::int64_t j = 0; j < x.cols(); ++j) { sum += at(x, i, j) * at(x, i, j); }
    return 1 / std::sqrt(sum / double(x.cols()) + 1e-5);
}
Planted norm(double mean_term = 1, std::int64_t stale = 0)
{
    return {.value = [](const X& x, auto i, auto j) { return at(x, i, j) * root(x, i); },
            .slope =
                [=](const X& x, auto dy, auto i, auto j) {
                    const double r = root(x, std::max<std::int64_t>(0, i - stale));
                    double sum = 0;
                    for (std::int64_t q = 0; q < x.cols(); ++q) { sum += at(x, i, q) * dy.row(i)[q]; }
                    return r * (dy.row(i)[j] - mean_term * at(x, i, j) * r * r * sum / double(x.cols()));
                }};
}

// Pairs turned by i + shift: shift 1 in backward alone is an angle of the next position.
Planted turned(std::int64_t shift = 0, double sign = -1)
{
    const auto turn = [](auto row, std::int64_t i, std::int64_t j, double way) {
        const double c = std::cos(0.3 * double(i)), s = way * std::sin(0.3 * double(i));
        return j % 2 == 0 ? row(j) * c - row(j + 1) * s : row(j) * c + row(j - 1) * s;
    };
    return {.value = [=](const X& x, auto i, auto j) { return turn([&](auto q) { return at(x, i, q); }, i, j, 1); },
            .slope = [=](const X&, auto dy, auto i,
                         auto j) { return turn([&](auto q) { return dy.row(i)[q]; }, i + shift, j, sign); }};
}

// y_i = the sum of x_q over q <= i: a causal mask; `off` rows too many or too few in backward.
Planted causal(std::int64_t off = 0)
{
    return {.value =
                [](const X& x, auto i, auto j) {
                    double sum = 0;
                    for (std::int64_t q = 0; q <= i; ++q) { sum += at(x, q, j) * at(x, q, j); }
                    return sum;
                },
            .slope =
                [=](const X& x, auto dy, auto i, auto j) {
                    double sum = 0;
                    for (std::int64_t q = i + off; q < x.rows(); ++q) { sum += 2 * at(x, i, j) * dy.row(q)[j]; }
                    return sum;
                }};
}

// A square product x M, M fixed and not symmetric.
Planted product(bool transposed = false)
{
    const auto m = [](std::int64_t a, std::int64_t b) { return std::sin(double(3 * a + 7 * b)); };
    return {.value =
                [=](const X& x, auto i, auto j) {
                    double sum = 0;
                    for (std::int64_t q = 0; q < x.cols(); ++q) { sum += at(x, i, q) * m(q, j); }
                    return sum;
                },
            .slope =
                [=](const X& x, auto dy, auto i, auto j) {
                    double sum = 0;
                    for (std::int64_t q = 0; q < x.cols(); ++q) {
                        sum += dy.row(i)[q] * (transposed ? m(q, j) : m(j, q));
                    }
                    return sum;
                }};
}

// Adds w to each row; the gradient of w can be dropped.
X biased(const X& x, const Param<double, Shape<dyn, dyn>, Cpu>& w, bool dropped)
{
    auto y = empty_like(x);
    for (std::int64_t i = 0; i < x.rows(); ++i) {
        for (std::int64_t j = 0; j < x.cols(); ++j) { y.view().row(i)[j] = at(x, i, j) + w.working().data()[j]; }
    }
    y.on(x.tape());
    if (Tape* tape = x.tape()) {
        y.want_grad();
        tape->record("biased", y, [dx = x.grad(), dw = weight_grad(w), dy = y.grad(), dropped] {
            const auto to_x = dx.sink();
            for (std::int64_t i = 0; i < to_x.view.rows; ++i) {
                for (std::int64_t j = 0; j < to_x.view.cols(); ++j) { to_x.put(i, j, dy.view().row(i)[j]); }
            }
            if (dropped) { return; }
            const auto to_w = dw.sink();
            for (std::int64_t j = 0; j < to_w.view.cols(); ++j) {
                double sum = 0;
                for (std::int64_t i = 0; i < to_x.view.rows; ++i) { sum += dy.view().row(i)[j]; }
                to_w.put(0, j, sum);
            }
        });
    }
    return y;
}

GradcheckResult checked(const Planted& op, X& x, double scale = 1)
{
    return gradcheck(
        [&](TapeRef) {
            auto y = op(x);
            auto times = Planted{.value = [=](const X& in, auto i, auto j) { return scale * at(in, i, j); },
                                 .slope = [=](const X&, auto dy, auto i, auto j) { return scale * dy.row(i)[j]; }};
            return probe(times(y));
        },
        {{"x", x}});
}

}  // namespace

TEST_CASE("planted faults: each is found, and the element is named")
{
    struct Case {
        const char* name;
        Planted op;
        std::string says;  // in the text of the result
    };
    Planted skipped = cube(), hole = cube(), doubled = cube(), negative = cube(), assigns = cube(), slight = cube(),
            last = cube(), zero = cube(), infinite = cube(), offset = cube();
    skipped.writes = [](auto i, auto) { return i != 2; };
    hole.writes = [](auto i, auto j) { return i != 4 || j != 5; };
    assigns.adds = false;
    const auto times = [](Planted& op, auto factor) {
        op.slope = [right = op.slope, factor](const X& x, auto dy, auto i, auto j) {
            return right(x, dy, i, j) * factor(i, j);
        };
    };
    times(doubled, [](auto, auto) { return 2.0; });
    times(negative, [](auto, auto) { return -1.0; });
    times(slight, [](auto i, auto j) { return i == 3 && j == 1 ? 1 + 1e-6 : 1.0; });
    times(last, [](auto i, auto) { return i == 4 ? 1.01 : 1.0; });
    times(zero, [](auto, auto) { return 0.0; });
    times(infinite, [](auto i, auto j) { return i == 1 && j == 1 ? std::nan("") : 1.0; });
    offset.slope = [right = offset.slope](const X& x, auto dy, auto i, auto j) {
        return right(x, dy, i, j) + (i == 2 && j == 2 ? 1e-7 : 0.0);
    };
    const std::vector<Case> cases{
        {"a row that is not written", skipped, "x[2, 0] was never written"},
        {"an element that is not written", hole, "x[4, 5] was never written"},
        {"factor 2", doubled, "wrong: x["},
        {"sign", negative, "wrong: x["},
        {"= for +=", assigns, "assigns where it should add"},
        {"1e-6 in one element", slight, "wrong: x[3, 1]"},
        {"1e-7 too much in one element", offset, "wrong: x[2, 2]"},
        {"one per cent in the last row", last, "wrong: x[4, "},
        {"no gradient", zero, "wrong: x["},
        {"NaN", infinite, "the gradient of x[1, 1] is "},
        {"the norm's mean term missing", norm(0), "wrong: x["},
        {"the norm's mean term 1e-5 too small", norm(1 - 1e-5), "wrong: "},
        {"the norm with r of the row before", norm(1, 1), "wrong: x["},
        {"positions off by one", turned(1), "wrong: x["},
        {"turned the wrong way back", turned(0, 1), "wrong: x["},
        {"a mask row too few", causal(1), "wrong: x["},
        {"a mask row too many", causal(-1), "wrong: x["},
        {"a transposed operand", product(true), "wrong: x["},
    };
    for (const auto& each : cases) {
        const std::string name = each.name;
        CAPTURE(name);
        auto x = filled<double>(5, 6, 3);
        // One too many reads a row that is not there: keep it inside.
        Planted op = each.op;
        if (name == "a mask row too many") {
            op.slope = [wide = causal(-1).slope, exact = causal().slope](const X& in, auto dy, auto i, auto j) {
                return i == 0 ? exact(in, dy, i, j) : wide(in, dy, i, j);
            };
        }
        const auto result = checked(op, x);
        CHECK_MESSAGE(result.wrong(), result.text());
        CHECK_MESSAGE(result.text().find(each.says) != std::string::npos, result.text());
    }
}

TEST_CASE("planted faults: the same ops without them are right, at any scale of the loss and of the input")
{
    for (const auto& op : {cube(), norm(), turned(), causal(), product()}) {
        for (const double scale : {1.0, 1e8, 1e-8}) {
            CAPTURE(scale);
            auto x = filled<double>(5, 6, 3);
            const auto result = checked(op, x, scale);
            CHECK_MESSAGE(result.right(), result.text());
            CHECK_MESSAGE(result.worst < 1e-8, result.text());
        }
    }
    for (const double size : {1e6, 1e-6}) {
        CAPTURE(size);
        auto x = filled<double>(5, 6, 3, size);
        const auto right = checked(cube(), x);
        CHECK_MESSAGE(right.right(), right.text());
        Planted wrong = cube();
        wrong.slope = [op = wrong.slope](const X& in, auto dy, auto i, auto j) {
            return op(in, dy, i, j) * (i == 4 && j == 5 ? 1 + 1e-5 : 1);
        };
        const auto found = checked(wrong, x);
        CHECK_MESSAGE(found.wrong(), found.text());
        CHECK_MESSAGE(found.where == "x[4, 5]", found.text());
    }
}

TEST_CASE("planted faults: 1e-4 in one of 10,000 elements is found and named; and a bias whose gradient is dropped")
{
    auto x = filled<double>(100, 100, 7);
    Planted op = cube();
    op.slope = [right = op.slope](const X& in, auto dy, auto i, auto j) {
        return right(in, dy, i, j) * (i == 61 && j == 37 ? 1 + 1e-4 : 1);
    };
    const auto result = checked(op, x);
    CHECK_MESSAGE(result.wrong(), result.text());
    CHECK_MESSAGE(result.where == "x[61, 37]", result.text());
    CHECK(result.worst == doctest::Approx(1e-4).epsilon(0.01));
    const auto right = checked(cube(), x);
    CHECK_MESSAGE(right.right(), right.text());

    auto w = param<double>(1, 6, 5, 1e-3);
    auto small = filled<double>(5, 6, 3);
    const auto loss = [&](bool dropped) {
        return gradcheck([&, dropped](TapeRef) { return probe(cube()(biased(small, w, dropped))); },
                         {{"x", small}, {"w", w}});
    };
    CHECK_MESSAGE(loss(false).right(), loss(false).text());
    const auto dropped = loss(true);
    CHECK_MESSAGE(dropped.wrong(), dropped.text());
    CHECK_MESSAGE(dropped.where.find("w[0, ") == 0, dropped.text());
}

TEST_CASE("planted faults: corners at and near the point are not accused, a wrong slope beside them is")
{
    const auto corner = [](double left, double right, double at_zero, double fault = 1) {
        return Planted{.value =
                           [=](const X& x, auto i, auto j) {
                               const double v = at(x, i, j);
                               return v > 0 ? right * v + v * v : left * v + v * v;
                           },
                       .slope =
                           [=](const X& x, auto dy, auto i, auto j) {
                               const double v = at(x, i, j);
                               const double slope = v > 0 ? right : v < 0 ? left : at_zero;
                               return fault * (slope + 2 * v) * dy.row(i)[j];
                           }};
    };
    for (const double zero : {0.0, 1e-12, 1e-9, 1e-7, 1e-5, 1e-3}) {
        CAPTURE(zero);
        for (const auto& op : {corner(0, 1, 0), corner(-1, 1, 0), corner(-1, 1, 1), corner(0, 1, 1)}) {
            auto x = filled<double>(5, 6, 3);
            x.view().row(1)[1] = zero, x.view().row(3)[2] = -zero, x.view().row(4)[5] = zero;
            x.view().row(0)[0] = zero;
            const auto result = checked(op, x);
            CHECK_MESSAGE(result.right(), result.text());
        }
        auto x = filled<double>(5, 6, 3);
        x.view().row(1)[1] = zero, x.view().row(3)[2] = -zero;
        const auto wrong = checked(corner(-1, 1, 0, 1.0001), x);
        CHECK_MESSAGE(wrong.wrong(), wrong.text());
    }
    // Everything at the corner, as behind weights that begin as zero; and 4,000 corners on all sides.
    X none(40, 6);
    std::fill_n(none.data(), 240, 0.0);
    const auto flat = checked(corner(0, 1, 0), none);
    CHECK_MESSAGE(flat.right(), flat.text());
    auto many = filled<double>(40, 100, 3);
    const auto all = checked(corner(0, 1, 0), many);
    CHECK_MESSAGE(all.right(), all.text());
    const auto slight = checked(corner(0, 1, 0, 1.00001), many);
    CHECK_MESSAGE(slight.wrong(), slight.text());
}

TEST_CASE("planted faults: noise is called rounding and roughness truncation, neither is called wrong")
{
    // The value moves by what f32 would round away, and more: no difference can see a derivative to many places.
    for (const double noise : {1e-10, 1e-7, 1e-4, 1e-2}) {
        CAPTURE(noise);
        Planted op = cube();
        op.value = [exact = op.value, noise](const X& x, auto i, auto j) {
            const double v = exact(x, i, j);
            std::uint64_t bits = 0;
            std::memcpy(&bits, &v, sizeof bits);
            return v + noise * (double(Philox{5}(bits, 0)[0]) * 0x1p-32 - 0.5);
        };
        auto x = filled<double>(5, 6, 3);
        const auto result = checked(op, x);
        CHECK_MESSAGE(!result.wrong(), result.text());
        if (noise <= 1e-10) { CHECK_MESSAGE(result.right(), result.text()); }
        if (noise >= 1e-4) { CHECK_MESSAGE(result.verdict == GradcheckVerdict::rounding, result.text()); }
        op.slope = [right = op.slope](const X& in, auto dy, auto i, auto j) { return 1.5 * right(in, dy, i, j); };
        if (noise <= 1e-4) { CHECK_MESSAGE(checked(op, x).wrong(), checked(op, x).text()); }
    }
    const Planted fast{
        .value = [](const X& x, auto i, auto j) { return std::sin(3e7 * at(x, i, j)); },
        .slope = [](const X& x, auto dy, auto i, auto j) { return 3e7 * std::cos(3e7 * at(x, i, j)) * dy.row(i)[j]; }};
    auto x = filled<double>(5, 6, 3);
    const auto rough = checked(fast, x);
    CHECK_MESSAGE(!rough.wrong(), rough.text());
    CHECK_MESSAGE(!rough.right(), rough.text());
}

TEST_CASE("planted faults: values whose squares overflow are measured like others, and found")
{
    for (const double size : {1e60, 1e-60}) {  // x^3, so that products of gradients end at 1e360
        CAPTURE(size);
        auto x = filled<double>(5, 6, 3, size);
        const auto right = checked(cube(), x);
        CHECK_MESSAGE(right.right(), right.text());
        CHECK(std::isfinite(right.uncertainty));
        Planted turned_over = cube();
        turned_over.slope = [op = turned_over.slope](const X& in, auto dy, auto i, auto j) {
            return op(in, dy, i, j) * (i == 2 && j == 3 ? -1 : 1);
        };
        const auto found = checked(turned_over, x);
        CHECK_MESSAGE(found.wrong(), found.text());
        CHECK_MESSAGE(found.where == "x[2, 3]", found.text());
    }
}

TEST_CASE("planted faults: inputs without an element, or none at all, prove nothing")
{
    auto x = X(0, 4), y = filled<double>(3, 4, 1);
    for (const auto& inputs : {std::vector<GradcheckInput>{{"x", x}}, std::vector<GradcheckInput>{}}) {
        const auto none = gradcheck([&](TapeRef) { return probe(cube()(y)); }, inputs);
        CHECK_MESSAGE(none.wrong(), none.text());
        CHECK_MESSAGE(none.text().find("no element") != std::string::npos, none.text());
    }
    const auto beside = gradcheck([&](TapeRef) { return probe(cube()(y)); }, {{"x", x}, {"y", y}});
    CHECK_MESSAGE(beside.right(), beside.text());
}

TEST_CASE("planted faults: a loss that is not a function of its inputs, or not finite, is said to be so")
{
    auto x = filled<double>(5, 6, 3);
    int calls = 0;
    const auto impure = gradcheck(
        [&](TapeRef) {
            Planted op = cube();
            op.value = [exact = op.value, &calls](const X& in, auto i, auto j) { return exact(in, i, j) * ++calls; };
            return probe(op(x));
        },
        {{"x", x}});
    CHECK_MESSAGE(impure.wrong(), impure.text());
    CHECK_MESSAGE(impure.text().find("pure function") != std::string::npos, impure.text());

    x.data()[3] = HUGE_VAL;
    const auto infinite = checked(cube(), x);
    CHECK_MESSAGE(infinite.wrong(), infinite.text());
    CHECK_MESSAGE(infinite.text().find("the loss is ") != std::string::npos, infinite.text());
    CHECK(std::isinf(x.data()[3]));

    // A forward that reads memory which nobody wrote.
    auto y = filled<double>(5, 6, 3);
    const auto reads = gradcheck(
        [&](TapeRef) {
            auto scratch = X(1, 6);
            Planted op = cube();
            op.value = [exact = op.value, scratch](const X& in, auto i, auto j) {
                return exact(in, i, j) + 0 * scratch.data()[j];
            };
            return probe(op(y));
        },
        {{"y", y}});
    CHECK_MESSAGE(reads.wrong(), reads.text());
    const bool seen = reads.text().find("never wrote") != std::string::npos;
    CHECK_MESSAGE((seen || reads.text().find("the loss is ") != std::string::npos), reads.text());
}
