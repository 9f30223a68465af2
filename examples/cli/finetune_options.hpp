#pragma once
#include <CLI/CLI.hpp>

#include <cmath>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cli/numbers.hpp"
#include "cli/positions.hpp"
#include "graft/checkpoint/adapter_config.hpp"
#include "graft/core/error.hpp"
#include "graft/optim/schedule.hpp"

// The options of finetune: the defaults are those that --help shows.
namespace cli {

inline constexpr std::int64_t most_steps = 0xffffffff;  // random numbers are drawn by step, in 32 bits

struct FinetuneOptions {
    std::string model, output, adapter;
    std::vector<std::string> data, stack, merge_adapter;
    bool ignore_adapter = false;
    bool overwrite = false;
    std::string method = "lora";
    std::int64_t rank = 16;
    double alpha = 32, dropout = 0;
    bool rslora = false, double_quant = false;
    std::string target = "all-linear", exclude;
    std::string modules_to_save;
    std::vector<std::int64_t> train_tokens;
    double embedding_lr = -1;  // below 0: lr
    bool untie = false, freeze_saved = false;
    std::string task = "sft", train_on = "responses", chat_template = "auto";
    std::int64_t max_length = 0, max_prompt_length = 0;
    std::string split_on;
    bool truncate = false, share_prompt = false;
    double beta = 0.1, label_smoothing = 0;  // of --task dpo, see dpo.hpp
    std::string loss = "sigmoid", reference;
    std::string rope_scaling;
    bool no_shuffle = false;
    std::int64_t batch = 4, accumulate = 1, steps = -1;
    double epochs = 1, lr = 2e-4, warmup = 0, weight_decay = 0, clip = 1;
    std::string schedule = "linear";
    std::uint64_t seed = 42;
    std::string dtype = "f32";
    int threads = 0;
    bool recompute = false, quiet = false;
    std::string eval, metrics;
    std::int64_t eval_every = 0;
    bool resume = false, resume_auto = false;
    std::int64_t save_every = 0, keep = 2;
    std::vector<std::string> allow_changed;
    bool plan = false;
    std::int64_t memory_limit = 0;
    std::int64_t expect_trainable = -1;
    std::string replay;
    std::int64_t most_steps = -1;  // of a replay: where its run was stopped

