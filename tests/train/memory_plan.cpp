#include "graft/train/memory_plan.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include <cstdint>
#include <string>
#include <vector>

#include "graft/cpu.hpp"

// The plan is the pools' measured peak, to the byte, where rows are full and all labels are targets.
using namespace graft;

namespace {

ModelConfig small(bool tied)
{
    ModelConfig c;
    c.vocab = 512, c.dim = 64, c.ffn = 172, c.layers = 3, c.heads = 8, c.kv_heads = 4, c.head_dim = 8;
    c.tied = tied, c.max_positions = 512;
    return c;
}

AdapterConfig adapter(double dropout)
{
    return {.rank = 4, .alpha = 8, .dropout = dropout, .targets = {.kind = ModuleChoice::Kind::all_linear}};
}

PlanOptions options_of(const std::string& method, const ModelConfig& config, double dropout)
{
    PlanOptions o{.batch = 3, .tokens = 50, .accumulate = 2, .steps = 3, .positions = 64};
    if (method == "full") {
        o.model = {.base = Base::trained, .train_rest = true};
    } else {
        o.model.base = method == "lora" ? Base::frozen : Base::nf4;
        o.adapter = adapter(dropout);
        o.targets = adapter_targets(o.adapter, config, "test");
    }
    return o;
}

// What the run really takes, from the first weight on. Of pairs that share `prompt` tokens.
template <class T> std::int64_t measured(const ModelConfig& config, const PlanOptions& o, std::int64_t prompt = 0)
{
    const auto pool = Pool<Cpu>::create({.poison = true});
    auto model = make_model<T>(config, o.model, pool);
    modules(model, [&](const std::string&, auto& layer) {
        if constexpr (graft::detail::is_nf4_linear<std::remove_cvref_t<decltype(layer)>>) {
            const auto n = std::size_t(layer.in * layer.out), blocks = (n + 63) / 64;
            const std::vector<std::uint8_t> codes((n + 1) / 2, 0x7a);
            const std::vector<float> scales(blocks, 0.1f);
            using Weight = std::remove_cvref_t<decltype(layer.weight)>;
            const auto type = nf4::Type::nf4;
            layer.weight = o.double_quant ? Weight(layer.out, layer.in, codes, nf4::nest(scales), 64, type, pool)
                                          : Weight(layer.out, layer.in, codes, scales, 64, type, pool);
        }
    });
    for (const auto& targets : o.stacked) { stack_adapter(model, targets); }
    add_adapter(model, o.targets, o.adapter, 1);
    leaves(model, [&](const std::string& name, auto& leaf) {  // poisoned so far
        if constexpr (requires { leaf.value(); }) {
            if (name.find("lora_") != std::string::npos && name.find(".stacked.") == std::string::npos) { return; }
            auto view = leaf.value().view();
            using E = std::remove_pointer_t<decltype(view.data)>;
            for (std::int64_t i = 0; i < view.rows; ++i) {
                for (std::int64_t j = 0; j < view.cols(); ++j) {
                    view.row(i)[j] = E(float((i * 7 + j) % 11 - 5) * 0.02f);
                }
            }
        }
    });
    for (const auto& tensor : trained_tensors(model)) { refresh(tensor); }
    AdamW<T> adamw(model);
    const auto rope = model.positions(o.positions, pool);
    const Batch batch = graft::detail::full_batch(o.batch, o.tokens);
    std::vector<Example> pair(2);
    for (auto& answer : pair) {
        answer.ids.assign(std::size_t(o.tokens), 0), answer.labels.assign(std::size_t(o.tokens), 0);
        std::fill_n(answer.labels.begin(), prompt, ignore);
    }
    const PreferenceData pairs{.examples = pair, .prompts = {&prompt, 1}, .share_prompt = o.share_prompt};
    const Batch batch_of_pairs = collate_pairs(pairs, std::vector<std::int64_t>(std::size_t(o.batch / 2), 0));
    double last = 0;
    for (std::int64_t step = 0; step < o.steps; ++step) {
        for (std::int64_t micro = 0; micro < o.accumulate; ++micro) {
            if (o.preference) {
                auto call = graft::detail::upload_pairs<T, Cpu>(pairs, batch_of_pairs, rope, pool);
                call.input.context.recompute = o.recompute;
                Tape tape;
                const auto sums = model.log_probs(tape, call.input.ids, call.input.context, call.scored);
                last = sums.data()[0];
                const auto sink = sums.grad().sink();
                std::fill_n(sink.view.data, o.batch, 1e-3);
                tape.run();
                continue;
            }
            auto on_device = upload<T, Cpu>(batch, rope, 0, pool);
            on_device.context.training = true, on_device.context.recompute = o.recompute;
            Tape tape;
            const auto loss = model.loss(tape, on_device.ids, on_device.context, batch.labels, 1e-2);
            tape.backward(loss);
            last = item(loss);
        }
        adamw.step().check();
    }
    CHECK(std::isfinite(last));
    return std::int64_t(pool->peak_bytes());
}

template <class T>
void same_peak(const std::string& method, bool tied, double dropout, bool recompute, bool nested, int stacked = 0)
{
    CAPTURE(method);
    CAPTURE(tied);
    CAPTURE(recompute);
    CAPTURE(nested);
    const auto config = small(tied);
    auto options = options_of(method, config, dropout);
    options.recompute = recompute, options.double_quant = nested;
    for (int i = 0; i < stacked; ++i) {
        const AdapterConfig below{.rank = 3 + i, .alpha = 4};  // q_proj and v_proj
        options.stacked.push_back(adapter_targets(below, config, "test"));
    }
    const MemoryPlan plan = plan_memory<T>(config, options);
    CHECK(plan.peak == measured<T>(config, options));
    CHECK(plan.weights + plan.stacked + plan.adapter + plan.positions + plan.moments + plan.step == plan.peak);
    CHECK(plan.weights > 0);
    CHECK(plan.moments > 0);
    CHECK((plan.adapter == 0) == (method == "full"));
    CHECK((plan.stacked == 0) == (stacked == 0));
}

}  // namespace

