#include "graft/train/step.hpp"

#include "../checkpoint/checkpoint_support.hpp"
#include "graft/checkpoint/load_model.hpp"
#include "graft/cpu.hpp"
#include "graft/optim/adamw.hpp"

#include <limits>

// A step in micro-batches is the step of the whole batch; what has no target adds nothing.
using namespace graft_test;

namespace {

using Gradients = std::map<std::string, std::vector<double>>;

// Row i: i + 2 tokens; every label from `first` on.
graft::Example example(std::int32_t i, std::int32_t first)
{
    graft::Example out{.ids = {}, .labels = {}, .row = i + 1, .source = "rows"};
    for (std::int32_t t = 0; t < i + 2; ++t) {
        out.ids.push_back((5 * i + 3 * t) % 11);
        out.labels.push_back(t < std::max(first, 1) ? graft::ignore : out.ids.back());
    }
    return out;
}

// Eight rows with 1, 2, 1, 4, 1, 6, 7 and 1 targets.
std::vector<graft::Example> uneven()
{
    std::vector<graft::Example> out;
    for (const std::int32_t i : {0, 1, 2, 3, 4, 5, 6, 7}) {
        out.push_back(example(i, i == 2 || i == 4 || i == 7 ? i + 1 : 1));
    }
    return out;
}

// An adapter with B filled and dropout, or everything trained.
template <class T> graft::AnyModel<T> model_of(bool full)
{
    auto model = tiny_model<T>(full ? graft::Base::trained : graft::Base::frozen);
    if (!full) {
        const graft::AdapterConfig config{
            .rank = 2, .alpha = 4, .dropout = 0.25, .targets = {.kind = graft::ModuleChoice::Kind::all_linear}};
        graft::add_adapter(model, config, 3);
        int at = 0;
        auto trained = graft::trained_tensors(model);
        for (auto& tensor : trained) {
            auto view = tensor.value.view();
            for (std::int64_t i = 0; i < view.rows && tensor.name.ends_with("lora_B.weight"); ++i) {
                for (std::int64_t j = 0; j < view.cols(); ++j) { view.row(i)[j] = graft::acc<T>(++at % 29 - 14) / 64; }
            }
        }
    }
    for (const auto& tensor : graft::trained_tensors(model)) { graft::refresh(tensor); }
    return model;
}

template <class Model> Gradients gradients(Model& model)
{
    Gradients out;
    for (auto& tensor : graft::trained_tensors(model)) {
        auto& values = out[tensor.name];
        if (!tensor.grad.written()) { continue; }
        const auto view = tensor.grad.view();
        for (std::int64_t i = 0; i < view.rows; ++i) {
            for (std::int64_t j = 0; j < view.cols(); ++j) { values.push_back(double(view.row(i)[j])); }
        }
        tensor.grad.clear();
    }
    return out;
}

struct Step {
    double loss = 0;
    Gradients grads;
};

// The gradients of a step whose micro-batches hold these examples.
// Of a part of a step: its first sample, and the targets of the whole step.
template <class Model>
Step step(Model& model, const std::vector<std::vector<graft::Example>>& groups, std::uint32_t sample = 0,
          std::int64_t targets = 0)
{
    std::vector<graft::Batch> micro;
    for (const auto& group : groups) {
        std::vector<std::int64_t> all;
        for (std::size_t i = 0; i < group.size(); ++i) { all.push_back(std::int64_t(i)); }
        micro.push_back(graft::collate(group, all));
    }
    if (targets == 0) { targets = graft::targets(micro); }
    const auto rope = model.positions(16);
    Step out;
    for (const auto& batch : micro) {
        out.loss += graft::forward_backward(model, batch, rope, sample, 1.0 / double(targets), {{7, 5}, false});
        sample += std::uint32_t(batch.documents());
    }
    out.grads = gradients(model);
    return out;
}

std::vector<std::vector<graft::Example>> groups_of(const std::vector<graft::Example>& rows, std::size_t size)
{
    std::vector<std::vector<graft::Example>> out;
    for (std::size_t i = 0; i < rows.size(); i += size) {
        out.emplace_back(rows.begin() + std::ptrdiff_t(i),
                         rows.begin() + std::ptrdiff_t(std::min(i + size, rows.size())));
    }
    return out;
}

}  // namespace

