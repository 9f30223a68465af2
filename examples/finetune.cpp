// finetune: a checkpoint and data in, an adapter (or a whole checkpoint) out. The loop is in train() below.
#include "cli/adapter_options.hpp"
#include "cli/adapters.hpp"
#include "cli/base_note.hpp"
#include "cli/data.hpp"
#include "cli/dpo.hpp"
#include "cli/finetune_options.hpp"
#include "cli/merge_adapter.hpp"
#include "cli/plan.hpp"
#include "cli/plausible.hpp"
#include "cli/program.hpp"
#include "cli/quantized.hpp"
#include "cli/replay.hpp"
#include "cli/resume.hpp"
#include "cli/run_record.hpp"
#include "cli/samples.hpp"
#include "cli/saved_modules.hpp"
#include "cli/session.hpp"
#include "cli/text.hpp"

#include <chrono>

#include "graft/checkpoint/audit.hpp"
#include "graft/checkpoint/save.hpp"
#include "graft/cpu.hpp"
#include "graft/io/output_folder.hpp"
#include "graft/text/dataset.hpp"
#include "graft/text/end_of_turn.hpp"
#include "graft/train/report.hpp"
#include "graft/train/step.hpp"

namespace {

using graft::require;

// All that is known before weights are loaded.
struct Job {
    cli::FinetuneOptions options;
    graft::ModelConfig config;
    graft::AdapterConfig adapter;
    graft::AdapterTargets targets;
    std::vector<graft::AdapterTargets> stacked;  // of --stack
    std::optional<graft::Tokenizer> tokenizer;
    std::vector<std::int64_t> stop;  // ids that end a text
    graft::Dataset data;
    std::optional<graft::Dataset> eval;
    cli::Preference preference;  // of --task dpo
    std::int64_t max_length = 0;
    graft::Audit audit;
    graft::Report report;
    graft::Metadata metadata;         // of the adapter's file
    graft::AdapterTypes saved_types;  // of modules that it holds whole
    graft::KeptTensors kept;          // of the adapter that is continued: what goes on as it is

