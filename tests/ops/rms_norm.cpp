#include "graft/ops/rms_norm.hpp"

#include "device_support.hpp"

using namespace graft;
using namespace graft_test;

namespace {

constexpr double norm_eps = 1e-5;

Matrix norm_formula(const Matrix& x, const Matrix& w)
{
    Matrix y(x.rows, x.cols);
    for (std::int64_t i = 0; i < x.rows; ++i) {
        double squares = 0;
        for (std::int64_t j = 0; j < x.cols; ++j) { squares += x(i, j) * x(i, j); }
        const double r = 1 / std::sqrt(squares / double(x.cols) + norm_eps);
        for (std::int64_t j = 0; j < x.cols; ++j) { y(i, j) = x(i, j) * r * w(0, j); }
    }
    return y;
}

// The size of the terms whose difference dx is: with few columns little is left of them.
double norm_terms(const Matrix& x, const Matrix& w, const Matrix& dy)
{
    const Matrix y = norm_formula(x, w);
    double size = 0;
    for (std::int64_t i = 0; i < x.rows; ++i) {
        for (std::int64_t j = 0; j < x.cols; ++j) { size = std::max(size, std::abs(y(i, j) / x(i, j) * dy(i, j))); }
    }
    return size;
}

struct NormShape {
    std::int64_t rows, d;
};
constexpr NormShape norm_shapes[] = {{1, 1}, {1, 64}, {5, 33}, {7, 172}, {2, 1030}, {37, 8}};

}  // namespace

TEST_CASE_TEMPLATE("rms_norm: the formula and its gradients", Case, GRAFT_TEST_TYPES)
{
    using Dev = typename Case::Dev;
    using T = typename Case::T;
    if (!ready<Dev>()) { return; }
    for (const auto& shape : norm_shapes) {
        const auto rows = shape.rows, d = shape.d;
        CAPTURE(rows);
        CAPTURE(d);
        const auto from = pool<Dev>();
        const auto x = numbers<T>(rows, d, 1), w = numbers<T>(1, d, 2), dy = numbers<T>(rows, d, 3);
        auto x_there = upload<T, Shape<dyn, dyn>>(x, from);
        const auto weight = Param<T, Shape<dyn>, Dev>(upload<acc<T>, Shape<dyn>>(w, from));
        if constexpr (!std::same_as<T, acc<T>>) { put<T>(View<T>{weight.working().data(), 1, d, d}, w, from); }

        Tape tape;
        x_there.on(&tape).want_grad();
        const auto y = rms_norm(x_there, weight, norm_eps);
        const auto again = rms_norm(x_there, weight, norm_eps);  // x and w are used twice: their gradients add
        CHECK(distance(download(y), norm_formula(x, w)) < tolerance<T>(d));
        CHECK(download(y).at == download(again).at);
        seed(y, dy);
        seed(again, dy);
        tape.run();

        const auto dx = differences(x, [&](const Matrix& at) { return 2 * dot(norm_formula(at, w), dy); });
        const auto dw = differences(w, [&](const Matrix& at) { return 2 * dot(norm_formula(x, at), dy); });
        CHECK(distance(download(x_there.grad()), dx, 2 * norm_terms(x, w, dy)) < gradient_tolerance<T>(d));
        CHECK(distance(download(weight.grad()), dw) < gradient_tolerance<T>(rows));
    }
}

TEST_CASE_TEMPLATE("rms_norm: a frozen weight, rows of zeros, no rows", Case, GRAFT_TEST_TYPES)
{
    using Dev = typename Case::Dev;
    using T = typename Case::T;
    if (!ready<Dev>()) { return; }
    const auto from = pool<Dev>(false);
    const auto weight = Frozen<T, Shape<24>, Dev>(upload<T, Shape<24>>(numbers<T>(1, 24, 2), from));
    Matrix x = numbers<T>(3, 24, 1);
    for (std::int64_t j = 0; j < 24; ++j) { x(1, j) = 0; }

    Tape tape;
    auto x_there = upload<T, Shape<dyn, 24>>(x, from);
    x_there.on(&tape).want_grad();
    const auto y = rms_norm(x_there, weight, norm_eps);
    const auto got = download(y);
    for (std::int64_t j = 0; j < 24; ++j) { CHECK(got(1, j) == 0); }
    CHECK(distance(got, norm_formula(x, download(weight.value()))) < tolerance<T>(24));
    seed(y, numbers<T>(3, 24, 3));
    tape.run();
    for (const double value : download(x_there.grad()).at) { CHECK(std::isfinite(value)); }

    CHECK(rms_norm(Acts<T, 24, Dev>(0, from), weight).rows() == 0);
}

#if defined(__CUDACC__)
TEST_CASE_TEMPLATE("rms_norm: every variant that fits gives the formula", Case, GRAFT_TEST_TYPES)
{
    using T = typename Case::T;
    using Kernel = kernel<RmsNormOp, Cuda>;
    if (!ready<Cuda>()) { return; }
    for (const auto& shape : norm_shapes) {
        const auto rows = shape.rows, d = shape.d;
        const auto from = pool<Cuda>();
        const auto x = numbers<T>(rows, d, 1), w = numbers<T>(1, d, 2), dy = numbers<T>(rows, d, 3);
        const auto x_there = upload<T, Shape<dyn, dyn>>(x, from), dy_there = upload<T, Shape<dyn, dyn>>(dy, from);
        const auto w_there = upload<T, Shape<dyn>>(w, from);
        const auto dx = differences(x, [&](const Matrix& at) { return dot(norm_formula(at, w), dy); });
        Kernel::Variants::all(RmsNormProblem{rows, d}, machine(), [&](auto cut) {
            CAPTURE(std::string(decltype(cut)::name));
            auto y = empty_like(x_there), dx_there = empty_like(x_there);
            auto r = Buffer<acc<T>, Cuda>(rows, from);
            Kernel::forward_as(cut, y.view(), r.data(), x_there.view(), w_there.data(), acc<T>(norm_eps),
                               from->stream());
            Kernel::backward_as(cut, Sink<T>{dx_there.view(), false}, dy_there.view(), r.data(), x_there.view(),
                                w_there.data(), from->stream());
            CHECK(distance(download(y), norm_formula(x, w)) < tolerance<T>(d));
            CHECK(distance(download(dx_there), dx, norm_terms(x, w, dy)) < gradient_tolerance<T>(d));
        });
    }
}
#endif