TEST_CASE_TEMPLATE("memory plan: the measured peak to the byte, for every method", T, float, bf16)
{
    for (const char* method : {"lora", "qlora", "full"}) {
        for (bool tied : {false, true}) {
            for (bool recompute : {false, true}) { same_peak<T>(method, tied, 0.0, recompute, false); }
        }
    }
    same_peak<T>("lora", false, 0.1, false, false);
    same_peak<T>("qlora", false, 0.0, false, true);
    for (bool recompute : {false, true}) {
        same_peak<T>("lora", false, 0.1, recompute, false, 1);
        same_peak<T>("qlora", true, 0.0, recompute, false, 2);
    }
}

TEST_CASE_TEMPLATE("memory plan: preference pairs to the byte without a prompt, a bound with one", T, float, bf16)
{
    for (const char* method : {"lora", "qlora", "full"}) {
        for (const bool share : {false, true}) {
            const auto config = small(true);
            auto o = options_of(method, config, 0.0);
            o.batch = 4, o.preference = true, o.share_prompt = share;
            const auto peak = plan_memory<T>(config, o).peak;
            CHECK(peak == measured<T>(config, o));
            CHECK(measured<T>(config, o, 30) < peak);
            o.recompute = true;
            CHECK(plan_memory<T>(config, o).peak == measured<T>(config, o));
        }
    }
}

TEST_CASE("memory plan: shorter rows and ignored labels take no more; recompute and smaller batches take less")
{
    const auto config = small(false);
    auto o = options_of("lora", config, 0.0);
    const auto peak = plan_memory<float>(config, o).peak;
    o.tokens = 49;
    CHECK(plan_memory<float>(config, o).peak <= peak);
    o.tokens = 50, o.batch = 1;
    CHECK(plan_memory<float>(config, o).peak < peak);
    o.batch = 3, o.recompute = true;
    CHECK(plan_memory<float>(config, o).peak < peak);
}

TEST_CASE("memory plan: 4-bit weights never exist in full, and a plan of a large model needs no memory")
{
    ModelConfig c;  // Llama-3.1-8B
    c.vocab = 128256, c.dim = 4096, c.ffn = 14336, c.layers = 32, c.heads = 32, c.kv_heads = 8, c.head_dim = 128;
    c.max_positions = 131072;
    auto o = options_of("qlora", c, 0.0);
    o.tokens = 2048, o.batch = 1, o.accumulate = 1, o.positions = 2048;
    const MemoryPlan plan = plan_memory<bf16>(c, o);
    const double dense = 2.0 * (128256.0 * 4096 * 2), linears = 6979321856.0 * (0.5 + 4.0 / 64);
    CHECK(double(plan.weights) == doctest::Approx(dense + linears).epsilon(0.03));  // blocks are rounded up
    CHECK(plan.peak > plan.weights);
    CHECK(plan.where != "the weights");
}
