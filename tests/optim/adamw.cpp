#include "graft/optim/adamw.hpp"

#include "../models/golden_support.hpp"

#include "graft/cpu.hpp"

// AdamW against torch.optim.AdamW (golden/adamw.json), and what it must leave alone.
using namespace graft_test;

namespace {

// The least that an optimiser can work on: a matrix, which decays, and a vector, which does not.
template <class T_> struct Small {
    using T = T_;
    using Dev = graft::Cpu;
    graft::Param<T, graft::Shape<graft::dyn, graft::dyn>, Dev> matrix;
    graft::Param<T, graft::Shape<graft::dyn>, Dev> vector;

    Small(std::int64_t rows, std::int64_t cols, std::int64_t length)
        : matrix(graft::Tensor<graft::acc<T>, graft::Shape<graft::dyn, graft::dyn>, Dev>(rows, cols)),
          vector(graft::Tensor<graft::acc<T>, graft::Shape<graft::dyn>, Dev>(1, length))
    {}
    static void parts(auto& self, auto&& part) { part("matrix", self.matrix), part("vector", self.vector); }
};

template <class View> void set(View view, const std::vector<double>& values)
{
    REQUIRE(std::size_t(view.rows * view.cols()) == values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        using A = std::remove_reference_t<decltype(*view.data)>;
        view.row(std::int64_t(i) / view.cols())[std::int64_t(i) % view.cols()] = A(values[i]);
    }
}
template <class View> std::vector<double> get(View view)
{
    std::vector<double> out;
    for (std::int64_t i = 0; i < view.rows; ++i) {
        for (std::int64_t j = 0; j < view.cols(); ++j) { out.push_back(double(view.row(i)[j])); }
    }
    return out;
}
double largest_difference(const std::vector<double>& a, const std::vector<double>& b)
{
    REQUIRE(a.size() == b.size());
    double off = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        off = std::max(off, std::abs(a[i] - b[i]) / std::max(1.0, std::abs(b[i])));
    }
    return off;
}

}  // namespace

TEST_CASE_TEMPLATE("adamw: values and moments of torch.optim.AdamW after each step", T, float, double)
{
    const auto root = data();
    if (!root) { return skip("GRAFT_TEST_DATA is not set"); }
    std::size_t runs = 0;
    for (const auto& run : graft::read_json(*root / "golden/adamw.json")) {
        CAPTURE(runs);
        const auto start = run.at("start").template get<std::vector<double>>();
        Small<T> model(1, std::int64_t(start.size()), 1);
        set(model.matrix.value().view(), start);
        graft::AdamW<T> adamw(model, {.lr = run.at("lr"),
                                      .beta1 = run.at("betas")[0],
                                      .beta2 = run.at("betas")[1],
                                      .eps = run.at("eps"),
                                      .weight_decay = run.at("weight_decay")});
        const auto& gradients = run.at("gradients");
        // A step moves a value by about the rate: f32 rounds the value itself and the step, once each.
        const double limit = std::is_same_v<T, double> ? 1e-13 : 4 * 0x1p-23;
        for (std::size_t step = 0; step < gradients.size(); ++step) {
            CAPTURE(step);
            set(model.matrix.grad().sink().view, gradients[step].template get<std::vector<double>>());
            adamw.step().check();
            CHECK(!model.matrix.grad().written());
            CHECK(largest_difference(get(model.matrix.value().view()),
                                     run.at("after")[step].template get<std::vector<double>>())
                  <= limit * double(step + 1));
        }
        const auto moments = [&](const char* key) {
            const auto& list = run.at(key);
            return (list[0].is_array() ? list.back() : list).template get<std::vector<double>>();
        };
        CHECK(largest_difference(get(adamw.state()[0].m.view()), moments("m")) <= 10 * limit);
        CHECK(largest_difference(get(adamw.state()[0].v.view()), moments("v")) <= 10 * limit);
        ++runs;
    }
    CHECK(runs == 3);
}

TEST_CASE("adamw: decay is for matrices; a vector keeps its value at rate zero gradient")
{
    Small<double> model(2, 3, 4);
    set(model.matrix.value().view(), {1, 2, 3, 4, 5, 6});
    set(model.vector.value().view(), {1, 2, 3, 4});
    graft::AdamW<double> adamw(model, {.lr = 0.1, .weight_decay = 0.5});
    REQUIRE(adamw.trained().size() == 2);
    CHECK(adamw.trained()[0].decays);
    CHECK(!adamw.trained()[1].decays);
    set(model.matrix.grad().sink().view, std::vector<double>(6, 0.0));
    set(model.vector.grad().sink().view, std::vector<double>(4, 0.0));
    adamw.step().check();
    CHECK(largest_difference(get(model.matrix.value().view()), {0.95, 1.9, 2.85, 3.8, 4.75, 5.7}) <= 1e-15);
    CHECK(get(model.vector.value().view()) == std::vector<double>{1, 2, 3, 4});
}