    bool task_given = false;
    std::set<std::string> given;  // names of the options that were given, without dashes
};

inline std::vector<std::string> split_names(const std::string& text)
{
    std::vector<std::string> out;
    for (std::size_t begin = 0; begin <= text.size();) {
        const std::size_t end = std::min(text.find(',', begin), text.size());
        if (end > begin) { out.push_back(text.substr(begin, end - begin)); }
        begin = end + 1;
    }
    return out;
}

// And back: names with commas between them.
inline std::string joined_names(const std::vector<std::string>& names)
{
    std::string out;
    for (const auto& name : names) { out += (out.empty() ? "" : ",") + name; }
    return out;
}

inline std::string joined_ids(const std::vector<std::int64_t>& ids)
{
    std::string out;
    for (const auto id : ids) { out += (out.empty() ? "" : ",") + std::to_string(id); }
    return out;
}

// all-linear and attention stand for names, alone or among others: "all-linear,embed_tokens".
inline graft::ModuleChoice module_choice(const std::string& text)
{
    graft::ModuleChoice choice;
    if (text.empty()) { return choice; }
    if (text == "all-linear") {
        choice.kind = graft::ModuleChoice::Kind::all_linear;
        return choice;
    }
    choice.kind = graft::ModuleChoice::Kind::list;
    for (const auto& name : split_names(text)) {
        const bool all = name == "all-linear";
        if (!all && name != "attention") {
            choice.names.push_back(name);
        } else {
            choice.names.insert(choice.names.end(), {"q_proj", "k_proj", "v_proj", "o_proj"});
        }
        if (all) { choice.names.insert(choice.names.end(), {"gate_proj", "up_proj", "down_proj"}); }
    }
    graft::require(!choice.names.empty(), "no module is named in \"" + text + "\"");
    return choice;
}

// The adapter that options describe.
inline graft::AdapterConfig adapter_of(const FinetuneOptions& o)
{
    graft::AdapterConfig config;
    config.rank = o.rank, config.alpha = o.alpha, config.dropout = o.dropout, config.rslora = o.rslora;
    config.targets = module_choice(o.target);
    config.exclude = module_choice(o.exclude);
    config.modules_to_save = split_names(o.modules_to_save);
    config.trained_tokens = o.train_tokens;
    config.ensure_weight_tying = !o.untie && !config.modules_to_save.empty();
    config.base_model = o.model;
    return config;
}

// The options that describe a method and its adapter: finetune and inspect share them. Returns those of the adapter.
inline std::vector<CLI::Option*> add_method_options(CLI::App& app, FinetuneOptions& o)
{
    app.add_option("--method", o.method)->check(CLI::IsMember({"lora", "qlora", "full"}))->capture_default_str();
    std::vector<CLI::Option*> adapter = {
        add_number(app, "--rank", o.rank, {.least = 1, .most = 65536})->capture_default_str(),
        add_number(app, "--alpha", o.alpha, {.least = 0, .above = true})->capture_default_str(),
        app.add_flag("--rslora", o.rslora, "scale alpha / sqrt(rank)"),
        app.add_option("--target", o.target,
                       "all-linear, attention, names of modules, embed_tokens, lm_head: with commas")
            ->capture_default_str(),
        app.add_option("--exclude", o.exclude, "names of modules with commas"),
        app.add_option("--modules-to-save", o.modules_to_save,
                       "trained whole beside the adapter: embed_tokens, lm_head, norms"),
        add_number(app, "--train-tokens", o.train_tokens, {.least = 0},
                   "ids: only these rows of the embedding are trained")
            ->delimiter(',')
            ->allow_extra_args(false),
        app.add_flag("--untie", o.untie, "of a tied model, train embedding and head as two tensors"),
    };
    app.add_flag("--double-quant", o.double_quant, "qlora: the scales of NF4 blocks in 8 bits");
    return adapter;
}

// --resume alone, --resume auto; in a file also true and false.
inline const CLI::Validator resume_word(
    [](std::string& word) {
        const bool known = word.empty() || word == "auto" || word == "true" || word == "false";
        return known ? std::string()
                     : graft::printable(word) + " is not auto: --resume stands alone, or is --resume auto";
    },
    "");

// What is saved on the way, and going on from there.
inline void add_resume_options(CLI::App& app, FinetuneOptions& o)
{
    add_number(app, "--save-every", o.save_every, {.least = 1},
               "steps between checkpoints in the output folder; the end is saved too");
    add_number(app, "--keep", o.keep, {.least = 1}, "newest checkpoints that stay")->capture_default_str();
    const auto take = [&o](const std::string& word) { o.resume = word != "false", o.resume_auto = word == "auto"; };
    auto* resume = app.add_option_function<std::string>("--resume", take,
                                                        "go on with the run in the output folder: the "
                                                        "same command line and this word; auto: begin where there is "
                                                        "none yet")
                       ->expected(0, 1)
                       ->type_name("[auto]")
                       ->check(resume_word);
    app.add_option("--allow-changed", o.allow_changed, "with --resume: an option that may differ from the run's")
        ->needs(resume)
        ->delimiter(',')
        ->allow_extra_args(false);
}

inline CLI::Option* add_data_option(CLI::App& app, FinetuneOptions& o)
{
    return app.add_option("--data", o.data, "files with commas between them")->delimiter(',')->allow_extra_args(false);
}

// The options that say how data becomes tokens and labels: finetune and inspect share them. --task is the first.
inline std::vector<CLI::Option*> add_reading_options(CLI::App& app, FinetuneOptions& o)
{
    return {
        app.add_option("--task", o.task)->check(CLI::IsMember({"sft", "text", "dpo"}))->capture_default_str(),
        app.add_option("--train-on", o.train_on)->check(CLI::IsMember({"responses", "all"}))->capture_default_str(),
        app.add_option("--template", o.chat_template,
                       "auto, a name (chatml, alpaca, ...), a file, or model:NAME for one of the checkpoint's own")
            ->capture_default_str(),
        app.add_option("--split-on", o.split_on, "cuts files of text (.txt, .md) into documents; \\n is a line end"),
        add_number(app, "--max-length", o.max_length, {.least = 2, .most = 1 << 30},
                   "2048, or the model's positions where these are fewer"),
        add_number(app, "--max-prompt-length", o.max_prompt_length, {.least = 1, .most = 1 << 30},
                   "dpo: tokens of a prompt; longer ones are an error"),
        app.add_flag("--truncate", o.truncate, "dpo: cut pairs that are too long, and count what is lost"),
        app.add_option("--rope-scaling", o.rope_scaling, rope_scaling_help),
    };
}

// --task dpo.
inline void add_preference_options(CLI::App& app, FinetuneOptions& o)
{
    add_number(app, "--beta", o.beta, {.least = 0, .above = true}, "dpo: how far the policy is held to the reference")
        ->capture_default_str();
    app.add_option("--loss", o.loss, "dpo")->check(CLI::IsMember({"sigmoid", "hinge", "ipo"}))->capture_default_str();
    add_number(app, "--label-smoothing", o.label_smoothing, {.least = 0, .most = 0.5, .below = true},
               "dpo, sigmoid: share of pairs that may be the wrong way round")
        ->capture_default_str();
    app.add_option("--reference", o.reference,
                   "dpo: adapter-off, start, or the folder of an adapter or a checkpoint; "
                   "adapter-off unless --adapter is given, which asks for a choice");
    app.add_flag("--share-prompt", o.share_prompt, "dpo: compute the prompt of a pair once for both answers");
}

inline void add_finetune_options(CLI::App& app, FinetuneOptions& o)
{
    app.add_option("--model", o.model, "checkpoint folder");
    add_data_option(app, o);
    app.add_option("--output", o.output, "folder for the result");
    app.add_flag("--overwrite", o.overwrite, "a new run in place of the one that the output folder holds");
    add_method_options(app, o);
    add_number(app, "--dropout", o.dropout, {.least = 0, .most = 1, .below = true})->capture_default_str();
    auto* adapter = app.add_option("--adapter", o.adapter, "continue this adapter: its rank, alpha, targets");
    auto* stack = app.add_option("--stack", o.stack,
                                 "train a new adapter over these, which stay frozen and are needed "
                                 "with it ever after: folders with commas")
                      ->delimiter(',')
                      ->allow_extra_args(false);
    app.add_option("--merge-adapter", o.merge_adapter,
                   "merge this adapter into the base first (OUTPUT/base), and "
                   "train a new one over the result")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->excludes(adapter)
        ->excludes(stack);
    app.add_flag("--ignore-adapter", o.ignore_adapter, "train over the bare base, though its folder holds an adapter");
    app.add_flag("--freeze-saved-modules", o.freeze_saved, "keep modules as they are that --adapter has trained whole");
    auto* task = add_reading_options(app, o).front();
    add_preference_options(app, o);
    app.add_flag("--no-shuffle", o.no_shuffle, "rows in the order of the files");
    add_number(app, "--batch", o.batch, {.least = 1, .most = 1'000'000})->capture_default_str();
    add_number(app, "--accumulate", o.accumulate, {.least = 1, .most = 1'000'000})->capture_default_str();
    add_number(app, "--epochs", o.epochs, {.least = 0, .most = 1'000'000})->capture_default_str();
    add_number(app, "--steps", o.steps, {.least = 0, .most = most_steps}, "beats --epochs");
    add_number(app, "--lr", o.lr, {.least = 0})->capture_default_str();
    add_number(app, "--embedding-lr", o.embedding_lr, {.least = 0, .above = true},
               "of embedding and head in --modules-to-save; --lr unless given");
    app.add_option("--schedule", o.schedule)
        ->check(CLI::IsMember({"linear", "cosine", "constant"}))
        ->capture_default_str();
    add_number(app, "--warmup", o.warmup, {.least = 0}, "steps, or below 1 a share of them")->capture_default_str();
    add_number(app, "--weight-decay", o.weight_decay, {.least = 0})->capture_default_str();
    add_number(app, "--clip", o.clip, {.least = 0}, "largest gradient norm; 0: off")->capture_default_str();
    add_number(app, "--seed", o.seed, {.least = 0})->capture_default_str();
    app.add_option("--dtype", o.dtype)->check(CLI::IsMember({"f32", "bf16"}))->capture_default_str();
    add_threads(app, o.threads);
    app.add_flag("--recompute", o.recompute, "keep less for backward, compute it again");
    app.add_option("--eval", o.eval, "file to measure the loss on");
    add_number(app, "--eval-every", o.eval_every, {.least = 1},
               "steps between measurements; the end is always measured");
    app.add_option("--metrics", o.metrics, "file for a line of JSON each step (in the output folder unless named)");
    app.add_flag("--plan", o.plan, "say what the run would train and hold in memory, load nothing, write nothing");
    add_size(app, "--memory-limit", o.memory_limit, "refuse a run that would hold more: 900M, 8G (powers of 1024)");
    add_number(app, "--expect-trainable", o.expect_trainable, {.least = 0},
               "refuse a run that would not train this many parameters");
    app.add_option("--replay", o.replay, "run again what the run.json of this folder says, and compare the result");
    app.add_flag("--quiet", o.quiet, "no progress");
    add_resume_options(app, o);
    app.set_config("--config", "", "the same options as TOML or INI");
    app.allow_config_extras(CLI::config_extras_mode::error);
    app.parse_complete_callback([&app, &o, task] {
        if (o.replay.empty()) {
            if (o.model.empty()) { throw CLI::RequiredError("--model"); }
            if (o.data.empty() && !o.plan) { throw CLI::RequiredError("--data"); }
            if (o.output.empty() && !o.plan) { throw CLI::RequiredError("--output"); }
        }
        o.task_given = task->count() > 0;
        for (const auto* option : app.get_options()) {
            if (option->count() > 0) { o.given.insert(option->get_single_name()); }
        }
    });
}

// The options that were given and that decide the result, with their values: not where it goes, nor what is saved and
// shown on the way, nor how it is computed.
inline std::vector<std::pair<std::string, std::string>> deciding_options(const CLI::App& app)
{
    const std::set<std::string> others{
        "help",    "config",    "output", "overwrite", "resume", "allow-changed", "save-every",       "keep",
        "threads", "recompute", "quiet",  "metrics",   "plan",   "memory-limit",  "expect-trainable", "replay"};
    std::vector<std::pair<std::string, std::string>> out;
    for (const auto* option : app.get_options()) {
        const std::string name = option->get_single_name();
        if (option->count() == 0 || others.contains(name)) { continue; }
        out.emplace_back(name, joined_names(option->results()));
    }
    return out;
}

// Every option with its value, for the report.
inline std::vector<std::pair<std::string, std::string>> settings_of(const CLI::App& app)
{
    std::vector<std::pair<std::string, std::string>> out;
    for (const auto* option : app.get_options()) {
        const std::string name = option->get_name();
        if (name == "--help" || name == "--config") { continue; }
        std::string value = joined_names(option->results());
        if (value.empty()) { value = option->get_default_str(); }
        if (!value.empty()) { out.emplace_back(name.substr(2), value); }
    }
    return out;
}

}  // namespace cli
