#include "graft/train/preference_step.hpp"

#include "../models/golden_support.hpp"

#include "graft/checkpoint/adapter.hpp"
#include "graft/checkpoint/hf_config.hpp"
#include "graft/cpu.hpp"
#include "graft/train/memory_plan.hpp"

// Steps of preference training on whole models, against recorded numbers and against the composition of plain parts.
using namespace graft_test;

namespace {

using graft::PreferenceLoss;

// The recorded pairs: rows of the batch, chosen ones first.
struct Recorded {
    nlohmann::json json;
    std::vector<graft::Example> examples;
    std::vector<std::int64_t> prompts;
};

Recorded recorded_pairs(const std::filesystem::path& folder)
{
    Recorded out{graft::read_json(folder / "expected.json"), {}, {}};
    const auto pairs = out.json.at("pairs").get<std::size_t>();
    for (std::size_t i = 0; i < pairs; ++i) {
        for (const auto row : {i, i + pairs}) {
            graft::Example example;
            for (std::size_t t = 0; t < out.json["input_ids"][row].size(); ++t) {
                if (out.json["attention_mask"][row][t] == 0) { break; }
                example.ids.push_back(out.json["input_ids"][row][t]);
                example.labels.push_back(out.json["completion_mask"][row][t] == 1 ? example.ids.back() : graft::ignore);
            }
            if (row == i) {
                const auto first = std::find_if(example.labels.begin(), example.labels.end(),
                                                [](auto label) { return label != graft::ignore; });
                out.prompts.push_back(first - example.labels.begin());
            }
            out.examples.push_back(std::move(example));
        }
    }
    return out;
}

template <class Model> std::map<std::string, std::vector<double>> gradients(Model& model)
{
    std::map<std::string, std::vector<double>> out;
    for (const auto& tensor : graft::trained_tensors(model)) {
        auto& to = out[tensor.name];
        REQUIRE(tensor.grad.written());
        const auto view = tensor.grad.view();
        for (std::int64_t i = 0; i < view.rows; ++i) { to.insert(to.end(), view.row(i), view.row(i) + view.cols()); }
        tensor.grad.clear();
    }
    return out;
}

// The slope of the loss along its own gradient, against differences.
template <class Model, class Rope>
void check_slope(Model& model, const graft::PreferenceData& data, const graft::Batch& batch, const Rope& rope)
{
    graft::PreferenceMetrics metrics;
    const double pairs = double(batch.documents() / 2);
    graft::preference_forward_backward(model, data, batch, rope, 1 / pairs, false, metrics);
    const auto found = gradients(model);
    double squares = 0;
    for (const auto& [tensor, values] : found) {
        for (const double value : values) { squares += value * value; }
    }
    const auto loss_at = [&](double step) {
        const auto move = [&](double by) {
            for (auto& tensor : graft::trained_tensors(model)) {
                const auto& along = found.at(tensor.name);
                auto view = tensor.value.view();
                for (std::int64_t i = 0, k = 0; i < view.rows; ++i) {
                    for (std::int64_t j = 0; j < view.cols(); ++j, ++k) {
                        view.row(i)[j] += by * along[std::size_t(k)] / std::sqrt(squares);
                    }
                }
            }
        };
        move(step);
        const double loss = graft::evaluate_preference(model, data, 3, rope);
        move(-step);
        return loss;
    };
    // Fourth order: the loss is steep in some directions.
    constexpr double h = 1e-4;
    const double slope = (8 * (loss_at(h) - loss_at(-h)) - (loss_at(2 * h) - loss_at(-2 * h))) / (12 * h);
    CHECK(std::abs(slope - std::sqrt(squares)) < 1e-8 * std::sqrt(squares));
}

}  // namespace

