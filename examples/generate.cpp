// generate: text from a checkpoint, with or without an adapter.
#include "cli/adapters.hpp"
#include "cli/base_note.hpp"
#include "cli/numbers.hpp"
#include "cli/positions.hpp"
#include "cli/program.hpp"
#include "cli/quantized.hpp"
#include "cli/text.hpp"

#include "graft/checkpoint/adapter.hpp"
#include "graft/cpu.hpp"
#include "graft/models/generate.hpp"
#include "graft/text/dataset.hpp"
#include "graft/text/end_of_turn.hpp"

namespace {

struct Options {
    std::vector<std::string> adapters;
    bool ignore_adapter = false;
    bool double_quant = false;
    std::string model, quantize, rope_scaling, prompt, chat, chat_template = "auto", dtype = "f32";
    std::int64_t max_tokens = 256;
    double temperature = 0, top_p = 1;
    std::uint64_t seed = 42;
    int threads = 0;
};

template <class T> void answer(const Options& o, graft::ModelConfig config, bool is_chat)
{
    const auto tokenizer = graft::Tokenizer::load(o.model);
    graft::GenerateOptions options{o.max_tokens, o.temperature, o.top_p, o.seed, cli::stop_ids(o.model, tokenizer)};

    std::vector<std::int32_t> prompt;
    if (is_chat) {
        const auto chosen = cli::template_of(o.chat_template, tokenizer);
        graft::require(chosen.has_value(), [&] {
            std::string names;
            for (const auto& name : graft::named_template_names()) { names += (names.empty() ? "" : ", ") + name; }
            return "the checkpoint has no chat template; choose one with --template: " + names + ", or a file";
        });
        const nlohmann::ordered_json messages = {{{"role", "user"}, {"content", o.chat}}};
        const nlohmann::ordered_json extra = {{"instruction", o.chat}, {"input", ""}};
        const std::string said = chosen->render(messages, true, extra);
        prompt = tokenizer.encode(said, graft::chat_encoding(*chosen, tokenizer, said));  // as in training
        if (const auto end = graft::end_of_turn(*chosen, tokenizer)) { options.stop.push_back(*end); }
    } else {
        prompt = tokenizer.encode(o.prompt);
    }

    graft::AdapterConfig adapter;
    graft::AdapterTargets targets;
    if (o.adapters.size() == 1) {  // it alone may change embedding and head
        adapter = graft::read_adapter_config(o.adapters[0]);
        targets = graft::adapter_targets(adapter, config, o.adapters[0]);
        targets.saved.frozen = true;
        config.tied = config.tied && !targets.saved.untie;
    }
    auto model = graft::make_model<T>(
        config, {.base = config.quantization || !o.quantize.empty() ? graft::Base::nf4 : graft::Base::frozen,
                 .dense = config.quantization ? config.quantization->skipped : std::vector<std::string>()});
    const auto checkpoint = graft::Checkpoint::open(o.model);
    std::fputs(cli::base_note(checkpoint).c_str(), stderr);  // stdout is the answer alone
    graft::load_weights(model, checkpoint, {.double_quant = o.double_quant, .untie = targets.saved.untie});
    if (targets.on_tables()) {
        graft::add_adapter(model, targets, adapter, 0);
        graft::load_adapter(model, o.adapters[0], targets.saved);
    } else {
        for (const auto& folder : o.adapters) { graft::stack_adapter(model, std::filesystem::path(folder)); }
    }

    const std::int64_t most = graft::covered_positions(config);
    const std::int64_t room = std::min(most, config.sliding_window.value_or(most)) - std::int64_t(prompt.size());
    graft::require(room > 0, "the prompt has " + std::to_string(prompt.size()) + " tokens, the model "
                                 + std::to_string(room + std::int64_t(prompt.size())) + " positions");
    options.max_tokens = std::min(options.max_tokens, room);

    if (is_chat) {
        graft::StreamDecoder decoder(tokenizer);
        graft::generate(model, prompt, options, [&](std::int32_t id) {
            cli::print(decoder.push(id));
            return true;
        });
        cli::print(decoder.finish() + "\n");
    } else {
        // Prompt and continuation are decoded together: a token may need the one before it.
        auto all = prompt;
        const auto more = graft::generate(model, prompt, options);
        all.insert(all.end(), more.begin(), more.end());
        cli::print(tokenizer.decode(all, true) + "\n");
    }
}

// What the user should know of the question, on stderr: stdout is the answer's.
void say_doubts(const Options& o, const graft::ModelConfig& config, bool top_p)
{
    const auto say = [](const std::string& text) { std::fprintf(stderr, "generate: note: %s\n", text.c_str()); };
    const std::string form = cli::form_of(config, !o.quantize.empty(), o.double_quant);
    for (const auto& folder : o.adapters) {
        const auto note = cli::other_form(folder, form);
        if (!note.empty()) { say(note + cli::how_to_ask(folder, config)); }
    }
    if (o.temperature > 2) {
        say("--temperature " + cli::loss_text(o.temperature, 6) + " draws nearly at random: 0.5 to 1 are usual");
    }
    if (top_p && o.temperature == 0) { say("--top-p changes nothing at --temperature 0, which is greedy"); }
}

}  // namespace

