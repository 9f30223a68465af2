#include "graft/ops/cross_entropy.hpp"

#include "device_support.hpp"

using namespace graft;
using namespace graft_test;

namespace {

using Labels = std::vector<std::int32_t>;

double loss_formula(const Matrix& z, const Labels& labels, double scale)
{
    double loss = 0;
    for (std::int64_t i = 0; i < z.rows; ++i) {
        const std::int32_t label = labels[std::size_t(i)];
        if (label == ignore) { continue; }
        double top = z(i, 0), sum = 0;
        for (std::int64_t j = 1; j < z.cols; ++j) { top = std::max(top, z(i, j)); }
        for (std::int64_t j = 0; j < z.cols; ++j) { sum += std::exp(z(i, j) - top); }
        loss += top + std::log(sum) - z(i, label);
    }
    return loss * scale;
}

// Every third row is not scored, or all are.
Labels labels_of(std::int64_t rows, std::int64_t cols, bool all_ignored)
{
    Labels labels(static_cast<std::size_t>(rows));
    for (std::int64_t i = 0; i < rows; ++i) {
        labels[std::size_t(i)] = all_ignored || i % 3 == 1 ? ignore : std::int32_t((i * 7 + cols - 1) % cols);
    }
    return labels;
}

struct LossShape {
    std::int64_t rows, cols;
    bool all_ignored;
};
constexpr LossShape loss_shapes[] = {{1, 1, false}, {1, 33, false}, {5, 17, false}, {8, 300, false}, {4, 9, true}};

}  // namespace

TEST_CASE_TEMPLATE("cross_entropy: the formula and its gradient", Case, GRAFT_TEST_TYPES)
{
    using Dev = typename Case::Dev;
    using T = typename Case::T;
    if (!ready<Dev>()) { return; }
    for (const auto& shape : loss_shapes) {
        const auto rows = shape.rows, cols = shape.cols;
        const bool all_ignored = shape.all_ignored;
        CAPTURE(rows);
        CAPTURE(cols);
        const auto from = pool<Dev>();
        const double scale = 0.25;
        const auto labels = labels_of(rows, cols, all_ignored);
        Matrix z = numbers<T>(rows, cols, 5);
        for (double& value : z.at) { value *= 4; }

        Tape tape;
        auto z_there = upload<T, Shape<dyn, dyn>>(z, from);
        z_there.on(&tape).want_grad();
        const auto labels_there = upload(labels, from);
        const auto loss = cross_entropy(z_there, labels_there, scale);
        const auto again = cross_entropy(z_there, labels_there, scale);  // the second gradient is added to the first
        const double want = loss_formula(z, labels, scale);
        CHECK(std::abs(item(loss) - want) <= tolerance<acc<T>>(cols) * (std::abs(want) + 4 * double(rows)));
        CHECK(item(loss) == item(again));
        seed(again, Matrix(1, 1, 2.0));
        tape.backward(loss);

        const auto dz = differences(z, [&](const Matrix& at) { return 3 * loss_formula(at, labels, scale); });
        const auto got = download(z_there.grad());
        // A single column has p = 1: its gradient is 0 and has no size to be relative to.
        CHECK(distance(got, dz) < (cols == 1 ? 1e-6 : gradient_tolerance<T>(cols)));
        for (std::int64_t i = 0; i < rows; ++i) {
            for (std::int64_t j = 0; j < cols && labels[std::size_t(i)] == ignore; ++j) { CHECK(got(i, j) == 0); }
        }
        if (all_ignored) { CHECK(item(loss) == 0); }
    }
}

TEST_CASE_TEMPLATE("cross_entropy: a row that is not scored may hold anything", Case, GRAFT_TEST_TYPES)
{
    using Dev = typename Case::Dev;
    using T = typename Case::T;
    if (!ready<Dev>()) { return; }
    const auto from = pool<Dev>(false);
    Matrix z = numbers<T>(2, 6, 5);
    for (std::int64_t j = 0; j < 6; ++j) { z(0, j) = std::numeric_limits<double>::quiet_NaN(); }
    Tape tape;
    auto z_there = upload<T, Shape<dyn, 6>>(z, from);
    z_there.on(&tape).want_grad();
    const auto loss = cross_entropy(z_there, upload(Labels{ignore, 2}, from));
    CHECK(std::isfinite(item(loss)));
    tape.backward(loss);
    const auto got = download(z_there.grad());
    for (std::int64_t j = 0; j < 6; ++j) {
        CHECK(got(0, j) == 0);
        CHECK(std::isfinite(got(1, j)));
    }
}

TEST_CASE_TEMPLATE("cross_entropy: masked logits, sure rows, no rows", Case, GRAFT_TEST_TYPES)
{
    using Dev = typename Case::Dev;
    using T = typename Case::T;
    if (!ready<Dev>()) { return; }
    const auto from = pool<Dev>();
    const double inf = std::numeric_limits<double>::infinity();
    Matrix z(2, 3);
    z(0, 0) = -inf, z(0, 1) = 1, z(0, 2) = 1;   // -inf: a token that cannot come
    z(1, 0) = 12, z(1, 1) = 0, z(1, 2) = -inf;  // p - 1 of the label is -exp(-12), and not 0
    Tape tape;
    auto z_there = upload<T, Shape<dyn, 3>>(z, from);
    z_there.on(&tape).want_grad();
    const auto loss = cross_entropy(z_there, upload(Labels{1, 0}, from));
    const double rest = std::log1p(std::exp(-12.0));
    CHECK(item(loss) == doctest::Approx(std::log(2.0) + rest).epsilon(1e-5));
    tape.backward(loss);
    const auto got = download(z_there.grad());
    CHECK(std::abs(got(0, 0)) < 1e-37);
    CHECK(got(0, 1) == doctest::Approx(-0.5).epsilon(tolerance<T>(3)));
    CHECK(got(1, 0) == doctest::Approx(-std::exp(-12.0)).epsilon(0.1));  // an lse near 12 has 1e-6 left of f32
    CHECK(std::abs(got(1, 2)) < 1e-37);

    CHECK(item(cross_entropy(Acts<T, 3, Dev>(0, from), Buffer<std::int32_t, Dev>(0, from))) == 0);
}

#if defined(__CUDACC__)
TEST_CASE("cross_entropy: a label that is no column makes the loss NaN, and nothing outside of the row is read")
{
    if (!ready<Cuda>()) { return; }
    const auto from = pool<Cuda>();
    const auto z = upload<float, Shape<dyn, 3>>(numbers<float>(1, 3, 1), from);
    for (const std::int32_t label : {3, -1, 1 << 30}) {
        CHECK(std::isnan(item(cross_entropy(z, upload(Labels{label}, from)))));
    }
}
#endif
