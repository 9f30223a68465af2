#include "graft/optim/clip.hpp"

#include "../support.hpp"

#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "graft/cpu.hpp"
#include "graft/io/json_file.hpp"

// The global norm and the factor of torch.nn.utils.clip_grad_norm_ (golden/clip.json).
namespace {

template <class T> graft::TrainedTensor<T, graft::Cpu> with_gradient(const std::vector<double>& values)
{
    using Any = graft::Shape<graft::dyn, graft::dyn>;
    const auto size = std::int64_t(values.size());
    graft::Param<T, Any, graft::Cpu> param(graft::Tensor<graft::acc<T>, Any, graft::Cpu>(1, size));
    const auto sink = param.grad().sink();
    for (std::size_t i = 0; i < values.size(); ++i) { sink.view.data[i] = graft::acc<T>(values[i]); }
    return {"weight", param.value(), param.working(), param.grad(), true, false};
}

template <class T> double norm_of(const std::vector<graft::TrainedTensor<T, graft::Cpu>>& tensors)
{
    return graft::grad_norm<T, graft::Cpu>(tensors);
}

}  // namespace

TEST_CASE_TEMPLATE("clip: the norm and the clipped gradients of the reference", T, float, double)
{
    const auto root = graft_test::data();
    if (!root) { return graft_test::skip("GRAFT_TEST_DATA is not set"); }
    const double limit = std::is_same_v<T, double> ? 1e-14 : 4 * 0x1p-23;
    std::size_t count = 0;
    for (const auto& recorded : graft::read_json(*root / "golden/clip.json")) {
        CAPTURE(count);
        std::vector<graft::TrainedTensor<T, graft::Cpu>> tensors;
        for (const auto& gradient : recorded.at("gradients")) {
            tensors.push_back(with_gradient<T>(gradient.template get<std::vector<double>>()));
        }
        const double norm = norm_of<T>(tensors), factor = graft::clip_factor(norm, recorded.at("max_norm"));
        CHECK(std::abs(norm / recorded.at("norm").template get<double>() - 1) <= limit);
        for (std::size_t t = 0; t < tensors.size(); ++t) {
            const auto after = recorded.at("after")[t].template get<std::vector<double>>();
            const auto before = recorded.at("gradients")[t].template get<std::vector<double>>();
            for (std::size_t i = 0; i < after.size(); ++i) {
                CHECK(std::abs(before[i] * factor - after[i]) <= limit * std::abs(after[i]));
            }
        }
        ++count;
    }
    CHECK(count == 3);
}

TEST_CASE("clip: limit 0 is off, a norm below the limit is not scaled up, and the factor never exceeds 1")
{
    CHECK(graft::clip_factor(1e9, 0) == 1);
    CHECK(graft::clip_factor(0.5, 1) == 1);
    CHECK(graft::clip_factor(0, 1) == 1);
    CHECK(graft::clip_factor(4, 2) == 2 / (4 + 1e-6));
    CHECK(graft::clip_factor(1, 1) == 1 / (1 + 1e-6));
}

TEST_CASE("clip: squares that f32 cannot hold are summed in f64, and tensors without a gradient add nothing")
{
    std::vector<graft::TrainedTensor<float, graft::Cpu>> tensors{
        with_gradient<float>({3e30, 0}), with_gradient<float>({4e30}), with_gradient<float>({1})};
    tensors[2].grad.clear();
    CHECK(norm_of<float>(tensors) == doctest::Approx(5e30).epsilon(1e-6));
    CHECK(norm_of<float>({with_gradient<float>({3e-30, 4e-30})}) == doctest::Approx(5e-30).epsilon(1e-6));
    CHECK(norm_of<float>({}) == 0);
    CHECK(std::isnan(norm_of<float>({with_gradient<float>({NAN})})));
}
