#include "graft/nn/any.hpp"

#include "../ops/device_support.hpp"
#include "graft/nn/trained.hpp"

// A linear layer whose kind is chosen at run time, with branches over it: against the formula in double.
using namespace graft;
using namespace graft_test;

namespace {

constexpr std::int64_t any_rows = 4, any_in = 12, any_out = 9;

struct Branch {
    Matrix a, b;
    double scale = 0;
};

Matrix any_formula(const Matrix& x, const Matrix& w, const std::vector<Branch>& branches)
{
    Matrix y = times_transposed(x, w);
    for (const Branch& branch : branches) {
        const Matrix low = times_transposed(times_transposed(x, branch.a), branch.b);
        for (std::size_t i = 0; i < y.at.size(); ++i) { y.at[i] += branch.scale * low.at[i]; }
    }
    return y;
}

}  // namespace

TEST_CASE_TEMPLATE("any linear: branches add, each with its scale; only the trained one has gradients", Case,
                   GRAFT_TEST_TYPES)
{
    using Dev = typename Case::Dev;
    using T = typename Case::T;
    const auto from = pool<Dev>();
    const auto x = numbers<T>(any_rows, any_in, 1), w = numbers<T>(any_out, any_in, 2);
    const auto dy = numbers<T>(any_rows, any_out, 3);
    std::vector<Branch> branches;
    for (std::int64_t rank : {3, 1, 2}) {
        const auto seed = std::uint64_t(10 * rank);
        branches.push_back({numbers<T>(rank, any_in, seed), numbers<T>(any_out, rank, seed + 1), 0.5 * double(rank)});
    }

    AnyLinear<dyn, dyn, T, Dev> layer(any_in, any_out, false, from);
    for (int i = 0; i < 2; ++i) { layer.stack(branches[std::size_t(i)].a.rows, branches[std::size_t(i)].scale); }
    layer.adapt({.rank = 2, .alpha = 2});  // scale 1
    branches[2].scale = 1;
    std::vector<std::string> names;
    leaves(layer, [&](const std::string& name, auto& leaf) {
        names.push_back(name);
        if constexpr (requires { leaf.value(); }) {
            const Matrix& value = name == "weight"             ? w
                                  : name.ends_with("A.weight") ? branches[(names.size() - 2) / 2].a
                                                               : branches[(names.size() - 2) / 2].b;
            using Value = std::remove_pointer_t<decltype(leaf.value().data())>;
            put<Value>(View<Value>(leaf.value().view()), value, from);
        }
    });
    CHECK(names
          == std::vector<std::string>{"weight", "stacked.0.lora_A.weight", "stacked.0.lora_B.weight",
                                      "stacked.1.lora_A.weight", "stacked.1.lora_B.weight", "lora_A.weight",
                                      "lora_B.weight"});
    auto& trained = *layer.branch();
    if constexpr (!std::same_as<T, acc<T>>) {
        auto a = trained.a.working(), b = trained.b.working();
        put<T>(View<T>(a.view()), branches[2].a, from);
        put<T>(View<T>(b.view()), branches[2].b, from);
    }

    Tape tape;
    auto x_there = upload<T, Shape<dyn, dyn>>(x, from);
    x_there.on(&tape).want_grad();
    const auto y = layer(x_there, Context<T, Dev>());
    // Each branch is rounded into y.
    CHECK(distance(download(y), any_formula(x, w, branches)) < 3 * tolerance<T>(any_in));
    seed(y, dy);
    tape.run();

    const auto f = [&](const Matrix& at, const std::vector<Branch>& all) { return dot(any_formula(at, w, all), dy); };
    const auto dx = differences(x, [&](const Matrix& at) { return f(at, branches); });
    const auto of_trained = [&](Matrix Branch::*part) {
        return differences(branches[2].*part, [&](const Matrix& at) {
            auto changed = branches;
            changed[2].*part = at;
            return f(x, changed);
        });
    };
    CHECK(distance(download(x_there.grad()), dx) < 3 * gradient_tolerance<T>(any_out));
    CHECK(distance(download(trained.a.grad()), of_trained(&Branch::a)) < gradient_tolerance<acc<T>>(any_out));
    CHECK(distance(download(trained.b.grad()), of_trained(&Branch::b)) < gradient_tolerance<acc<T>>(any_in));
}
