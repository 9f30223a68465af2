#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../support.hpp"

#include "graft/checkpoint/load.hpp"
#include "graft/models/any.hpp"

// Models against recorded numbers of the reference packages ($GRAFT_TEST_DATA/golden, computed in f64).
namespace graft_test {

// The recorded case as graft takes it: documents back to back, without padding.
struct GoldenCase {
    std::vector<std::int32_t> ids, labels;  // labels are shifted
    std::vector<std::int64_t> lengths;      // of the documents
    std::vector<std::int64_t> rows;         // which row of the recorded (B, T, V) each row is
    std::int64_t targets = 0;
    double loss = 0;
};

inline GoldenCase golden_case(const nlohmann::json& recorded)
{
    GoldenCase out;
    const auto& all_ids = recorded.at("input_ids");
    const auto& all_labels = recorded.at("labels");
    for (std::size_t b = 0; b < all_ids.size(); ++b) {
        const auto ids = all_ids[b].get<std::vector<std::int32_t>>(),
                   labels = all_labels[b].get<std::vector<std::int32_t>>();
        std::size_t length = ids.size();
        if (recorded.contains("attention_mask")) {
            length = 0;
            for (const auto& seen : recorded["attention_mask"][b]) { length += seen.get<std::size_t>(); }
        }
        std::vector<std::int64_t> lengths{std::int64_t(length)};
        if (recorded.contains("document_lengths")) { lengths = recorded["document_lengths"].get<decltype(lengths)>(); }
        std::size_t at = 0;
        for (const std::int64_t n : lengths) {
            for (std::int64_t t = 0; t < n; ++t, ++at) {
                const std::int32_t label = t + 1 < n ? labels[at + 1] : graft::ignore;
                out.ids.push_back(ids[at]);
                out.labels.push_back(label);
                out.rows.push_back(std::int64_t(b * ids.size() + at));
                out.targets += label != graft::ignore;
            }
            out.lengths.push_back(n);
        }
    }
    return out;
}

inline std::vector<double> recorded_values(const graft::StoredTensor& tensor)
{
    std::int64_t n = 1;
    for (const std::int64_t extent : tensor.shape) { n *= extent; }
    std::vector<double> out(static_cast<std::size_t>(n));
    graft::detail::read_elements<double>(tensor, 0, n, out.data());
    return out;
}

// How far a model is from what was recorded.
struct GoldenErrors {
    double logits = 0;                // absolute
    double loss = 0;                  // absolute
    double gradient = 0;              // of a tensor: largest difference over its largest element
    std::string worst;                // the tensor of that gradient
    std::set<std::string> unmatched;  // gradients that only one side has
};

inline graft::Buffer<std::int32_t, graft::Cpu> golden_ids(const std::vector<std::int32_t>& ids)
{
    graft::Buffer<std::int32_t, graft::Cpu> out(std::int64_t(ids.size()));
    std::copy(ids.begin(), ids.end(), out.data());
    return out;
}

// The table of a run whose longest document is this case's: what a dynamic scaling goes by.
template <class Model> auto golden_positions(const Model& model, const GoldenCase& golden)
{
    return model.positions(*std::max_element(golden.lengths.begin(), golden.lengths.end()));
}

// The largest difference between the model's logits and the recorded ones, (B, T, V).
template <class Model>
double golden_logits(const Model& model, const GoldenCase& golden, const graft::StoredTensor& recorded)
{
    using T = typename Model::T;
    const auto expected = recorded_values(recorded);
    const auto logits = model(graft::no_tape, golden_ids(golden.ids),
                              graft::context_for<T, graft::Cpu>(golden.lengths, golden_positions(model, golden)));
    REQUIRE(logits.rows() == std::int64_t(golden.rows.size()));
    double worst = 0;
    for (std::int64_t i = 0; i < logits.rows(); ++i) {
        for (std::int64_t j = 0; j < logits.cols(); ++j) {
            const double want = expected.at(std::size_t(golden.rows[std::size_t(i)] * logits.cols() + j));
            const double off = std::abs(double(logits.view().row(i)[j]) - want);
            worst = off <= worst ? worst : off;  // a NaN stays
        }
    }
    return worst;
}

// prefix: of the recorded names, as "plain." or "adapter."; inner: what stands between ".grad." and the model's names.
template <class Model>
GoldenErrors golden_errors(Model& model, const GoldenCase& golden, const graft::SafetensorsFile& recorded,
                           const std::string& prefix, double loss_recorded, const std::string& inner = "",
                           bool recompute = false)
{
    using T = typename Model::T;
    GoldenErrors out;
    const auto ids = golden_ids(golden.ids);
    auto context = graft::context_for<T, graft::Cpu>(golden.lengths, golden_positions(model, golden));
    out.logits = golden_logits(model, golden, recorded.at(prefix + "logits"));
    context.training = true;
    context.recompute = recompute;
    graft::Tape tape;
    const auto loss = model.loss(tape, ids, context, golden.labels, 1.0 / double(golden.targets));
    out.loss = std::abs(graft::item(loss) - loss_recorded);
    tape.backward(loss);

    const std::string before = prefix + "grad." + inner;
    for (const auto& tensor : recorded.tensors()) {
        if (tensor.name.starts_with(prefix + "grad.")) { out.unmatched.insert(tensor.name); }
    }
    for (const auto& tensor : graft::trained_tensors(model)) {
        const std::string name = before + tensor.name;
        if (!tensor.grad.written() || recorded.find(name) == nullptr) {
            out.unmatched.insert("model: " + tensor.name);
            continue;
        }
        out.unmatched.erase(name);
        const auto expected = recorded_values(recorded.at(name));
        const auto grad = tensor.grad.view();
        REQUIRE(expected.size() == std::size_t(grad.rows * grad.cols()));
        double off = 0, size = 0;
        for (std::int64_t i = 0; i < grad.rows; ++i) {
            for (std::int64_t j = 0; j < grad.cols(); ++j) {
                const double want = expected[std::size_t(i * grad.cols() + j)];
                const double here = std::abs(double(grad.row(i)[j]) - want);
                off = here <= off ? off : here;
                size = std::max(size, std::abs(want));
            }
        }
        const double share = off / size;
        if (!(share <= out.gradient)) { out.gradient = share, out.worst = tensor.name; }
        tensor.grad.clear();
    }
    return out;
}

// The README's limits for f32, and what an f64 instantiation must meet.
struct GoldenLimits {
    double logits, loss, gradient;
};
template <class T> constexpr GoldenLimits golden_limits()
{
    if constexpr (std::is_same_v<T, double>) {
        return {1e-10, 1e-10, 1e-10};
    } else {
        return {5e-5, 1e-5, 5e-5};
    }
}

inline void check_golden(const GoldenErrors& found, const GoldenLimits& limits)
{
    CAPTURE(found.worst);
    CHECK(found.logits <= limits.logits);
    CHECK(found.loss <= limits.loss);
    CHECK(found.gradient <= limits.gradient);
    CHECK(found.unmatched == std::set<std::string>());
}

// What a call says when it refuses; empty where it does not.
template <class Call> std::string refusal(Call&& call)
{
    try {
        call();
    } catch (const graft::Error& error) {
        return error.what();
    }
    return "";
}

}  // namespace graft_test
