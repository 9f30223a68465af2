#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "cli/finetune_options.hpp"
#include "cli/program.hpp"
#include "graft/text/dataset.hpp"
#include "graft/train/memory_plan.hpp"

// --plan and --memory-limit: what a run will hold in memory, said or refused before a weight is loaded.
namespace cli {

// What the layers of the model are made of.
inline graft::ModelOptions model_options(const FinetuneOptions& o, const graft::ModelConfig& config,
                                         const graft::AdapterTargets& targets)
{
    const bool full = o.method == "full", nf4 = o.method == "qlora" || config.quantization.has_value();
    return {.base = full  ? graft::Base::trained
                    : nf4 ? graft::Base::nf4
                          : graft::Base::frozen,
            .train_rest = full,
            .trained = targets.saved.trained(),
            .dense = config.quantization ? config.quantization->skipped : std::vector<std::string>()};
}

inline std::string in_words(std::int64_t bytes)
{
    char text[64];
    const double mib = double(bytes) / (1 << 20);
    if (mib >= 1024) {
        std::snprintf(text, sizeof text, "%.2f GiB", mib / 1024);
    } else {
        std::snprintf(text, sizeof text, mib < 10 ? "%.2f MiB" : "%.0f MiB", mib);
    }
    return text;
}

// A plan, and whether it is what the run will take or what it takes at most.
struct RunPlan {
    graft::PlanOptions options;
    bool bf16 = false, exact = false;
    std::int64_t answers = 1;  // documents of a row: 2 for preference pairs

    graft::MemoryPlan of(const graft::ModelConfig& config, const graft::PlanOptions& changed) const
    {
        return bf16 ? graft::plan_memory<graft::bf16>(config, changed) : graft::plan_memory<float>(config, changed);
    }
};

// Without data every row counts as one of max_length tokens.
inline RunPlan plan_of(const FinetuneOptions& o, const graft::ModelConfig& config, const graft::AdapterConfig& adapter,
                       const graft::AdapterTargets& targets, const graft::Dataset& data, const graft::Dataset* eval,
                       std::int64_t max_length, std::int64_t steps)
{
    RunPlan plan{.options = {.model = model_options(o, config, targets),
                             .double_quant = config.quantization ? config.quantization->double_quant : o.double_quant,
                             .targets = targets,
                             .adapter = adapter,
                             .batch = o.batch,
                             .tokens = max_length,
                             .accumulate = o.accumulate,
                             .steps = steps,
                             .positions = max_length,
                             .recompute = o.recompute},
                 .bf16 = o.dtype == "bf16",
                 .answers = o.task == "dpo" ? 2 : 1};
    plan.options.preference = o.task == "dpo", plan.options.share_prompt = o.share_prompt;
    plan.options.batch *= plan.answers;
    if (data.examples.empty()) { return plan; }
    const auto count = std::int64_t(data.examples.size());
    auto& p = plan.options;
    p.batch = std::min(p.batch, count);
    p.accumulate = std::min(p.accumulate, (count + p.batch - 1) / p.batch);
    p.tokens = 0;
    plan.exact = eval == nullptr && count % p.batch == 0 && o.task != "dpo";  // prompts are not scored
    for (const auto& example : data.examples) {
        const auto length = std::int64_t(example.ids.size());
        plan.exact = plan.exact && (p.tokens == 0 || p.tokens == length) && graft::targets(example) + 1 >= length;
        p.tokens = std::max(p.tokens, length);
    }
    if (eval != nullptr) {
        for (const auto& example : eval->examples) { p.tokens = std::max(p.tokens, std::int64_t(example.ids.size())); }
    }
    return plan;
}

inline std::string plan_text(const RunPlan& plan, const graft::MemoryPlan& found)
{
    const bool pairs = plan.answers == 2;
    return "memory, bytes in the pools, for " + std::to_string(plan.options.batch / plan.answers)
           + (pairs ? " pairs of two answers of " : " rows of ") + std::to_string(plan.options.tokens) + " tokens"
           + (pairs ? ", prompts included" : "")
           + (plan.exact ? "" : " (at most: rows may be shorter, and not every label a target)") + "\n"
           + graft::to_text(found);
}

// Refuses a run that would take more than `limit`, and says what would fit.
inline void require_memory(const RunPlan& plan, const graft::ModelConfig& config, const graft::MemoryPlan& found,
                           std::int64_t limit)
{
    if (found.peak <= limit) { return; }
    const auto& p = plan.options;
    std::vector<std::string> fits;
    std::int64_t least = found.peak;
    const auto attempt = [&](const graft::PlanOptions& changed, const std::string& said) {
        const std::int64_t peak = plan.of(config, changed).peak;
        least = std::min(least, peak);
        if (peak <= limit) { fits.push_back(said + " (" + in_words(peak) + ")"); }
        return peak <= limit;
    };
    const auto smaller = [&](graft::PlanOptions changed, const std::string& also) {
        while (changed.batch > plan.answers) {
            const auto rows = changed.batch / plan.answers;
            changed.accumulate *= (rows + rows / 2 - 1) / (rows / 2);
            changed.batch = rows / 2 * plan.answers;
            if (attempt(changed, also + "--batch " + std::to_string(rows / 2) + " --accumulate "
                                     + std::to_string(changed.accumulate))) {
                break;
            }
        }
    };
    auto less = p;
    less.recompute = true;
    if (!p.recompute) { attempt(less, "--recompute"); }
    smaller(p, "");
    if (fits.empty() && !p.recompute) { smaller(less, "--recompute "); }
    less.batch = plan.answers;
    while (less.tokens > 32) {
        less.tokens /= 2, less.positions = less.tokens;
        if (attempt(less, "--recompute --batch 1 --max-length " + std::to_string(less.tokens))) { break; }
    }
    std::string what;
    for (const auto& one : fits) { what += (what.empty() ? "; what would fit: " : ", or ") + one; }
    if (fits.empty()) {
        what = "; no shorter rows and no smaller batch would fit (" + in_words(least)
               + " at least): try --method qlora, --dtype bf16, or a smaller --rank";
    }
    throw graft::Error("--memory-limit " + in_words(limit) + ": the run would take " + (plan.exact ? "" : "up to ")
                       + in_words(found.peak) + " in " + found.where + what);
}

}  // namespace cli
