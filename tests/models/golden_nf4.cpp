#include "golden_support.hpp"

#include "graft/checkpoint/adapter.hpp"
#include "graft/checkpoint/hf_config.hpp"
#include "graft/cpu.hpp"
#include "graft/optim/adamw.hpp"
#include "graft/train/step.hpp"

// golden/nf4: checkpoints that bitsandbytes has quantised, read as they are; and QLoRA against LoRA on what NF4
// decodes to.
using namespace graft_test;

namespace {

std::optional<std::filesystem::path> quantized(const std::string& name)
{
    const auto root = data();
    if (!root) {
        skip("GRAFT_TEST_DATA is not set");
        return std::nullopt;
    }
    return *root / "golden/nf4" / name;
}

template <class T> graft::AnyModel<T> model_of(const std::filesystem::path& folder, graft::Base base)
{
    const auto config = graft::read_config(folder);
    REQUIRE(config.quantization.has_value());
    auto model = graft::make_model<T>(config, {.base = base, .dense = config.quantization->skipped});
    graft::load_weights(model, graft::Checkpoint::open(folder));
    return model;
}

template <class T> void adapt(graft::AnyModel<T>& model, const std::filesystem::path& folder)
{
    const auto adapter = graft::read_adapter_config(folder);
    graft::add_adapter(model, graft::adapter_targets(adapter, model.config, folder.string()), adapter, 0);
    graft::load_adapter(model, folder);
}

// Every weight of the blocks as the model decodes it, against the recorded values: the number of elements that differ.
template <class T> std::int64_t wrong_elements(graft::AnyModel<T>& model, const graft::SafetensorsFile& expected)
{
    std::int64_t wrong = 0, weights = 0;
    graft::leaves(model, [&](const std::string& name, auto& leaf) {
        const auto* want = expected.find("dequantised." + name);
        if (want == nullptr) { return; }
        ++weights;
        const auto values = recorded_values(*want);
        if constexpr (requires { leaf.value(); }) {
            const auto view = std::as_const(leaf).value().view();
            for (std::int64_t i = 0; i < view.rows; ++i) {
                for (std::int64_t j = 0; j < view.cols(); ++j) {
                    wrong += double(view.row(i)[j]) != values[std::size_t(i * view.cols() + j)];
                }
            }
        } else {
            std::vector<double> decoded(values.size());
            graft::cpu::nf4_decode<T>(leaf.view(), 0, std::int64_t(decoded.size()), decoded.data());
            for (std::size_t i = 0; i < values.size(); ++i) { wrong += decoded[i] != values[i]; }
        }
    });
    CHECK(weights == 14);
    return wrong;
}

// Logits without and with the adapter, loss and the adapter's gradients, held to the limits.
template <class T>
void check_quantized(graft::AnyModel<T>& model, const std::filesystem::path& folder, const GoldenLimits& limits)
{
    const auto recorded = graft::read_json(folder / "expected.json");
    const auto expected = graft::SafetensorsFile::open(folder / "expected.safetensors");
    const auto at = golden_case(recorded);
    CHECK(at.targets == recorded.at("targets").get<std::int64_t>());
    CHECK(golden_logits(model, at, expected.at("logits")) <= limits.logits);
    adapt(model, folder / "adapter");
    check_golden(golden_errors(model, at, expected, "adapter.", recorded.at("adapter_loss"), "base_model.model."),
                 limits);
}

}  // namespace

TEST_CASE_TEMPLATE("golden nf4: a float32 checkpoint of bitsandbytes, nested scales", T, float, double)
{
    const auto folder = quantized("checkpoint_double_f32");
    if (!folder) { return; }
    const auto expected = graft::SafetensorsFile::open(*folder / "expected.safetensors");
    for (const auto base : {graft::Base::nf4, graft::Base::frozen}) {  // as 4 bits, and decoded while it is read
        CAPTURE(int(base));
        auto model = model_of<T>(*folder, base);
        CHECK(wrong_elements(model, expected) == 0);
        check_quantized(model, *folder, golden_limits<T>());
    }
}

