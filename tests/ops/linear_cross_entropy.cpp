#include "graft/ops/linear_cross_entropy/cpu.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "graft/autograd/gradcheck.hpp"
#include "graft/ops/cross_entropy/cpu.hpp"
#include "numbers.hpp"

using namespace graft;
using namespace graft_test;

namespace {

// Labels that are ignored wherever n is a multiple of `every`.
std::vector<std::int32_t> labels_for(std::int64_t rows, std::int64_t vocab, std::int64_t every)
{
    std::vector<std::int32_t> labels;
    for (std::int64_t n = 0; n < rows; ++n) {
        labels.push_back(every != 0 && n % every == 0 ? ignore : std::int32_t(n * 37 % vocab));
    }
    return labels;
}

struct Expected {
    double loss = 0;
    Matrix dh, dw;
};

Expected formula(const Matrix& h, const Matrix& w, const std::vector<std::int32_t>& labels, double scale)
{
    Expected out{0, Matrix(h.rows, h.cols), Matrix(w.rows, w.cols)};
    const Matrix z = times(h, w, false, true);
    Matrix dz(z.rows, z.cols);
    for (std::int64_t n = 0; n < h.rows; ++n) {
        const std::int32_t label = labels[std::size_t(n)];
        if (label == ignore) { continue; }
        double top = z(n, 0), sum = 0;
        for (std::int64_t j = 0; j < z.cols; ++j) { top = std::fmax(top, z(n, j)); }
        for (std::int64_t j = 0; j < z.cols; ++j) { sum += std::exp(z(n, j) - top); }
        out.loss += scale * (top + std::log(sum) - z(n, label));
        for (std::int64_t j = 0; j < z.cols; ++j) {
            dz(n, j) = scale * (std::exp(z(n, j) - top) / sum - double(j == label));
        }
    }
    out.dh = times(dz, w);
    out.dw = times(dz, h, true);
    return out;
}

struct Size {
    std::int64_t rows, dim, vocab, ignored;
};
// One row; one class; V not a multiple of a panel; one label among many rows; several chunks of 1008 rows.
const Size sizes[] = {{1, 5, 7, 0},     {4, 3, 1, 0},      {9, 16, 65, 3},
                      {40, 33, 130, 2}, {30, 8, 64, 1000}, {2500, 4, 11, 7}};

template <class T> auto trained(const Size& s) { return param<T>(s.vocab, s.dim, 2, 0.5); }
template <class T> auto frozen(const Size& s)
{
    return Frozen<T, Shape<dyn, dyn>, Cpu>(filled<T>(s.vocab, s.dim, 2, 0.5));
}

}  // namespace

TEST_CASE_TEMPLATE("linear_cross_entropy: loss and gradients by the formula, trained head, seed other than 1", T,
                   double, float, bf16)
{
    const auto pool = Pool<Cpu>::create({.poison = true});
    for (const Size& s : sizes) {
        CAPTURE(s.rows);
        CAPTURE(s.vocab);
        for (double seed : {1.0, -2.0}) {
            const auto labels = labels_for(s.rows, s.vocab, s.ignored);
            auto h = Acts<T, dyn, Cpu>(s.rows, s.dim, pool);
            fill(h, 1);
            auto w = trained<T>(s);
            const double scale = 1.0 / double(s.rows);
            Tape tape;
            h.on(&tape).want_grad();
            const auto loss = linear_cross_entropy(h, w, labels, scale);
            const auto silent = linear_cross_entropy(h.detached(), w, labels, scale);
            CHECK(item(loss) == item(silent));
            tape.backward(loss, seed);
            Expected expected = formula(matrix(h), matrix(w.working()), labels, scale);
            for (double& each : expected.dh.at) { each *= seed; }
            for (double& each : expected.dw.at) { each *= seed; }
            // Logits: sums of dim products. dh sums over V classes, rounded to T twice; dW over rows, in acc<T>.
            const double each = 16 * epsilon<acc<T>>() * std::sqrt(double(std::max(s.dim, s.vocab)));
            CHECK(std::abs(item(loss) - expected.loss) <= each * (1 + std::abs(expected.loss)));
            if (s.vocab == 1) { continue; }  // softmax of one class: gradients are all rounding
            CHECK(difference(matrix(h.grad()), expected.dh) < each + 2 * epsilon<T>());
            CHECK(difference(matrix(w.grad()), expected.dw)
                  < each + 16 * epsilon<acc<T>>() * std::sqrt(double(s.rows)));
        }
    }
}

