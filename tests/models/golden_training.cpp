#include "golden_support.hpp"

#include "graft/checkpoint/load_model.hpp"
#include "graft/cpu.hpp"
#include "graft/optim/adamw.hpp"
#include "graft/optim/schedule.hpp"
#include "graft/train/step.hpp"

// golden/training: twelve steps of torch's AdamW over PEFT's adapters, replayed: losses, norms and the tensors at the
// end, with decay on every trained tensor, clipping, and a cosine after a warm-up.
using namespace graft_test;

namespace {

struct Limits {
    double loss, norm, end;  // absolute; relative; the largest difference over the largest element of a tensor
};

// Micro-batches as the recorded run had them, padding left out.
std::vector<graft::Batch> recorded_batches(const std::filesystem::path& file)
{
    std::vector<graft::Batch> out;
    for (const auto& batch : graft::read_json(file)) {
        const auto golden = golden_case(batch);
        graft::Batch one;
        one.ids = golden.ids, one.labels = golden.labels, one.targets = golden.targets, one.bounds = {0};
        for (const std::int64_t length : golden.lengths) {
            for (std::int64_t t = 0; t < length; ++t) { one.positions.push_back(std::int32_t(t)); }
            one.bounds.push_back(one.bounds.back() + length);
        }
        CHECK(one.targets == batch.at("targets").get<std::int64_t>());
        out.push_back(one);
    }
    return out;
}

template <class T> void replay(const std::string& name, const Limits& limits)
{
    const auto root = data();
    if (!root) { return skip("GRAFT_TEST_DATA is not set"); }
    CAPTURE(name);
    const auto folder = *root / "golden/training" / name;
    const auto recorded = graft::read_json(folder / "results.json");
    const auto& settings = recorded.at("settings");
    auto model = graft::load_model<T>(*root / "golden/archs/llama");
    graft::add_adapter(model, folder / "start");
    const double rate = settings.at("lr");
    graft::AdamW<T> adamw(model,
                          {.lr = rate, .weight_decay = settings.at("weight_decay"), .clip = settings.at("clip")});
    const auto batches = recorded_batches(*root / "golden/training/batches.json");
    const auto rope = model.positions(64);
    double worst_loss = 0, worst_norm = 0;
    for (const auto& step : recorded.at("steps")) {
        const auto k = step.at("step").template get<std::size_t>();
        const auto micro = std::span(batches).subspan(2 * k, 2);
        const std::int64_t targets = micro[0].targets + micro[1].targets;
        CHECK(targets == step.at("targets").template get<std::int64_t>());
        double loss = 0;
        for (const auto& batch : micro) {
            loss += graft::forward_backward(model, batch, rope, 0, 1.0 / double(targets), {});
        }
        const double factor = graft::factor(graft::Schedule::cosine, std::int64_t(k), settings.at("steps"),
                                            settings.at("warmup_steps").template get<std::int64_t>());
        CHECK(rate * factor == doctest::Approx(step.at("lr")[0].template get<double>()).epsilon(1e-13));
        const double norm = adamw.step(factor).grad_norm, want = step.at("grad_norm");
        worst_loss = std::max(worst_loss, std::abs(loss - step.at("loss").template get<double>()));
        worst_norm = std::max(worst_norm, std::abs(norm - want) / want);
    }
    CAPTURE(worst_loss);
    CAPTURE(worst_norm);
    CHECK(worst_loss <= limits.loss);
    CHECK(worst_norm <= limits.norm);

    const auto end = graft::SafetensorsFile::open(folder / "end.safetensors");
    CHECK(end.tensors().size() == adamw.trained().size());
    for (const auto& tensor : adamw.trained()) {
        CAPTURE(tensor.name);
        const auto* stored = end.find("base_model.model." + tensor.name);
        REQUIRE(stored != nullptr);
        const auto want = recorded_values(*stored);
        const auto have = tensor.value.view();
        double off = 0, size = 0;
        for (std::int64_t i = 0; i < have.rows; ++i) {
            for (std::int64_t j = 0; j < have.cols(); ++j) {
                const double value = want.at(std::size_t(i * have.cols() + j));
                off = std::max(off, std::abs(double(have.row(i)[j]) - value));
                size = std::max(size, std::abs(value));
            }
        }
        CHECK(off <= limits.end * size);
    }
}

}  // namespace

TEST_CASE("golden training: LoRA, and LoRA with embedding and head trained whole, twelve steps in f64 and in f32")
{
    for (const char* name : {"lora", "modules_to_save"}) {
        replay<double>(name, {1e-9, 1e-9, 1e-8});
        replay<float>(name, {3e-5, 1e-4, 2e-3});
    }
}