TEST_CASE("golden dpo: log-probabilities, losses and the gradient of every adapter tensor, in f64")
{
    const auto root = data();
    if (!root) { return skip("GRAFT_TEST_DATA is not set"); }
    const auto folder = *root / "golden/training/dpo";
    auto recorded = recorded_pairs(folder);
    const auto pairs = recorded.json.at("pairs").get<std::int64_t>();
    const auto adapter_folder = *root / "golden/peft/lora_all_linear";
    const auto adapter = graft::read_adapter_config(adapter_folder);
    const auto config = graft::read_config(adapter_folder / adapter.base_model);
    auto model = graft::make_model<double>(config, {.base = graft::Base::frozen});
    graft::load_weights(model, graft::Checkpoint::open(adapter_folder / adapter.base_model));
    const auto rope = model.positions(16);
    graft::PreferenceData data{.examples = recorded.examples, .prompts = recorded.prompts};

    data.reference = graft::reference_log_probs(model, data, 2, rope);  // the adapter is not there yet
    graft::add_adapter(model, graft::adapter_targets(adapter, config, ""), adapter, 0);
    graft::load_adapter(model, adapter_folder);
    const std::vector<std::int64_t> all{0, 1, 2};
    const auto batch = graft::collate_pairs(data, all);
    for (const bool share : {true, false}) {
        data.share_prompt = share;
        const auto policy = graft::answer_log_probs(graft::no_tape, model, data, batch, rope);
        for (std::int64_t d = 0; d < 2 * pairs; ++d) {
            const auto row = std::size_t(d);
            CHECK(std::abs(policy.data()[d] - recorded.json["policy_logps"][row].get<double>()) < 1e-10);
            CHECK(std::abs(data.reference[std::size_t(batch.rows[row])]
                           - recorded.json["reference_logps"][row].get<double>())
                  < 1e-10);
            CHECK(graft::detail::answer_tokens(data, batch.rows[row]) == recorded.json["completion_tokens"][row]);
        }
        const auto expected = graft::SafetensorsFile::open(folder / "expected.safetensors");
        // The recorded gradients carry rounding of 1e-7 that losses and log-probabilities do not; differences of the
        // loss along the gradient itself, below, hold ours to 1e-8.
        constexpr double recorded_limit = 1e-6;
        for (const std::string name :
             {"sigmoid", "sigmoid_beta_0.5", "ipo", "hinge", "sigmoid_smoothed_0.1_by_formula"}) {
            CAPTURE(name);
            const auto& want = recorded.json.at("losses").at(name);
            data.options = {.loss = PreferenceLoss::sigmoid,
                            .beta = want.at("beta"),
                            .label_smoothing = want.at("label_smoothing")};
            if (const auto loss = graft::preference_loss_named(name)) { data.options.loss = *loss; }
            for (const bool recompute : {false, true}) {
                graft::PreferenceMetrics metrics;
                const double loss = graft::preference_forward_backward(model, data, batch, rope, 1.0 / double(pairs),
                                                                       recompute, metrics);
                CHECK(std::abs(loss - want.at("loss").get<double>()) < 1e-10);
                const auto found = gradients(model);
                if (want.contains("grad_norm")) {
                    double squares = 0;
                    for (const auto& [tensor, values] : found) {
                        for (const double value : values) { squares += value * value; }
                    }
                    const double norm = want["grad_norm"];
                    CHECK(std::abs(std::sqrt(squares) - norm) < recorded_limit * norm);
                }
                for (const auto& [tensor, values] : found) {
                    const std::string key = name + ".grad.base_model.model." + tensor;
                    const auto* stored = expected.find(key);
                    if (stored == nullptr) { continue; }
                    const auto from = recorded_values(*stored);
                    REQUIRE(from.size() == values.size());
                    double off = 0, largest = 0;
                    for (std::size_t i = 0; i < from.size(); ++i) {
                        off = std::max(off, std::abs(from[i] - values[i]));
                        largest = std::max(largest, std::abs(from[i]));
                    }
                    CHECK(off < recorded_limit * largest);
                }
            }
            check_slope(model, data, batch, rope);
            CHECK(std::abs(graft::evaluate_preference(model, data, 2, rope) - want.at("loss").get<double>()) < 1e-10);
        }
    }
}