TEST_CASE("linear_cross_entropy: gradients against differences, trained and frozen head")
{
    for (const Size& s : {Size{1, 5, 7, 0}, {9, 6, 35, 3}}) {
        const auto labels = labels_for(s.rows, s.vocab, s.ignored);
        auto h = filled<double>(s.rows, s.dim, 1);
        auto w = trained<double>(s);
        const auto both =
            gradcheck([&](TapeRef) { return linear_cross_entropy(h, w, labels, 0.3); }, {{"h", h}, {"w", w}});
        CHECK_MESSAGE(both.right(), both.text());
        const auto base = frozen<double>(s);
        const auto one = gradcheck([&](TapeRef) { return linear_cross_entropy(h, base, labels, 0.3); }, {{"h", h}});
        CHECK_MESSAGE(one.right(), one.text());
        const auto head = gradcheck(
            [&](TapeRef tape) { return linear_cross_entropy(h.detached().on(tape.tape), w, labels, 0.3); }, {{"w", w}});
        CHECK_MESSAGE(head.right(), head.text());
    }
}

TEST_CASE_TEMPLATE("linear_cross_entropy: equals cross_entropy of the product", T, double, float)
{
    for (const Size& s : sizes) {
        const auto labels = labels_for(s.rows, s.vocab, s.ignored);
        auto ids = Buffer<std::int32_t, Cpu>(s.rows);
        std::copy(labels.begin(), labels.end(), ids.data());
        auto h = filled<T>(s.rows, s.dim, 1), g = filled<T>(s.rows, s.dim, 1);
        auto w = trained<T>(s), u = trained<T>(s);
        Tape tape;
        h.on(&tape).want_grad(), g.on(&tape).want_grad();
        const auto fused = linear_cross_entropy(h, w, labels, 0.1);
        const auto plain = cross_entropy(matmul(g, u), ids, 0.1);
        const double each = 32 * epsilon<T>() * std::sqrt(double(s.vocab + s.dim));
        CHECK(std::abs(item(fused) - item(plain)) <= each * (1 + std::abs(item(plain))));
        tape.backward(plain);
        Tape other;
        h.on(&other);
        h.grad().clear(), w.grad().clear();
        other.backward(linear_cross_entropy(h, w, labels, 0.1));
        if (s.vocab == 1) { continue; }
        CHECK(difference(matrix(h.grad()), matrix(g.grad())) < each);
        CHECK(difference(matrix(w.grad()), matrix(u.grad())) < each * std::sqrt(double(s.rows)));
    }
}

TEST_CASE_TEMPLATE("linear_cross_entropy: trap: rows without a label get exactly zero, not softmax", T, float, bf16)
{
    const Size s{9, 16, 65, 3};
    const auto labels = labels_for(s.rows, s.vocab, s.ignored);
    auto h = filled<T>(s.rows, s.dim, 1);
    for (std::int64_t j = 0; j < s.dim; ++j) { h.view().row(3)[j] = T(acc<T>(std::nan(""))); }  // ignored: never read
    auto w = trained<T>(s);
    Tape tape;
    h.on(&tape).want_grad();
    const auto loss = linear_cross_entropy(h, w, labels, 1.0);
    CHECK(std::isfinite(item(loss)));
    tape.backward(loss);
    const Matrix dh = matrix(h.grad());
    for (std::int64_t n = 0; n < s.rows; ++n) {
        for (std::int64_t j = 0; j < s.dim; ++j) { CHECK((dh(n, j) == 0) == (n % 3 == 0)); }
    }
    for (double each : matrix(w.grad()).at) { CHECK(std::isfinite(each)); }
}

TEST_CASE("linear_cross_entropy: trap: an all-masked micro-batch adds nothing, not 0/0")
{
    const Size s{5, 6, 20, 0};
    const std::vector<std::int32_t> none(5, ignore);
    auto h = filled<float>(s.rows, s.dim, 1);
    auto w = trained<float>(s);
    Tape tape;
    h.on(&tape).want_grad();
    const auto loss = linear_cross_entropy(h, w, none, 0.0);
    CHECK(item(loss) == 0);
    tape.backward(loss);
    CHECK_FALSE(h.grad().written());
    CHECK_FALSE(w.grad().written());
    // Beside a micro-batch with labels: the sums stay what they were.
    tape.backward(linear_cross_entropy(h, w, labels_for(5, 20, 0), 0.2));
    const Matrix alone = matrix(w.grad());
    h.on(&tape);
    tape.backward(linear_cross_entropy(h, w, none, 0.2));
    CHECK(difference(matrix(w.grad()), alone) == 0);
}