int main(int argc, char** argv)
{
    Options o;
    CLI::App app{"generate: text from a Hugging Face checkpoint, with or without a LoRA adapter", "generate"};
    app.add_option("--model", o.model, "checkpoint folder")->required();
    app.add_option("--adapter", o.adapters, "PEFT adapter folders with commas: what they change adds")
        ->delimiter(',')
        ->allow_extra_args(false);
    app.add_flag("--ignore-adapter", o.ignore_adapter, "the bare base, though its folder holds an adapter");
    auto* quantize = app.add_option("--quantize", o.quantize,
                                    "ask over the base in 4 bits, as finetune --method qlora "
                                    "trains: nf4")
                         ->check(CLI::IsMember({"nf4"}));
    app.add_flag("--double-quant", o.double_quant, "with --quantize: the scales of NF4 blocks in 8 bits")
        ->needs(quantize);
    app.add_option("--rope-scaling", o.rope_scaling, cli::rope_scaling_help);
    auto* prompt = app.add_option("--prompt", o.prompt, "text to continue: prints prompt and continuation");
    auto* chat = app.add_option("--chat", o.chat, "what a user says: prints the answer alone")->excludes(prompt);
    app.add_option("--template", o.chat_template,
                   "auto, a name (chatml, alpaca, ...), a file, or model:NAME for one of the checkpoint's own")
        ->capture_default_str();
    cli::add_number(app, "--max-tokens", o.max_tokens, {.least = 0})->capture_default_str();
    cli::add_number(app, "--temperature", o.temperature, {.least = 0, .most = 100}, "0: greedy")->capture_default_str();
    auto* top_p = cli::add_number(app, "--top-p", o.top_p, {.least = 0, .most = 1});
    top_p->capture_default_str();
    cli::add_number(app, "--seed", o.seed, {.least = 0})->capture_default_str();
    app.add_option("--dtype", o.dtype)->check(CLI::IsMember({"f32", "bf16"}))->capture_default_str();
    cli::add_threads(app, o.threads);
    return cli::run(app, argc, argv, [&] {
        graft::require(prompt->count() + chat->count() == 1, "give --prompt TEXT or --chat TEXT");
        if (o.threads > 0) { graft::set_threads(o.threads); }
        const cli::Folders adapters(o.adapters.begin(), o.adapters.end());
        cli::require_answer(o.model, adapters, "", o.ignore_adapter, cli::generate_choices);
        cli::require_whole_stack(adapters, "give them all, with commas: --adapter FIRST,SECOND");
        const auto config = cli::config_of(o.model, o.rope_scaling, adapters);
        graft::require(o.quantize.empty() || !config.quantization, [&] {
            return "--quantize: " + graft::printable(o.model, 1000) + " is stored in "
                   + cli::form_text(cli::form_of(config, false, false)) + " already: leave it out";
        });
        say_doubts(o, config, top_p->count() > 0);
        if (o.dtype == "bf16") {
            answer<graft::bf16>(o, config, chat->count() == 1);
        } else {
            answer<float>(o, config, chat->count() == 1);
        }
    });
}