    bool full() const { return options.method == "full"; }
    // Preference pairs are two examples each.
    std::int64_t rows() const { return std::int64_t(data.examples.size()) / (options.task == "dpo" ? 2 : 1); }
};

graft::Dataset read_data(Job& job, const std::vector<std::string>& names)
{
    const auto& o = job.options;
    std::optional<graft::ChatTemplate> chat;
    if (job.tokenizer) { chat = cli::template_of(o.chat_template, *job.tokenizer); }
    if (job.tokenizer && job.stop.empty()) {
        job.stop = cli::stop_ids(o.model, *job.tokenizer);
        const auto end = chat ? graft::end_of_turn(*chat, *job.tokenizer) : std::nullopt;
        if (end) { job.stop.push_back(*end); }
    }
    return cli::read_data(o, names, job.tokenizer, chat, job.max_length, job.config.vocab);
}

// Reads and checks everything but the weights; the output folder is not touched.
Job prepare(const cli::FinetuneOptions& o)
{
    Job job;
    job.options = o;
    cli::check_preference(o);
    cli::Folders named(o.stack.begin(), o.stack.end());
    if (!o.adapter.empty()) { named.emplace_back(o.adapter); }
    named.insert(named.end(), o.merge_adapter.begin(), o.merge_adapter.end());
    const bool settled = o.ignore_adapter || o.most_steps >= 0;  // a replay was answered when its run began
    cli::require_answer(o.model, named, o.output, settled, cli::finetune_choices);
    job.config = cli::base_config(o, cli::config_of(o.model, o.rope_scaling, named));
    require(o.adapter.empty() || !job.full(), "--adapter and --method full exclude each other");
    cli::check_saved_names(o, job.config);
    if (o.adapter.empty()) {
        job.adapter = cli::adapter_of(o);
        if (!o.merge_adapter.empty()) { job.adapter.base_model = cli::merged_base_name(o); }
    } else {
        job.adapter = graft::read_adapter_config(o.adapter);
        cli::refuse_other_settings(o, job.adapter, job.config);
        job.adapter.base_model = o.model;
    }
    if (!job.full()) {
        job.targets = graft::adapter_targets(job.adapter, job.config, o.adapter.empty() ? "--target" : o.adapter);
    }
    if (o.adapter.empty() && !job.full()) {
        require(job.targets.unmatched.empty(),
                "--target: the model has no module named " + graft::name_list(job.targets.unmatched));
    }
    job.stacked = cli::stacked_targets(o.stack, o.adapter, o.method, job.config);
    job.metadata = graft::stack_metadata(cli::Folders(o.stack.begin(), o.stack.end()));
    cli::settle_saved(o, job.targets, job.config);
    job.saved_types = graft::saved_types(job.targets.saved, job.config, o.model, o.adapter);
    job.audit = graft::make_audit(job.config,
                                  {.method = job.full()            ? graft::TrainMethod::full
                                             : o.method == "qlora" ? graft::TrainMethod::qlora
                                                                   : graft::TrainMethod::lora,
                                   .targets = job.targets,
                                   .base_type = o.dtype == "bf16" ? graft::StoredType::bf16 : graft::StoredType::f32,
                                   .double_quant = o.double_quant,
                                   .stacked = job.stacked,
                                   .saved_types = job.saved_types});
    cli::add_rates(job.audit, o);

    require(o.expect_trainable < 0 || o.expect_trainable == job.audit.trainable_parameters, [&] {
        return "--expect-trainable " + graft::with_commas(o.expect_trainable) + ": the run would train "
               + graft::with_commas(job.audit.trainable_parameters) + " parameters in "
               + graft::with_commas(job.audit.trainable_tensors) + " tensors";
    });

    job.max_length = cli::length_of(o.max_length, &job.config);
    if (o.plan && o.data.empty()) { return job; }
    job.tokenizer = cli::tokenizer_of(o.model);
    job.data = read_data(job, o.data);
    if (!o.eval.empty()) { job.eval = read_data(job, {o.eval}); }
    if (const auto window = job.config.sliding_window) {
        for (const auto& example : job.data.examples) {
            require(std::int64_t(example.ids.size()) <= *window, [&] {
                return example.source + ": row " + std::to_string(example.row) + " has "
                       + std::to_string(example.ids.size()) + " tokens, the model sees a window of "
                       + std::to_string(*window) + ", which is not supported yet: use --max-length "
                       + std::to_string(*window);
            });
        }
    }
    return job;
}

// Which examples each step sees.
graft::Batches batches_of(const Job& job)
{
    const auto& o = job.options;
    return {std::span(job.data.examples).first(std::size_t(job.rows())),
            {o.batch, o.accumulate, o.epochs, o.steps, o.seed, !o.no_shuffle}};
}

// What may be a mistake in the options, for this model and this data.
void print_doubts(const Job& job)
{
    if (job.data.examples.empty()) { return; }
    const auto& o = job.options;
    const auto batches = batches_of(job);
    require(batches.steps() <= cli::most_steps, [&] {
        return "--epochs " + graft::detail::shortest(o.epochs) + " are " + graft::with_commas(batches.steps())
               + " steps, and a run has at most " + graft::with_commas(cli::most_steps);
    });
    const auto lines = cli::doubtful(o, {.rows = job.rows(),
                                         .steps = batches.steps(),
                                         .batches_an_epoch = (job.rows() + o.batch - 1) / o.batch,
                                         .max_length = job.max_length,
                                         .targets = &job.targets});
    for (const auto& line : lines) { cli::print("note: " + line + "\n"); }
}

cli::RunPlan plan_of(const Job& job)
{
    const std::int64_t steps = job.data.examples.empty() ? 2 : batches_of(job).steps();
    auto plan = cli::plan_of(job.options, job.config, job.adapter, job.targets, job.data,
                             job.eval ? &*job.eval : nullptr, job.max_length, steps);
    plan.options.stacked = job.stacked;
    return plan;
}

// --plan: what is trained and what it will take; nothing is loaded, nothing written.
void show_plan(const Job& job)
{
    const auto plan = plan_of(job);
    const auto found = plan.of(job.config, plan.options);
    cli::print(graft::to_text(job.audit) + "\n" + cli::plan_text(plan, found));
    print_doubts(job);
    if (job.options.memory_limit > 0) { cli::require_memory(plan, job.config, found, job.options.memory_limit); }
}

void print_job(const Job& job)
{
    cli::print(graft::to_text(job.audit) + cli::saved_text(job.options, job.targets.saved));
    for (const auto& note : cli::other_forms(job.options, job.config)) { cli::print("note: " + note + "\n"); }
    cli::print("\ndata\n");
    for (const auto& line : graft::summary(job.data.report)) { cli::print("  " + line + "\n"); }
    if (job.eval) {
        cli::print("  evaluation\n");
        for (const auto& line : graft::summary(job.eval->report, false)) { cli::print("    " + line + "\n"); }
    }
    if (job.tokenizer && !job.data.examples.empty()) {
        cli::print("  first row, what is learnt in «»: "
                   + graft::printable(graft::marked(job.data.examples[0], *job.tokenizer), 400) + "\n");
    }
    print_doubts(job);
    cli::print("\n");
}

// The last step of a run can break the model as any other does, and no loss comes behind it.
template <class Model, class Rope>
void unbroken(const Model& model, const graft::Batch& batch, const Rope& rope, const graft::RowName& sample,
              std::int64_t step, const std::string& kept)
{
    try {
        graft::check_model(model, batch, rope, sample);
    } catch (const graft::NotFinite& error) {
        throw graft::Error("step " + std::to_string(step) + " has broken the model: " + error.what() + "; " + kept);
    }
}

template <class Model>
void train(Job& job, Model& model, cli::MetricsFile& metrics_file, const cli::StopSignal& stop,
           cli::Checkpoints& checkpoints, cli::RunRecord& record)
{
    using Clock = std::chrono::steady_clock;
    using T = typename Model::T;
    const auto& o = job.options;
    const auto& dpo = job.preference;
    graft::Batches batches = batches_of(job);
    graft::AdamW<T> adamw(
        model, {.lr = o.lr, .weight_decay = o.weight_decay, .clip = o.clip, .rates = cli::rates_of(o, job.targets)});
    const auto schedule = *graft::schedule_named(o.schedule);
    const std::int64_t total = batches.steps(), warmup = graft::warmup_steps(o.warmup, total);
    const std::int64_t end = o.most_steps < 0 ? total : std::min(total, o.most_steps);
    const auto rope = model.positions(job.max_length);
    const auto& pool = graft::Pool<graft::Cpu>::common();
    cli::Progress progress(total, o.quiet);
    const std::string kept = checkpoints.on() ? "the checkpoints before it are kept" : "nothing was saved";

    const auto sample_name = [&job](std::int64_t row) {
        const auto& example = job.data.examples[std::size_t(row)];
        return example.source + " row " + std::to_string(example.row);
    };

    checkpoints.load(model, adamw);
    auto& done = job.report.steps;  // not empty where a run is resumed
    const auto first = std::int64_t(done.size());
    std::int64_t tokens = done.empty() ? 0 : done.back().tokens;
    const double before = done.empty() ? 0 : done.back().seconds;
    graft::RowCount count(batches, job.rows());
    count.done_before(first);
    const auto start = Clock::now();
    for (std::int64_t step = first; step < end && !stop; ++step) {
        const auto micro = dpo ? dpo.micro_batches(batches.rows(step)) : batches.micro_batches(step);
        const auto targets = graft::targets(micro);
        graft::StepMetrics m{
            .step = step, .lr = o.lr * graft::factor(schedule, step, total, warmup), .targets = targets};
        const auto applied = [&, step](auto&& call) {
            try {
                return call();
            } catch (const graft::NotFinite& error) {
                throw graft::Error("step " + std::to_string(step) + ": " + error.what() + "; the step was not applied, "
                                   + kept);
            }
        };
        std::int64_t documents = 0;
        for (const auto& batch : micro) { documents += batch.documents(); }
        if (dpo) { m.preference.emplace(); }
        std::uint32_t sample = 0;
        for (const auto& batch : micro) {
            tokens += batch.tokens();
            count.add(dpo ? dpo.pairs(batch) : batch.rows);
            if (targets == 0) { continue; }
            m.loss += applied([&] {
                return dpo ? graft::preference_forward_backward(model, dpo.data(), batch, rope, 2.0 / double(documents),
                                                                o.recompute, *m.preference, sample_name)
                           : graft::forward_backward(model, batch, rope, sample, 1.0 / double(targets),
                                                     {{o.seed, std::uint32_t(step)}, o.recompute, sample_name});
            });
            sample += std::uint32_t(batch.documents());
        }
        if (dpo) { m.preference = graft::mean_of(*m.preference, documents / 2); }
        if (step == first && targets > 0) {
            // The audit never lies: what it calls trainable has a gradient now.
            for (const auto& tensor : adamw.trained()) {
                require(tensor.grad.written(), "the audit calls " + tensor.name + " trainable, but it got no gradient");
            }
        }
        if (targets > 0) {
            const auto info = adamw.step(graft::factor(schedule, step, total, warmup));
            applied([&] { graft::check_step(info, model, micro.front(), rope, sample_name); });
            m.grad_norm = info.grad_norm;
        }
        count.end_step();
        const bool last = step + 1 == end || stop;
        if (last) { unbroken(model, micro.front(), rope, sample_name, step, kept); }
        if (job.eval && (last || (o.eval_every > 0 && (step + 1) % o.eval_every == 0))) {
            const std::span<const graft::Example> held(job.eval->examples);
            m.eval_loss = dpo ? graft::evaluate_preference(model, dpo.eval(), o.batch, rope)
                              : graft::evaluate(model, held, o.batch, rope);
        }
        m.tokens = tokens;
        m.seconds = before + std::chrono::duration<double>(Clock::now() - start).count();
        m.peak_bytes = std::int64_t(pool->peak_bytes());
        metrics_file.write(m);
        progress.show(m);
        done.push_back(m);
        if (checkpoints.due(step + 1)) { checkpoints.save(done, model, adamw, job.kept); }
    }
    if (checkpoints.on()) { checkpoints.save(done, model, adamw, job.kept); }
    graft::round_to(model, job.saved_types);  // what is measured now is what is saved
    record.end(model, adamw, job.audit.trainable_names, count, done);
}

template <class T>
void run(Job& job, graft::OutputFolder& output, cli::Checkpoints& checkpoints, cli::RunRecord& record)
{
    const auto& o = job.options;
    const auto checkpoint = graft::Checkpoint::open(cli::trained_base(o, output, job.metadata));
    cli::print(cli::base_note(checkpoint));
    auto model = graft::make_model<T>(job.config, cli::model_options(o, job.config, job.targets));
    graft::load_weights(model, checkpoint, {.double_quant = o.double_quant, .untie = job.targets.saved.untie});
    for (const auto& folder : o.stack) { graft::stack_adapter(model, std::filesystem::path(folder)); }
    graft::AdapterTypes types;
    job.preference.before_adapter(model, job.max_length);
    if (!job.full()) {
        graft::add_adapter(model, job.targets, job.adapter, o.seed);
        if (!o.adapter.empty()) {
            types = graft::load_adapter(model, o.adapter, job.targets.saved);
            job.kept = graft::kept_tensors(model, o.adapter);
        }
        types.insert(job.saved_types.begin(), job.saved_types.end());
    }
    job.preference.at_start(model, job.max_length);

    record.begin(model);

    if (o.merge_adapter.empty()) { output.begin(); }
    const cli::StopSignal stop;
    const cli::Samples samples(job.data.examples, job.config, job.tokenizer ? &*job.tokenizer : nullptr, job.stop);
    samples.before(model, job.report);
    {
        cli::MetricsFile metrics(o.metrics.empty() ? output.file("metrics.jsonl").string() : o.metrics,
                                 job.report.steps);
        train(job, model, metrics, stop, checkpoints, record);
    }
    job.report.endless = samples.after(model, model.positions(job.max_length), job.full() ? nullptr : &job.targets,
                                       !o.adapter.empty(), job.report);
    for (const auto& sample : job.report.samples) {
        if (!o.quiet) { cli::print(cli::Samples::text(sample)); }
    }
    if (!job.report.endless.empty()) { cli::print("\n" + job.report.endless + "\n"); }
    output.retire();
    record.rows(job.rows(), batches_of(job).steps(), checkpoints.changed());
    graft::write_file(output.file("report.html"), graft::report_html(job.report));
    if (job.full()) {
        graft::save_checkpoint(model, o.model, output.path(),
                               o.dtype == "bf16" ? graft::StoredType::bf16 : graft::StoredType::f32,
                               record.writer(output));
    } else {
        // Without a step the tensors go back as they came, each in its own element type.
        graft::save_adapter(model, output.path(), job.report.steps.empty() ? types : job.saved_types,
                            {.metadata = job.metadata, .kept = job.kept, .before_last = record.writer(output)});
    }
    output.commit();
    cli::print(record.text());
    cli::print((stop ? "\nstopped after the step; saved " : "\nsaved ") + o.output
               + (stop && checkpoints.on() ? "; --resume goes on" : "") + "\n"
               + cli::scaling_note(job.config, job.full()) + (job.full() ? "" : cli::asking_note(o, job.config)));
}

// A run, from its options to its result. `given`: those that decide it; `shown`: all of them, for the report.
void finetune(const cli::FinetuneOptions& o, const graft::OptionValues& given, const graft::OptionValues& shown,
              const cli::Replay* replay = nullptr)
{
    if (o.threads > 0) { graft::set_threads(o.threads); }
    std::vector<std::filesystem::path> inputs{o.model};
    if (!o.adapter.empty()) { inputs.emplace_back(o.adapter); }
    inputs.insert(inputs.end(), o.stack.begin(), o.stack.end());
    inputs.insert(inputs.end(), o.merge_adapter.begin(), o.merge_adapter.end());
    cli::require_sense(o);
    if (o.plan) { return show_plan(prepare(o)); }
    graft::OutputFolder output({.folder = o.output,
                                .overwrite = o.overwrite,
                                .resume = o.resume,
                                .or_begin = o.resume_auto,
                                .inputs = inputs});
    Job job = prepare(o);
    if (o.task == "dpo") { job.preference = {job.options, job.data, job.eval ? &*job.eval : nullptr}; }
    if (o.memory_limit > 0) {
        const auto plan = plan_of(job);
        cli::require_memory(plan, job.config, plan.of(job.config, plan.options), o.memory_limit);
    }
    const auto settings = cli::run_settings(o, job.max_length, job.data, job.eval ? &*job.eval : nullptr);
    if (replay != nullptr) { replay->require_same(settings); }
    job.metadata["graft.base"] = graft::hash_of(settings, "model");
    const auto format = replay != nullptr ? replay->run().format : graft::newest_format;
    if (!job.full() && format >= 2) { job.metadata[cli::quantized_key] = cli::form_in_training(o, job.config); }
    cli::RunRecord record(o, given, settings, format);
    cli::Checkpoints checkpoints(o, output, job.metadata);
    if (checkpoints.on()) {
        auto done = checkpoints.begin(settings, batches_of(job).steps());
        if (!done) { return; }
        job.report.steps = std::move(*done);
    }
    print_job(job);
    job.report.title = "finetune " + o.output;
    job.report.settings = shown;
    job.report.audit = graft::to_text(job.audit);
    cli::report_data(job.report, job.data, job.tokenizer ? &*job.tokenizer : nullptr);
    if (o.dtype == "bf16") {
        run<graft::bf16>(job, output, checkpoints, record);
    } else {
        run<float>(job, output, checkpoints, record);
    }
}

void replay(const cli::FinetuneOptions& o, const CLI::App& app)
{
    const cli::Replay again(o.replay);
    const std::string output = o.output.empty() ? again.default_output() : o.output;
    auto options = cli::options_of(again.run(), cli::places_of(app, "replay"), output, o.replay + "/run.json");
    options.overwrite = o.overwrite, options.quiet = o.quiet;
    finetune(options, again.run().options, again.run().options, &again);
    again.compare(output);
    if (o.output.empty()) { std::filesystem::remove_all(output); }
}

}  // namespace

int main(int argc, char** argv)
{
    cli::FinetuneOptions o;
    CLI::App app{"finetune: LoRA, QLoRA or full fine-tuning of a Hugging Face checkpoint", "finetune"};
    cli::add_finetune_options(app, o);
    return cli::run(app, argc, argv, [&] {
        if (!o.replay.empty()) { return replay(o, app); }
        finetune(o, cli::deciding_options(app), cli::settings_of(app));
    });
}
