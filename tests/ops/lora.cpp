#include "graft/ops/lora.hpp"

#include "device_support.hpp"

using namespace graft;
using namespace graft_test;

namespace {

Matrix lora_formula(const Matrix& base, const Matrix& x, const Matrix& a, const Matrix& b, double scale)
{
    Matrix y = times_transposed(times_transposed(x, a), b);
    for (std::size_t i = 0; i < y.at.size(); ++i) { y.at[i] = base.at[i] + scale * y.at[i]; }
    return y;
}

template <class T, class Dev> auto lora_param(const Matrix& value, const std::shared_ptr<Pool<Dev>>& from)
{
    auto param = Param<T, Shape<dyn, dyn>, Dev>(upload<acc<T>, Shape<dyn, dyn>>(value, from));
    if constexpr (!std::same_as<T, acc<T>>) {
        auto working = param.working();
        put<T>(View<T>(working.view()), value, from);
    }
    return param;
}

struct LoraShape {
    std::int64_t rows, in, out, rank;
};
constexpr LoraShape lora_shapes[] = {{1, 8, 8, 1}, {5, 33, 19, 3}, {3, 64, 172, 8}, {20, 16, 40, 16}};

}  // namespace

TEST_CASE_TEMPLATE("lora: the formula and its gradients", Case, GRAFT_TEST_TYPES)
{
    using Dev = typename Case::Dev;
    using T = typename Case::T;
    if (!ready<Dev>()) { return; }
    for (const auto& shape : lora_shapes) {
        const auto rows = shape.rows, in = shape.in, out = shape.out, rank = shape.rank;
        CAPTURE(rows);
        CAPTURE(in);
        CAPTURE(out);
        CAPTURE(rank);
        const auto from = pool<Dev>();
        const double scale = 2;
        const auto base = numbers<T>(rows, out, 1), x = numbers<T>(rows, in, 2), dy = numbers<T>(rows, out, 3);
        const auto a = numbers<T>(rank, in, 4), b = numbers<T>(out, rank, 5);
        const auto a_there = lora_param<T>(a, from), b_there = lora_param<T>(b, from);

        Tape tape;
        auto x_there = upload<T, Shape<dyn, dyn>>(x, from);
        x_there.on(&tape).want_grad();
        const auto y = lora(upload<T, Shape<dyn, dyn>>(base, from), x_there, a_there, b_there, scale);
        const auto again = lora(upload<T, Shape<dyn, dyn>>(base, from), x_there, a_there, b_there, scale);
        CHECK(distance(download(y), lora_formula(base, x, a, b, scale)) < tolerance<T>(in));
        CHECK(download(y).at == download(again).at);
        seed(y, dy);
        seed(again, dy);
        tape.run();

        // dA and dB are f32 whatever T is, from operands that T holds exactly: they have no rounding to T.
        using A = acc<T>;
        const auto f = [&](const Matrix& x, const Matrix& a, const Matrix& b) {
            return 2 * dot(lora_formula(base, x, a, b, scale), dy);
        };
        const auto dx = differences(x, [&](const Matrix& at) { return f(at, a, b); });
        const auto da = differences(a, [&](const Matrix& at) { return f(x, at, b); });
        const auto db = differences(b, [&](const Matrix& at) { return f(x, a, at); });
        CHECK(distance(download(x_there.grad()), dx) < gradient_tolerance<T>(out + rank));
        CHECK(distance(download(a_there.grad()), da) < gradient_tolerance<A>(out + rows));
        CHECK(distance(download(b_there.grad()), db) < gradient_tolerance<A>(in + rows));
    }
}

