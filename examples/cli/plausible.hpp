#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cli/finetune_options.hpp"
#include "cli/program.hpp"
#include "graft/checkpoint/adapter_config/targets.hpp"
#include "graft/optim/schedule.hpp"
#include "graft/train/batches.hpp"
#include "graft/train/metrics.hpp"

// Numbers that are allowed one by one, and make no sense together or for this run.
//
//   require_sense(options)          refuses what nobody can mean, before anything is read
//   doubtful(options, run)          a line for each that is probably a mistake; the run goes on
namespace cli {

struct RunSizes {
    std::int64_t rows = 0, steps = 0, batches_an_epoch = 0, max_length = 0;
    const graft::AdapterTargets* targets = nullptr;  // of a new adapter
};

inline void require_sense(const FinetuneOptions& o)
{
    graft::require(o.warmup < 1 || o.warmup == double(std::int64_t(std::min(o.warmup, 9e15))), [&] {
        return "--warmup " + graft::detail::shortest(o.warmup)
               + ": from 1 on it is a number of steps, which must be "
                 "whole; below 1 a share of them";
    });
    const double lr = std::max(o.lr, o.embedding_lr), shrink = lr * o.weight_decay;
    graft::require(shrink < 1, [&] {
        return "--weight-decay " + graft::detail::shortest(o.weight_decay) + ": with a rate of "
               + graft::detail::shortest(lr) + " the first step would multiply every weight by "
               + loss_text(1 - shrink, 3) + "; usual are 0 to 0.1";
    });
    graft::require(!o.double_quant || o.method == "qlora", [&] {
        return "--double-quant belongs to --method qlora, which quantises the base; --method " + o.method
               + " takes it as it is stored";
    });
    graft::require(!o.resume_auto || !o.overwrite,
                   "--resume auto goes on with the run in the output folder, --overwrite replaces it: leave one out");
}

namespace detail {

inline void doubt_rates(std::vector<std::string>& out, const FinetuneOptions& o, const RunSizes& run)
{
    const auto number = [](double value) { return graft::detail::shortest(value); };
    const auto warmup = graft::warmup_steps(o.warmup, run.steps);
    if (run.steps > 0 && warmup >= run.steps) {
        const double most = o.lr * double(run.steps - 1) / double(warmup);
        out.push_back("--warmup " + number(o.warmup) + " is " + (warmup > run.steps ? "longer than" : "as long as")
                      + " the run of " + std::to_string(run.steps) + (run.steps == 1 ? " step" : " steps")
                      + ": the rate ends at " + number(most) + " and never reaches --lr " + number(o.lr));
    }
    using Rate = std::pair<const char*, double>;
    for (const auto& [name, rate] : {Rate{"--lr", o.lr}, Rate{"--embedding-lr", o.embedding_lr}}) {
        if (rate > 0.1) {
            out.push_back(std::string(name) + " " + number(rate)
                          + " moves every value by about so much in each step: "
                            "1e-5 to 1e-2 are usual, and the loss will probably rise");
        }
    }
    if (o.lr == 0 && run.steps > 0) { out.emplace_back("--lr 0 trains nothing: every value stays as it is"); }
    if (run.steps == 0) { out.emplace_back("0 steps: nothing is trained, the result is what the run begins with"); }
    if (o.dropout > 0.9) { out.push_back("--dropout " + number(o.dropout) + " hides nearly all that an adapter sees"); }
}

inline void doubt_adapter(std::vector<std::string>& out, const FinetuneOptions& o, const RunSizes& run)
{
    if (run.targets == nullptr || !o.adapter.empty() || run.targets->modules.empty()) { return; }
    for (const auto& target : run.targets->modules) {
        const auto most = std::min(target.in, target.out);
        if (target.rank > most) {
            out.push_back("--rank " + std::to_string(target.rank) + " is more than " + target.name
                          + " has room for: " + std::to_string(most) + " can express every change of it");
            break;
        }
    }
    const double scale = run.targets->modules[0].scale;
    if (scale > 100 || scale < 0.001) {
        out.push_back("--alpha " + graft::detail::shortest(o.alpha) + " at rank " + std::to_string(o.rank)
                      + " multiplies the adapter by " + graft::detail::shortest(scale) + ": 0.5 to 4 are usual");
    }
}

inline void doubt_counts(std::vector<std::string>& out, const FinetuneOptions& o, const RunSizes& run)
{
    const auto given = [&](const char* name) { return o.given.contains(name); };
    const auto count = [](std::int64_t value) { return std::to_string(value); };
    if (given("batch") && o.batch > run.rows) {
        out.push_back("--batch " + count(o.batch) + " is more than the " + count(run.rows)
                      + (run.rows == 1 ? " row" : " rows") + " of the data: a step takes no more than all of them");
    }
    if (given("accumulate") && o.accumulate > run.batches_an_epoch) {
        out.push_back("--accumulate " + count(o.accumulate) + " is more than the " + count(run.batches_an_epoch)
                      + (run.batches_an_epoch == 1 ? " batch" : " batches") + " of an epoch: a step takes no more");
    }
    if (o.eval_every > 0 && o.eval.empty()) {
        out.emplace_back("--eval-every measures nothing without --eval FILE");
    } else if (o.eval_every > run.steps) {
        out.push_back("--eval-every " + count(o.eval_every) + " is longer than the run of " + count(run.steps)
                      + " steps: only its end is measured");
    }
    if (o.save_every > run.steps) {
        out.push_back("--save-every " + count(o.save_every) + " is longer than the run of " + count(run.steps)
                      + " steps: only its end is saved");
    }
    if (o.resume_auto && o.save_every == 0) {
        out.emplace_back("--resume auto without --save-every N saves the state at the end and at a stop only: a kill "
                         "loses all steps");
    }
    if (o.max_prompt_length >= run.max_length && given("max-prompt-length")) {
        out.push_back("--max-prompt-length " + count(o.max_prompt_length) + " bounds nothing: --max-length is "
                      + count(run.max_length));
    }
}

}  // namespace detail

inline std::vector<std::string> doubtful(const FinetuneOptions& o, const RunSizes& run)
{
    std::vector<std::string> out;
    detail::doubt_rates(out, o, run);
    detail::doubt_adapter(out, o, run);
    detail::doubt_counts(out, o, run);
    return out;
}

}  // namespace cli
