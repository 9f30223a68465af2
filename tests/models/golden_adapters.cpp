#include "golden_support.hpp"

#include "graft/checkpoint/adapter.hpp"
#include "graft/checkpoint/hf_config.hpp"
#include "graft/cpu.hpp"
#include "graft/optim/adamw.hpp"
#include "graft/optim/schedule.hpp"
#include "graft/train/step.hpp"

// golden/peft once more: the rank and the scale of each module by itself, and an adapter over an adapter.
// golden/training/lora: a whole run in f64, to the last tensor.
using namespace graft_test;

namespace {

namespace fs = std::filesystem;
using Ranks = std::map<std::string, std::pair<std::int64_t, double>>;  // module -> rank, scale

std::optional<fs::path> golden()
{
    const auto root = data();
    if (!root) {
        skip("GRAFT_TEST_DATA is not set");
        return std::nullopt;
    }
    return *root / "golden";
}

template <class T> graft::AnyModel<T> frozen_model(const fs::path& base)
{
    auto model = graft::make_model<T>(graft::read_config(base), {.base = graft::Base::frozen});
    graft::load_weights(model, graft::Checkpoint::open(base));
    return model;
}

template <class T> void lay(graft::AnyModel<T>& model, const fs::path& folder)
{
    const auto adapter = graft::read_adapter_config(folder);
    graft::add_adapter(model, graft::adapter_targets(adapter, model.config, folder.string()), adapter, 0);
    graft::load_adapter(model, folder);
}

// Calls use(name, branch) for each branch of a model.
template <class Model, class Use> void branches(Model& model, Use&& use)
{
    graft::modules(model, [&](const std::string& name, auto& module) {
        if constexpr (graft::is_any_linear<std::remove_cvref_t<decltype(module)>>) {
            if (module.branch()) { use(name, *module.branch()); }
        }
    });
}

// Element (i, j) of s B A.
template <class Branch> double update(const Branch& branch, std::int64_t i, std::int64_t j)
{
    const auto &a = branch.a.value(), &b = branch.b.value();
    double sum = 0;
    for (std::int64_t k = 0; k < a.rows(); ++k) { sum += double(b.view().row(i)[k]) * double(a.view().row(k)[j]); }
    return branch.scale * sum;
}

Ranks ranks_of(const fs::path& folder)
{
    auto model = frozen_model<double>(folder / graft::read_adapter_config(folder).base_model);
    lay(model, folder);
    Ranks out;
    branches(model, [&](const std::string& name, const auto& branch) {
        CHECK(branch.a.value().rows() == branch.b.value().cols());
        out[name] = {branch.a.value().rows(), branch.scale};
    });
    return out;
}

// The modules q, v, … of the layers given, all with one rank and scale.
Ranks each(const std::vector<int>& layers, const std::vector<std::string>& modules, std::int64_t rank, double scale)
{
    Ranks out;
    for (const int layer : layers) {
        for (const auto& module : modules) {
            const bool mlp = module == "gate_proj" || module == "up_proj" || module == "down_proj";
            out["model.layers." + std::to_string(layer) + (mlp ? ".mlp." : ".self_attn.") + module] = {rank, scale};
        }
    }
    return out;
}

}  // namespace