TEST_CASE_TEMPLATE("step: any micro-batches of eight uneven rows, with dropout, give one loss and one gradient", T,
                   float, double)
{
    // An element is a sum over 44 tokens whose order is all that differs: off by at most 44 eps times what its terms
    // add up to. That is measured: each row's share by itself, the largest of a tensor.
    const double limit = 44 * double(std::numeric_limits<T>::epsilon());
    for (const bool full : {false, true}) {
        CAPTURE(full);
        auto model = model_of<T>(full);
        const auto rows = uneven();
        const auto whole = step(model, groups_of(rows, 8));
        std::map<std::string, double> sizes;
        double means = 0;
        Gradients shares;
        for (std::size_t i = 0; i < 8; ++i) {
            const auto alone = step(model, {{rows[i]}}, std::uint32_t(i), 23);
            means += alone.loss * 23 / double(graft::targets(rows[i])) / 8;
            for (const auto& [name, values] : alone.grads) {
                auto& sum = shares[name];
                sum.resize(values.size());
                for (std::size_t j = 0; j < values.size(); ++j) {
                    sum[j] += std::abs(values[j]);
                    sizes[name] = std::max(sizes[name], sum[j]);
                }
            }
        }
        CHECK(std::abs(means - whole.loss) > 1e-3);  // the rows tell a mean of means apart
        for (const std::size_t size : {1, 2, 3, 4}) {
            CAPTURE(size);
            const auto parts = step(model, groups_of(rows, size));
            CHECK(std::abs(parts.loss - whole.loss) <= limit * whole.loss);
            REQUIRE(parts.grads.size() == whole.grads.size());
            for (const auto& [name, want] : whole.grads) {
                const auto& tensor = name;  // clang 14 captures no structured binding
                CAPTURE(tensor);
                const auto& found = parts.grads.at(tensor);
                REQUIRE(!want.empty());
                REQUIRE(found.size() == want.size());
                double off = 0, largest = 0;
                for (std::size_t j = 0; j < want.size(); ++j) {
                    off = std::max(off, std::abs(found[j] - want[j])), largest = std::max(largest, std::abs(want[j]));
                }
                CHECK(off <= limit * sizes.at(tensor));
                CHECK(limit * sizes.at(tensor) < 0.01 * largest);
            }
        }
    }
}

TEST_CASE_TEMPLATE("step: trap: an all-masked micro-batch adds nothing, first, in the middle or last", T, float, double,
                   graft::bf16)
{
    for (const bool full : {false, true}) {
        CAPTURE(full);
        auto model = model_of<T>(full);
        const auto groups = groups_of(uneven(), 2);
        const auto without = step(model, groups);
        const std::vector<graft::Example> masked{example(6, 99), example(3, 99)};
        for (const std::size_t at : {0, 2, 4}) {
            CAPTURE(at);
            // Its samples are counted, so that dropout behind it would draw other numbers.
            auto plain = model_of<T>(full);
            graft::modules(plain, [](const std::string&, auto& module) {
                if constexpr (graft::is_any_linear<std::remove_cvref_t<decltype(module)>>) {
                    if (module.branch()) { module.branch()->dropout = 0; }
                }
            });
            auto with = groups;
            with.insert(with.begin() + std::ptrdiff_t(at), masked);
            const auto a = step(plain, groups), b = step(plain, with);
            CHECK(a.loss == b.loss);
            CHECK(a.grads == b.grads);
        }
        auto behind = groups;
        behind.push_back(masked);
        const auto found = step(model, behind);
        CHECK(found.loss == without.loss);
        CHECK(found.grads == without.grads);
    }
}

TEST_CASE("step: nothing but masked rows is a loss of 0, and the optimiser moves nothing")
{
    for (const bool full : {false, true}) {
        CAPTURE(full);
        auto model = model_of<float>(full);
        const auto before = values_of(model);
        const std::vector<graft::Example> masked{example(6, 99), example(3, 99)};
        const auto batch = graft::collate(masked, std::vector<std::int64_t>{0, 1});
        CHECK(batch.targets == 0);
        graft::AdamW<float> adamw(model, {.lr = 0.1, .clip = 1});
        const double loss = graft::forward_backward(model, batch, model.positions(16), 0, 1.0, {});
        CHECK(loss == 0);
        for (const auto& tensor : adamw.trained()) {
            if (!tensor.grad.written()) { continue; }
            const auto view = tensor.grad.view();
            for (std::int64_t i = 0; i < view.rows; ++i) {
                for (std::int64_t j = 0; j < view.cols(); ++j) { CHECK(view.row(i)[j] == 0); }
            }
        }
        CHECK_THROWS_WITH_AS((void)adamw.step(), doctest::Contains("a batch that has no target"), graft::Error);
        CHECK(values_of(model) == before);
    }
}

TEST_CASE("evaluate: a mean over targets, not over rows or batches; masked rows do not count")
{
    auto model = model_of<double>(true);
    const auto rope = model.positions(16);
    auto rows = uneven();
    double sum = 0;
    std::int64_t targets = 0;
    for (const auto& row : rows) {
        sum += graft::evaluate(model, std::span(&row, 1), 1, rope) * double(graft::targets(row));
        targets += graft::targets(row);
    }
    CHECK(targets == 23);
    for (const std::int64_t at_once : {1, 3, 8}) {
        CHECK(std::abs(graft::evaluate(model, std::span<const graft::Example>(rows), at_once, rope)
                       - sum / double(targets))
              <= 1e-13);
    }
    rows.insert(rows.begin(), example(6, 99));
    CHECK(std::abs(graft::evaluate(model, std::span<const graft::Example>(rows), 2, rope) - sum / double(targets))
          <= 1e-13);
    CHECK(graft::evaluate(model, std::span<const graft::Example>(rows).first(1), 2, rope) == 0);
}