// A finished adapter below one that is trained.
TEST_CASE_TEMPLATE("lora: a frozen A or B has no gradient and saves nothing; dx is the same", Case, GRAFT_TEST_TYPES)
{
    using Dev = typename Case::Dev;
    using T = typename Case::T;
    if (!ready<Dev>()) { return; }
    constexpr std::int64_t rows = 5, in = 33, out = 19, rank = 3;
    const auto from = pool<Dev>();
    const auto base = numbers<T>(rows, out, 1), x = numbers<T>(rows, in, 2), dy = numbers<T>(rows, out, 3);
    const auto a = numbers<T>(rank, in, 4), b = numbers<T>(out, rank, 5);
    struct Found {
        Matrix y, dx;
        std::size_t held = 0;  // by the tape, beside what the test holds
    };
    const auto with = [&](const auto& a_there, const auto& b_there) {
        Found found;
        Tape tape;
        auto x_there = upload<T, Shape<dyn, dyn>>(x, from);
        x_there.on(&tape).want_grad();
        auto y = upload<T, Shape<dyn, dyn>>(base, from);
        const std::size_t before = from->live_bytes();
        y = lora(std::move(y), x_there, a_there, b_there, 2.0);
        found.held = from->live_bytes() - before;
        found.y = download(y);
        seed(y, dy);
        tape.run();
        found.dx = download(x_there.grad());
        return found;
    };
    const auto a_trained = lora_param<T>(a, from), b_trained = lora_param<T>(b, from);
    const auto a_frozen = Frozen<T, Shape<dyn, dyn>, Dev>(upload<T, Shape<dyn, dyn>>(a, from));
    const auto b_frozen = Frozen<T, Shape<dyn, dyn>, Dev>(upload<T, Shape<dyn, dyn>>(b, from));
    const Found trained = with(a_trained, b_trained), frozen = with(a_frozen, b_frozen);
    CHECK(frozen.y.at == trained.y.at);
    CHECK(frozen.dx.at == trained.dx.at);
    CHECK(trained.held > 0);
    CHECK(frozen.held == 0);

    const Found half = with(a_trained, b_frozen);
    CHECK(half.dx.at == trained.dx.at);
    CHECK(a_trained.grad().written());
    CHECK(half.held == 0);
    b_trained.grad().clear();
    CHECK(with(a_frozen, b_trained).dx.at == trained.dx.at);
    CHECK(b_trained.grad().written());
    const auto db = differences(b, [&](const Matrix& at) { return dot(lora_formula(base, x, a, at, 2.0), dy); });
    CHECK(distance(download(b_trained.grad()), db) < gradient_tolerance<acc<T>>(in + rows));
}

TEST_CASE_TEMPLATE("lora: the gradient of y goes on to the base, unchanged", Case, GRAFT_TEST_TYPES)
{
    using Dev = typename Case::Dev;
    using T = typename Case::T;
    if (!ready<Dev>()) { return; }
    constexpr std::int64_t rows = 4, in = 12, out = 9, rank = 2;
    const auto from = pool<Dev>(false);
    const auto x = numbers<T>(rows, in, 2), w = numbers<T>(out, in, 6), dy = numbers<T>(rows, out, 3);
    const auto a = numbers<T>(rank, in, 4), b = numbers<T>(out, rank, 5);
    const auto w_there = lora_param<T>(w, from), a_there = lora_param<T>(a, from), b_there = lora_param<T>(b, from);

    Tape tape;
    auto x_there = upload<T, Shape<dyn, dyn>>(x, from);
    x_there.on(&tape).want_grad();
    const auto y = lora(matmul(x_there, w_there), x_there, a_there, b_there, 0.5);
    CHECK(distance(download(y), lora_formula(times_transposed(x, w), x, a, b, 0.5)) < tolerance<T>(in));
    seed(y, dy);
    tape.run();
    const auto f = [&](const Matrix& x, const Matrix& w) {
        return dot(lora_formula(times_transposed(x, w), x, a, b, 0.5), dy);
    };
    const auto dx = differences(x, [&](const Matrix& at) { return f(at, w); });
    const auto dw = differences(w, [&](const Matrix& at) { return f(x, at); });
    CHECK(distance(download(x_there.grad()), dx) < gradient_tolerance<T>(out));
    CHECK(distance(download(w_there.grad()), dw) < gradient_tolerance<acc<T>>(rows));

    const auto none = lora(Acts<T, dyn, Dev>(0, out, from), Acts<T, dyn, Dev>(0, in, from), a_there, b_there, 0.5);
    CHECK(none.rows() == 0);
}
