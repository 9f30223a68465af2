#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <type_traits>
#include <vector>

#include "graft/autograd/tape.hpp"
#include "graft/checkpoint/adapter.hpp"
#include "graft/checkpoint/adapter_config/targets.hpp"
#include "graft/core/buffer.hpp"
#include "graft/core/device.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/inline.hpp"
#include "graft/models/adapter_config.hpp"
#include "graft/models/any.hpp"
#include "graft/models/config.hpp"
#include "graft/nn/nf4_linear.hpp"
#include "graft/optim/adamw.hpp"
#include "graft/text/dataset/example.hpp"
#include "graft/train/batches.hpp"
#include "graft/train/preference_step.hpp"
#include "graft/train/step.hpp"

// What a training run will hold in its pools, before anything is loaded.
//
//   plan_memory<T>(config, options)   runs the steps of the run on a counting pool: every buffer of forward, backward
//                                     and optimiser is taken and given back, none has memory, no kernel runs
//   to_text(plan)                     a table: bytes of each kind, the peak, and where it is
//
// The plan is exact for micro-batches of `batch` documents of `tokens` tokens whose labels are all targets; it is a
// bound for shorter rows and for rows with labels that are ignored. With `preference` a document is one answer behind
// its prompt, so it is a bound for pairs, whose prompts are not scored. It holds for as many threads as the plan was
// made with: scratch grows with them. What is not in the pools is not counted: the program itself, the data set and
// the files while they are read (pages of the system's cache, which it takes back when it needs them).
namespace graft {

struct PlanOptions {
    ModelOptions model{};
    bool double_quant = false;
    AdapterTargets targets{};  // of LoRA and QLoRA
    AdapterConfig adapter{};
    std::vector<AdapterTargets> stacked{};  // adapters that it is trained over
    std::int64_t batch = 4, tokens = 2048, accumulate = 1, steps = 2;
    std::int64_t positions = 0;  // that the table of rotary positions has; 0: as many as tokens
    bool recompute = false;
    bool preference = false;    // pairs of documents and their log-probabilities, not a loss
    bool share_prompt = false;  // of them
};

struct MemoryPlan {
    std::int64_t weights = 0;    // of the base; where it is trained, masters in f32 and working copies
    std::int64_t adapter = 0;    // masters in f32 and working copies
    std::int64_t stacked = 0;    // adapters that it is trained over, frozen
    std::int64_t positions = 0;  // the table of rotary positions
    std::int64_t moments = 0;    // of AdamW
    std::int64_t step = 0;       // at the peak: activations, gradients, scratch
    std::int64_t peak = 0;       // the sum
    std::string where;           // the part of a step that has the peak
};

namespace detail {

template <class> inline constexpr bool is_nf4_linear = false;
template <int In, int Out, Float T, Device Dev> inline constexpr bool is_nf4_linear<Nf4Linear<In, Out, T, Dev>> = true;

// A micro-batch of full rows, every label a target.
Batch full_batch(std::int64_t documents, std::int64_t tokens);

}  // namespace detail

template <Float T> MemoryPlan plan_memory(const ModelConfig& config, const PlanOptions& options)
{
    require(options.batch > 0 && options.tokens > 0, "a memory plan needs rows with tokens");
    const auto pool = Pool<Cpu>::create({.counting = true});
    const auto live = [&] { return std::int64_t(pool->live_bytes()); };
    MemoryPlan plan;

    auto model = make_model<T>(config, options.model, pool);
    modules(model, [&](const std::string&, auto& layer) {
        using Layer = std::remove_cvref_t<decltype(layer)>;
        if constexpr (detail::is_nf4_linear<Layer>) {
            layer.weight = {layer.out, layer.in, nf4::default_block, options.double_quant, pool};
        }
    });
    plan.weights = live();
    for (const AdapterTargets& targets : options.stacked) { stack_adapter(model, targets); }
    plan.stacked = live() - plan.weights;
    add_adapter(model, options.targets, options.adapter, 0);
    plan.adapter = live() - plan.weights - plan.stacked;
    AdamW<T> adamw(model);
    const auto rope = model.positions(std::max(options.positions, options.tokens), pool);
    plan.positions = live() - plan.weights - plan.stacked - plan.adapter;

    plan.peak = live(), plan.where = "the weights";
    const std::int64_t fixed = live();
    const auto part = [&](const char* name) {
        if (const auto peak = std::int64_t(pool->peak_bytes()); peak > plan.peak) {
            plan.peak = peak, plan.where = name, plan.step = peak - fixed - plan.moments;
        }
        pool->reset_peak();
    };
    pool->reset_peak();
    const Batch batch = detail::full_batch(options.batch, options.tokens);
    // Pairs without a prompt: nothing that is shared makes them smaller.
    const std::vector<Example> pair(2, Example{.ids = std::vector<std::int32_t>(std::size_t(options.tokens), 0),
                                               .labels = std::vector<std::int32_t>(std::size_t(options.tokens), 0),
                                               .source = {}});
    const std::int64_t no_prompt = 0;
    const PreferenceData pairs{.examples = pair, .prompts = {&no_prompt, 1}, .share_prompt = options.share_prompt};
    const Batch batch_of_pairs = collate_pairs(pairs, std::vector<std::int64_t>(std::size_t(options.batch / 2), 0));
    // The first step makes the moments, the second has them all along; the second micro-batch of a step has gradients.
    for (std::int64_t step = 0; step < std::min<std::int64_t>(options.steps, 2); ++step) {
        for (std::int64_t micro = 0; micro < std::min<std::int64_t>(options.accumulate, 2); ++micro) {
            Tape tape;
            if (options.preference) {
                auto call = detail::upload_pairs<T, Cpu>(pairs, batch_of_pairs, rope, pool);
                call.input.context.recompute = options.recompute;
                const auto sums = model.log_probs(tape, call.input.ids, call.input.context, call.scored);
                part("forward");
                sums.grad().sink();
                tape.run();
            } else {
                auto on_device = upload<T, Cpu>(batch, rope, 0, pool);
                on_device.context.training = true;
                on_device.context.recompute = options.recompute;
                const auto loss = model.loss(tape, on_device.ids, on_device.context, batch.labels, 1.0);
                part("forward");
                tape.backward(loss);
            }
            part("backward");
        }
        adamw.step().check();
        if (step == 0) { plan.moments = live() - fixed; }
        part("the optimiser's step");
    }
    return plan;
}

std::string to_text(const MemoryPlan& plan);

#if !GRAFT_HEADER_ONLY  // compiled once: parts/models.hpp
#define GRAFT_EXTERN(T) extern template MemoryPlan plan_memory<T>(const ModelConfig&, const PlanOptions&);
GRAFT_EXTERN(float)
GRAFT_EXTERN(bf16)
GRAFT_EXTERN(double)
#undef GRAFT_EXTERN
#endif

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/memory_plan.ipp"
#endif