TEST_CASE("golden nf4: bfloat16 checkpoints decode to the bit, and their values give the recorded numbers")
{
    for (const char* name : {"checkpoint_single_bf16", "checkpoint_double_bf16"}) {
        const auto folder = quantized(name);
        if (!folder) { return; }
        CAPTURE(name);
        const auto expected = graft::SafetensorsFile::open(*folder / "expected.safetensors");
        auto four_bit = model_of<graft::bf16>(*folder, graft::Base::nf4);
        CHECK(wrong_elements(four_bit, expected) == 0);
        auto decoded = model_of<graft::bf16>(*folder, graft::Base::frozen);
        CHECK(wrong_elements(decoded, expected) == 0);

        // The recorded numbers are f64 computations on these bf16 values: so is this.
        auto exact = model_of<double>(*folder, graft::Base::frozen);
        graft::leaves(exact, [&](const std::string&, auto& leaf) {
            if constexpr (requires { leaf.value(); }) {
                auto view = leaf.value().view();
                for (std::int64_t i = 0; i < view.rows; ++i) {
                    for (std::int64_t j = 0; j < view.cols(); ++j) {
                        view.row(i)[j] = double(float(graft::bf16(float(view.row(i)[j]))));
                    }
                }
            }
        });
        CHECK(wrong_elements(exact, expected) == 0);
        check_quantized(exact, *folder, golden_limits<double>());

        // bitsandbytes' own bf16 run is off by what its run recorded (logits 0.12 to 0.2, loss 0.02, gradients 0.07 of
        // the largest): one sample of bf16's rounding, so half as much again is allowed here.
        const auto theirs = graft::read_json(*folder / "expected.json").at("bitsandbytes_run");
        const double logits = std::max(theirs.at("largest_logit_difference").get<double>(),
                                       theirs.at("largest_logit_difference_with_adapter").get<double>());
        check_quantized(four_bit, *folder, {1.5 * logits, 0.03, 0.1});

        // In f64 the codes decode without the rounding to bf16: the same from 4 bits and from dense weights.
        const auto wide = model_of<double>(*folder, graft::Base::nf4),
                   dense = model_of<double>(*folder, graft::Base::frozen);
        const auto at = golden_case(graft::read_json(*folder / "expected.json"));
        const auto ids = golden_ids(at.ids);
        const auto context = graft::context_for<double, graft::Cpu>(at.lengths, wide.positions(64));
        const auto a = wide(graft::no_tape, ids, context), b = dense(graft::no_tape, ids, context);
        double off = 0;
        for (std::int64_t i = 0; i < a.rows(); ++i) {
            for (std::int64_t j = 0; j < a.cols(); ++j) {
                const double here = std::abs(a.view().row(i)[j] - b.view().row(i)[j]);
                off = here <= off ? off : here;
            }
        }
        CHECK(off <= 1e-10);
    }
}

TEST_CASE("nf4: QLoRA on stories260K trains like LoRA on the decoded weights")
{
    const auto root = data();
    if (!root) { return skip("GRAFT_TEST_DATA is not set"); }
    const auto folder = *root / "data/models/stories260K", golden = *root / "data/golden_training";
    const auto config = graft::read_config(folder);
    const auto checkpoint = graft::Checkpoint::open(folder);

    std::vector<graft::Example> examples;
    const auto batches = graft::read_json(golden / "batches.json").at("sft");
    for (std::size_t b = 0; b < 4; ++b) {
        const auto& batch = batches[b];
        for (std::size_t i = 0; i < batch.at("input_ids").size(); ++i) {
            graft::Example example;
            std::size_t length = 0;
            for (const auto& seen : batch.at("attention_mask")[i]) { length += seen.get<std::size_t>(); }
            example.ids = batch["input_ids"][i].get<std::vector<std::int32_t>>();
            example.labels = batch.at("labels")[i].get<std::vector<std::int32_t>>();
            example.ids.resize(length), example.labels.resize(length);
            examples.push_back(std::move(example));
        }
    }

    for (const bool double_quant : {false, true}) {
        CAPTURE(double_quant);
        auto qlora = graft::make_model<float>(config, {.base = graft::Base::nf4});
        graft::load_weights(qlora, checkpoint, {.double_quant = double_quant});
        auto lora = graft::make_model<float>(config, {.base = graft::Base::frozen});
        graft::load_weights(lora, checkpoint);

        // The dense twin takes what the codes stand for; blocks straddle rows: 64 x 172.
        std::map<std::string, std::vector<float>> decoded;
        graft::leaves(qlora, [&](const std::string& name, auto& leaf) {
            if constexpr (requires { leaf.view().absmax; }) {
                auto& values = decoded[name];
                values.resize(std::size_t(leaf.rows() * leaf.cols()));
                graft::cpu::nf4_decode<float>(leaf.view(), 0, std::int64_t(values.size()), values.data());
            }
        });
        CHECK(decoded.size() == 35);
        double moved = 0;
        graft::leaves(lora, [&](const std::string& name, auto& leaf) {
            const auto at = decoded.find(name);
            if constexpr (requires { leaf.value(); }) {
                if (at == decoded.end()) { return; }
                auto view = leaf.value().view();
                for (std::int64_t i = 0; i < view.rows; ++i) {
                    for (std::int64_t j = 0; j < view.cols(); ++j) {
                        const float value = at->second[std::size_t(i * view.cols() + j)];
                        moved = std::max(moved, std::abs(double(view.row(i)[j]) - double(value)));
                        view.row(i)[j] = float(value);
                    }
                }
            }
        });
        CHECK(moved > 1e-3);  // quantisation did something

        const auto losses = [&](graft::AnyModel<float>& model) {
            adapt(model, golden / "lora_all_linear/start");
            graft::AdamW<float> adamw(model, {.lr = 5e-3, .weight_decay = 0.01, .clip = 1});
            graft::Batches plan(examples, {.batch = 2, .accumulate = 2, .steps = 8, .shuffle = false});
            const auto rope = model.positions(512);
            std::vector<double> out;
            for (std::int64_t step = 0; step < plan.steps(); ++step) {
                const auto micro = plan.micro_batches(step);
                double loss = 0;
                for (const auto& batch : micro) {
                    loss += graft::forward_backward(model, batch, rope, 0, 1.0 / double(graft::targets(micro)), {});
                }
                out.push_back(loss);
                adamw.step().check();
            }
            return out;
        };
        const auto four_bit = losses(qlora), dense = losses(lora);
        REQUIRE(four_bit.size() == 8);
        for (std::size_t k = 0; k < dense.size(); ++k) {
            CAPTURE(k);
            CHECK(std::abs(four_bit[k] - dense[k]) <= 1e-5);
        }
        CHECK(four_bit.back() < four_bit.front());
    }
}