TEST_CASE("adamw: a tensor without a gradient is left alone, with its moments and its count")
{
    Small<double> model(1, 2, 2);
    set(model.matrix.value().view(), {1, 1});
    set(model.vector.value().view(), {1, 1});
    graft::AdamW<double> adamw(model, {.lr = 0.1, .weight_decay = 0.5});
    set(model.vector.grad().sink().view, {1, -1});
    adamw.step().check();
    CHECK(get(model.matrix.value().view()) == std::vector<double>{1, 1});
    CHECK(adamw.state()[0].steps == 0);
    CHECK(adamw.state()[0].m.empty());
    CHECK(adamw.state()[1].steps == 1);
    // The first step of a tensor moves it by the rate, whatever the number of steps of others.
    CHECK(largest_difference(get(model.vector.value().view()), {0.9, 1.1}) <= 1e-8);
    set(model.matrix.grad().sink().view, {2, 3});
    adamw.step().check();
    CHECK(largest_difference(get(model.matrix.value().view()), {0.85, 0.85}) <= 1e-8);
}

TEST_CASE("adamw: rate zero changes no value and still counts")
{
    Small<float> model(1, 3, 1);
    set(model.matrix.value().view(), {1.5, -2.25, 1e-30});
    graft::AdamW<float> adamw(model, {.lr = 0.1, .weight_decay = 0.5, .clip = 1});
    set(model.matrix.grad().sink().view, {3, 4, 0});
    const auto info = adamw.step(0.0);
    CHECK(info.grad_norm == doctest::Approx(5));
    CHECK(info.applied);
    CHECK(info.finite());
    CHECK(info.tensors == 1);
    CHECK(get(model.matrix.value().view()) == std::vector<double>{1.5, -2.25, double(1e-30f)});
    CHECK(adamw.state()[0].steps == 1);
}

TEST_CASE("adamw: a gradient that is not finite changes nothing and is left to be looked at")
{
    Small<float> model(1, 2, 1);
    set(model.matrix.value().view(), {1, 2});
    graft::AdamW<float> adamw(model, {.lr = 0.1});
    set(model.matrix.grad().sink().view, {1, HUGE_VAL});
    const auto info = adamw.step();
    CHECK(!std::isfinite(info.grad_norm));
    CHECK(!info.applied);
    CHECK(info.tensors == 0);
    CHECK(info.not_finite == "matrix");
    CHECK_THROWS_WITH_AS(info.check(), doctest::Contains("the gradient of matrix is not finite"), graft::Error);
    CHECK(get(model.matrix.value().view()) == std::vector<double>{1, 2});
    CHECK(adamw.state()[0].steps == 0);
    CHECK(model.matrix.grad().written());
}

TEST_CASE("adamw: with bf16 the masters move where bf16 would not, and the working copy follows")
{
    Small<graft::bf16> model(1, 2, 1);
    set(model.matrix.value().view(), {1, 1});
    graft::AdamW<graft::bf16> adamw(model, {.lr = 1e-4});
    for (int step = 0; step < 100; ++step) {
        set(model.matrix.grad().sink().view, {1, -1});
        adamw.step().check();
        const auto master = get(model.matrix.value().view()), working = get(model.matrix.working().view());
        for (std::size_t i = 0; i < 2; ++i) { CHECK(working[i] == double(float(graft::bf16(float(master[i]))))); }
    }
    CHECK(largest_difference(get(model.matrix.value().view()), {0.99, 1.01}) <= 1e-5);
    CHECK(get(model.matrix.working().view())[0] < 1);
}

TEST_CASE("adamw: clipping scales what is applied, and reports the norm before it")
{
    Small<double> clipped(1, 2, 1), scaled(1, 2, 1);
    for (auto* model : {&clipped, &scaled}) { set(model->matrix.value().view(), {1, 1}); }
    graft::AdamW<double> a(clipped, {.lr = 0.1, .eps = 1, .clip = 1}), b(scaled, {.lr = 0.1, .eps = 1});
    set(clipped.matrix.grad().sink().view, {3, 4});
    set(scaled.matrix.grad().sink().view, {3 / 5.000001, 4 / 5.000001});
    CHECK(a.step().grad_norm == doctest::Approx(5).epsilon(1e-15));
    b.step().check();
    CHECK(largest_difference(get(clipped.matrix.value().view()), get(scaled.matrix.value().view())) <= 1e-15);
}

TEST_CASE("adamw: a tensor with a rate of its own takes it, and the schedule multiplies both")
{
    Small<double> model(1, 2, 2), plain(1, 2, 2);
    for (auto* one : {&model, &plain}) {
        set(one->matrix.value().view(), {1, 1});
        set(one->vector.value().view(), {1, 1});
    }
    graft::AdamW<double> names(model, {.lr = 0.1});
    const std::string own = names.trained()[1].name;
    graft::AdamW<double> adamw(model, {.lr = 0.1, .rates = {{own, 0.001}}});
    set(model.matrix.grad().sink().view, {1, -1});
    set(model.vector.grad().sink().view, {1, -1});
    adamw.step(0.5).check();
    CHECK(largest_difference(get(model.matrix.value().view()), {0.95, 1.05}) <= 1e-8);
    CHECK(largest_difference(get(model.vector.value().view()), {0.9995, 1.0005}) <= 1e-9);
    CHECK_THROWS_AS((graft::AdamW<double>(plain, {.rates = {{"nothing", 0.1}}})), graft::Error);
}