TEST_CASE("linear_cross_entropy: trap: mean of means: 8 rows = 2 x 4 = 8 x 1 with unequal numbers of targets")
{
    const Size s{8, 6, 20, 0};
    const std::vector<std::int32_t> labels = {3, ignore, ignore, ignore, 19, 2, 7, 0};
    const auto h = filled<double>(8, 6, 1);
    Matrix whole;
    double whole_loss = 0;
    for (std::int64_t rows : {8, 4, 1}) {
        auto w = trained<double>(s);
        double loss = 0;
        for (std::int64_t at = 0; at < 8; at += rows) {
            Tape tape;
            auto part = Acts<double, dyn, Cpu>(rows, 6, Pool<Cpu>::common());
            std::copy_n(h.view().row(at), rows * 6, part.data());
            part.on(&tape);
            const auto each =
                linear_cross_entropy(part, w, std::span(labels).subspan(std::size_t(at), std::size_t(rows)), 0.2);
            loss += item(each);
            tape.backward(each);
        }
        if (rows == 8) { whole = matrix(w.grad()), whole_loss = loss; }
        CHECK(difference(matrix(w.grad()), whole) < 1e-14);
        CHECK(loss == doctest::Approx(whole_loss).epsilon(1e-14));
    }
}

TEST_CASE_TEMPLATE("linear_cross_entropy: equal to the bit for 1, 2, 3 and 5 threads", T, float, bf16)
{
    for (const Size& s : {Size{130, 70, 300, 4}, {2100, 9, 67, 3}}) {
        CHECK(same_for_threads([&](Bits& bits) {
            auto h = filled<T>(s.rows, s.dim, 1);
            auto w = trained<T>(s);
            Tape tape;
            h.on(&tape).want_grad();
            const auto loss = linear_cross_entropy(h, w, labels_for(s.rows, s.vocab, s.ignored), 0.01);
            bits.add(loss);
            tape.backward(loss);
            bits.add(h.grad()), bits.add(w.grad());
        }));
    }
}

TEST_CASE("linear_cross_entropy: logits are never held for all rows, and not at all for masked ones")
{
    const auto peak = [](std::int64_t rows, std::int64_t labelled) {
        const auto pool = Pool<Cpu>::create({.counting = true});
        auto h = Acts<float, dyn, Cpu>(rows, 8, pool);
        const auto w = Frozen<float, Shape<dyn, dyn>, Cpu>(Tensor<float, Shape<dyn, dyn>, Cpu>(1000, 8, pool));
        std::vector<std::int32_t> labels(std::size_t(rows), ignore);
        std::fill_n(labels.begin(), labelled, 1);
        Tape tape;
        h.on(&tape).want_grad();
        pool->reset_peak();
        const std::size_t before = pool->live_bytes();
        tape.backward(linear_cross_entropy(h, w, labels, 1.0));
        return pool->peak_bytes() - before;
    };
    CHECK(peak(100000, 100000) < std::size_t{32} << 20);  // all logits would be 400 MB
    CHECK(peak(1000, 1) + std::size_t{999} * 1000 * sizeof(float) <= peak(1000, 1000));
}

TEST_CASE("linear_cross_entropy: labels out of range or too few of them are an Error that names the row")
{
    const auto h = filled<float>(2, 6, 1);
    const auto w = param<float>(20, 6, 2);
    using Labels = std::vector<std::int32_t>;
    CHECK_THROWS_WITH_AS(linear_cross_entropy(h, w, Labels{1, 20}, 1.0),
                         "linear_cross_entropy: label 20 of row 1 is outside the vocabulary of 20", Error);
    CHECK_THROWS_AS(linear_cross_entropy(h, w, Labels{-1, 2}, 1.0), Error);
    CHECK_THROWS_AS(linear_cross_entropy(h, w, Labels{1}, 1.0), Error);
    CHECK_THROWS_AS(linear_cross_entropy(filled<float>(2, 5, 1), w, Labels{1, 2}, 1.0), Error);
    CHECK(item(linear_cross_entropy(filled<float>(0, 6, 1), w, Labels{}, 1.0)) == 0);
}