TEST_CASE("golden peft: rank and scale of each module, as the configs say")
{
    const auto root = golden();
    if (!root) { return; }
    const auto of = [&](const char* name) { return ranks_of(*root / "peft" / name); };
    // r 4, alpha 8; rank_pattern {.*.k_proj: 3, down_proj: 2, layers.1.self_attn.q_proj: 6};
    // alpha_pattern {^model.layers.0.mlp.down_proj: 5, down_proj: 16}.
    CHECK(of("patterns")
          == Ranks{{"model.layers.0.self_attn.q_proj", {4, 8.0 / 4}},
                   {"model.layers.0.self_attn.k_proj", {3, 8.0 / 3}},
                   {"model.layers.0.mlp.down_proj", {2, 5.0 / 2}},
                   {"model.layers.1.self_attn.q_proj", {6, 8.0 / 6}},
                   {"model.layers.1.self_attn.k_proj", {3, 8.0 / 3}},
                   {"model.layers.1.mlp.down_proj", {2, 16.0 / 2}}});
    CHECK(of("regex_targets") == each({0, 1}, {"q_proj", "k_proj", "v_proj"}, 3, 5.0 / 3));
    auto all = each({0, 1}, {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj"}, 3, 5.0 / 3);
    all.erase("model.layers.0.self_attn.k_proj");
    CHECK(of("exclude_modules") == all);
    CHECK(of("layers_to_transform") == each({1}, {"v_proj", "up_proj"}, 4, 8.0 / 4));
    // r 7 = 3 of lora_qv and 4 of rslora, padded with zeros where only one of them is; the scales are in A and B.
    CHECK(of("two_adapters/cat") == each({0, 1}, {"q_proj", "v_proj", "o_proj", "down_proj"}, 7, 1));
}

TEST_CASE("golden peft: s B A of each module is what merging adds, and nothing else changes")
{
    const auto root = golden();
    if (!root) { return; }
    for (const char* kind : {"lora_all_linear", "lora_qv", "rslora", "qwen2_all_linear", "patterns", "regex_targets",
                             "exclude_modules", "layers_to_transform"}) {
        CAPTURE(kind);
        const auto folder = *root / "peft" / kind;
        const auto base = folder / graft::read_adapter_config(folder).base_model;
        auto model = frozen_model<double>(base);
        lay(model, folder);
        const auto before = graft::SafetensorsFile::open(base / "model.safetensors");
        const auto merged = graft::SafetensorsFile::open(folder / "merged.safetensors");
        std::set<std::string> changed, adapted;
        for (const auto& tensor : merged.tensors()) { changed.insert(tensor.name); }
        double worst = 0;
        branches(model, [&](const std::string& name, const auto& branch) {
            const std::string weight = name + ".weight";
            adapted.insert(weight);
            REQUIRE(merged.find(weight) != nullptr);
            const auto w = recorded_values(before.at(weight)), with = recorded_values(merged.at(weight));
            const std::int64_t in = branch.a.value().cols();
            for (std::int64_t i = 0; i < branch.b.value().rows(); ++i) {
                for (std::int64_t j = 0; j < in; ++j) {
                    const auto at = std::size_t(i * in + j);
                    const double off = std::abs(w.at(at) + update(branch, i, j) - with.at(at));
                    worst = off <= worst ? worst : off;
                }
            }
        });
        CHECK(worst <= 5e-7);  // merged in f32 by the reference
        CHECK(adapted == changed);
    }
}

TEST_CASE_TEMPLATE("golden peft: an adapter trained over a frozen one", T, float, double)
{
    const auto root = golden();
    if (!root) { return; }
    const auto folder = *root / "peft/two_adapters";
    const auto recorded = graft::read_json(folder / "expected.json");
    const auto base = folder / graft::json_string(recorded, "base", "expected.json");
    // Branches add, so the frozen one may as well be a part of the weights: what it adds is computed in f64.
    auto first = frozen_model<double>(base);
    lay(first, folder / "../lora_qv");
    auto model = frozen_model<T>(base);
    int added = 0;
    branches(first, [&](const std::string& name, const auto& branch) {
        graft::leaves(model, [&](const std::string& leaf_name, auto& leaf) {
            if constexpr (requires { leaf.value(); }) {
                if (leaf_name != name + ".weight") { return; }
                auto view = leaf.value().view();
                for (std::int64_t i = 0; i < view.rows; ++i) {
                    for (std::int64_t j = 0; j < view.cols(); ++j) {
                        view.row(i)[j] = T(double(view.row(i)[j]) + update(branch, i, j));
                    }
                }
                ++added;
            }
        });
    });
    CHECK(added == 4);
    lay(model, folder / "../rslora");
    const auto at = golden_case(recorded);
    CHECK(at.targets == recorded.at("targets").get<std::int64_t>());
    const auto expected = graft::SafetensorsFile::open(folder / "expected.safetensors");
    check_golden(golden_errors(model, at, expected, "stacked.", recorded.at("stacked_loss"), "base_model.model."),
                 golden_limits<T>());
}

TEST_CASE("golden training: the run `lora` in f64, step by step, to the last tensor")
{
    const auto root = golden();
    if (!root) { return; }
    const auto folder = *root / "training/lora";
    const auto recorded = graft::read_json(folder / "results.json");
    const auto& settings = recorded.at("settings");
    std::vector<graft::Example> examples;
    for (const auto& batch : graft::read_json(*root / "training/batches.json")) {
        for (std::size_t i = 0; i < batch.at("input_ids").size(); ++i) {
            std::size_t length = 0;
            for (const auto& seen : batch.at("attention_mask")[i]) { length += seen.get<std::size_t>(); }
            graft::Example example;
            example.ids = batch["input_ids"][i].get<std::vector<std::int32_t>>();
            example.labels = batch.at("labels")[i].get<std::vector<std::int32_t>>();
            example.ids.resize(length), example.labels.resize(length);
            examples.push_back(std::move(example));
        }
    }
    auto model = frozen_model<double>(*root / "training" / settings.at("base").get<std::string>());
    lay(model, folder / "start");
    const double lr = settings.at("lr");
    graft::AdamW<double> adamw(model, {.lr = lr, .weight_decay = settings.at("weight_decay"), .clip = 1});
    graft::Batches plan(examples, {.batch = 2, .accumulate = settings.at("accumulation"), .shuffle = false});
    const auto rope = model.positions(64);
    const auto& steps = recorded.at("steps");
    REQUIRE(plan.steps() == std::int64_t(steps.size()));
    for (std::int64_t k = 0; k < plan.steps(); ++k) {
        CAPTURE(k);
        const auto& want = steps[std::size_t(k)];
        const auto micro = plan.micro_batches(k);
        const auto targets = graft::targets(micro);
        CHECK(targets == want.at("targets").get<std::int64_t>());
        double loss = 0;
        for (const auto& batch : micro) {
            loss += graft::forward_backward(model, batch, rope, 0, 1.0 / double(targets), {});
        }
        const double factor =
            graft::factor(graft::Schedule::cosine, k, plan.steps(), settings.at("warmup_steps").get<std::int64_t>());
        const double norm = adamw.step(factor).grad_norm;
        CHECK(std::abs(loss - want.at("loss").get<double>()) <= 1e-10);
        CHECK(std::abs(norm - want.at("grad_norm").get<double>()) <= 1e-10);
        CHECK(std::abs(lr * factor - want.at("lr")[0].get<double>()) <= 1e-15);
    }
    const auto end = graft::SafetensorsFile::open(folder / "end.safetensors");
    const auto trained = graft::trained_tensors(model);
    CHECK(trained.size() == end.tensors().size());
    for (const auto& tensor : trained) {
        CAPTURE(tensor.name);
        const auto want = recorded_values(end.at("base_model.model." + tensor.name));
        REQUIRE(want.size() == std::size_t(tensor.value.rows() * tensor.value.cols()));
        double off = 0;
        for (std::size_t i = 0; i < want.size(); ++i) {
            const auto cols = std::size_t(tensor.value.cols());
            const double here = std::abs(tensor.value.view().row(std::int64_t(i / cols))[i % cols] - want[i]);
            off = here <= off ? off : here;
        }
        CHECK(off <= 1e-10);
    }
}
