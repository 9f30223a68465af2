// inspect: what a checkpoint or an adapter consists of, what would be trained, and what of a data set would be learnt,
// without loading weights; and, with --verify, whether a checkpoint stands alone.
#include "cli/data.hpp"
#include "cli/finetune_options.hpp"
#include "cli/program.hpp"
#include "cli/quantized.hpp"
#include "cli/saved_modules.hpp"
#include "cli/verify.hpp"
#include "cli/verify_run.hpp"

#include "graft/checkpoint/adapters_in.hpp"
#include "graft/checkpoint/audit.hpp"
#include "graft/checkpoint/checkpoint.hpp"
#include "graft/checkpoint/hf_config.hpp"
#include "graft/cpu.hpp"
#include "graft/train/adapter_stack.hpp"

namespace {

namespace fs = std::filesystem;

// An adapter folder alone: its settings and tensors; without a base nothing can be said about targets.
void inspect_adapter(const fs::path& folder)
{
    const auto config = graft::read_adapter_config(folder);
    std::string text = "adapter " + graft::printable(folder.string(), 300) + "\n";
    text += "  rank " + std::to_string(config.rank) + ", alpha " + graft::detail::number_json(config.alpha).dump()
            + (config.rslora ? ", rslora" : "") + ", dropout " + graft::detail::number_json(config.dropout).dump()
            + "\n";
    if (!config.modules_to_save.empty()) {
        text += "  trained whole: " + graft::name_list(config.modules_to_save)
                + (config.ensure_weight_tying ? ", a tied pair as one tensor" : "") + "\n";
    }
    if (!config.base_model.empty()) { text += "  base " + graft::printable(config.base_model, 300) + "\n"; }
    const auto file = graft::detail::open_adapter_file(folder);
    graft::detail::named_tensors(file, graft::printable(file.path().string(), 300));
    std::int64_t parameters = 0, bytes = 0;
    std::string prefixed, named;  // the first whose key has another prefix, and an adapter's name
    std::vector<std::string> types;
    for (const auto& tensor : file.tensors()) {
        const std::int64_t elements = graft::elements_of(tensor.shape);
        parameters += elements, bytes += std::int64_t(tensor.bytes.size());
        const std::string type(graft::stored_name(tensor.type));
        if (std::find(types.begin(), types.end(), type) == types.end()) { types.push_back(type); }
        const auto in_model = graft::detail::adapter_tensor(tensor.name);
        if (!in_model.adapter.empty() && named.empty()) { named = in_model.adapter; }
        const auto plain = std::string(graft::detail::peft_prefix) + graft::model_name(tensor.name);
        if (tensor.name != plain && prefixed.empty()) { prefixed = tensor.name; }
    }
    text += "  " + std::to_string(file.tensors().size()) + " tensors (" + graft::name_list(types) + "), "
            + graft::with_commas(parameters) + " parameters, " + graft::with_commas(bytes) + " bytes\n";
    text += "  sha256 " + graft::adapter_fingerprint(folder) + "\n";
    if (const auto form = cli::trained_form(folder); !form.empty()) {
        text += "  trained over " + cli::form_text(form) + "\n";
    }
    for (const auto& hash : graft::trained_over(folder)) {
        text += "  trained over the adapter with sha256 " + hash + ": means nothing without it\n";
    }
    if (prefixed.starts_with("base_model.model.base_model.model.")) {
        text += "  its names carry the prefix base_model.model. twice, as a model wrapped twice writes it\n";
    } else if (!prefixed.empty()) {
        text +=
            "  its names do not begin as PEFT writes them, but are understood: " + graft::printable(prefixed) + "\n";
    }
    if (!named.empty()) { text += "  its names carry the adapter's name, " + graft::printable(named) + "\n"; }
    cli::print(text);
}

// What would be learnt of the data: a folder with a tokeniser is enough, a config adds its bounds.
void inspect_data(const fs::path& what, const cli::FinetuneOptions& o, std::int64_t rows)
{
    const auto folder = fs::is_directory(what) ? what : what.parent_path();
    const auto tokenizer = cli::tokenizer_of(folder);
    std::optional<graft::ModelConfig> config;
    if (fs::exists(folder / "config.json")) { config = cli::config_of(folder.string(), o.rope_scaling, {}); }
    graft::require(config || tokenizer, [&] {
        return graft::printable(folder.string(), 300)
               + ": --data needs a folder with a tokenizer.json (and, of a model, a config.json)";
    });
    std::optional<graft::ChatTemplate> chat;
    if (tokenizer) { chat = cli::template_of(o.chat_template, *tokenizer); }
    const auto length = cli::length_of(o.max_length, config ? &*config : nullptr);
    const auto set = cli::read_data(o, o.data, tokenizer, chat, length, config ? config->vocab : 0);
    cli::print("data: " + std::string(o.task == "text" ? "documents" : "template: ")
               + (o.task == "text" ? ""
                  : chat           ? graft::printable(chat->name(), 200)
                                   : "none")
               + "; learning "
               + (o.task == "text"  ? "all"
                  : o.task == "dpo" ? "answers of pairs"
                                    : o.train_on)
               + "; at most " + std::to_string(length) + " tokens a row\n");
    for (const auto& line : graft::mask_proof(set, tokenizer ? &*tokenizer : nullptr, std::size_t(rows))) {
        cli::print(line.empty() ? "\n" : "  " + line + "\n");
    }
}

}  // namespace

int main(int argc, char** argv)
{
    std::string what, adapter, verify_run, dtype = "f32";
    cli::FinetuneOptions o;
    CLI::App app{"inspect: the audit of a checkpoint, an adapter or a config.json, without loading weights", "inspect"};
    app.add_option("WHAT", what, "checkpoint folder, adapter folder or config.json");
    app.add_option("--verify-run", verify_run, "hold the run.json of this folder against its files, base and data");
    app.add_option("--model", o.model, "with --verify-run: where the base is now");
    app.add_option("--stack", o.stack, "with --verify-run: where the adapters are now that it was trained over")
        ->delimiter(',')
        ->allow_extra_args(false);
    auto* with = app.add_option("--adapter", adapter, "an adapter over it");
    cli::add_method_options(app, o);
    app.add_option("--dtype", dtype)->check(CLI::IsMember({"f32", "bf16"}))->capture_default_str();
    const auto* verify =
        app.add_flag("--verify")
            ->description("look at everything in the folder and run the model once; exit 2 with all that was found");
    std::int64_t rows = 3;
    const auto* data = cli::add_data_option(app, o)->description("what would be learnt of these files");
    auto reading = cli::add_reading_options(app, o);
    reading.push_back(cli::add_number(app, "--rows", rows, {.least = 0}, "rows of --data to show, worst first")
                          ->capture_default_str());
    return cli::run(app, argc, argv, [&] {
        if (!verify_run.empty()) { return cli::RunCheck(verify_run, cli::places_of(app, "verify-run")).run(); }
        graft::require(!what.empty(), "WHAT is required: a checkpoint folder, an adapter folder or a config.json");
        if (verify->count() > 0) {
            for (const auto* option : app.get_options()) {
                graft::require(option == verify || option->get_positional() || option->count() == 0,
                               [&] { return option->get_name() + " says nothing of --verify: leave one out"; });
            }
            return cli::verify(what);
        }
        graft::require(o.model.empty(), "--model belongs to --verify-run");
        graft::require(o.stack.empty(), "--stack belongs to --verify-run");
        o.task_given = reading.front()->count() > 0;
        for (const auto* option : reading) {
            graft::require(option->count() == 0 || data->count() > 0,
                           option->get_name() + " says how data is read: name a file with --data");
        }
        if (data->count() > 0) {
            for (const auto* option : app.get_options()) {
                const bool says = option == data || option->get_positional()
                                  || std::find(reading.begin(), reading.end(), option) != reading.end();
                graft::require(says || option->count() == 0,
                               [&] { return option->get_name() + " says nothing of data: leave out --data"; });
            }
            return inspect_data(what, o, rows);
        }
        if (fs::is_directory(what) && fs::exists(fs::path(what) / "adapter_config.json")
            && !fs::exists(fs::path(what) / "config.json")) {
            graft::require(with->count() == 0,
                           "--adapter needs a checkpoint; " + graft::printable(what, 300) + " is an adapter itself");
            inspect_adapter(what);
            return;
        }
        auto config = graft::read_config(what);
        bool asked = false;
        for (const char* option : {"--method", "--rank", "--alpha", "--rslora", "--target", "--exclude",
                                   "--modules-to-save", "--train-tokens", "--untie"}) {
            asked = asked || app.get_option(option)->count() > 0;
            if (app.get_option(option)->count() > 0) { o.given.insert(option + 2); }
        }
        graft::AuditSettings audit{.base_type = dtype == "bf16" ? graft::StoredType::bf16 : graft::StoredType::f32,
                                   .double_quant = o.double_quant};
        if (with->count() > 0) {
            graft::require(!asked || o.method != "full", "--adapter and --method full exclude each other");
            o.adapter = adapter;
            audit.targets = graft::adapter_targets(graft::read_adapter_config(adapter), config, adapter);
            audit.method = !asked                ? graft::TrainMethod::none
                           : o.method == "qlora" ? graft::TrainMethod::qlora
                                                 : graft::TrainMethod::lora;
        } else if (asked) {
            audit.method = o.method == "full"    ? graft::TrainMethod::full
                           : o.method == "qlora" ? graft::TrainMethod::qlora
                                                 : graft::TrainMethod::lora;
            cli::check_saved_names(o, config);
            if (o.method != "full") {
                audit.targets = graft::adapter_targets(cli::adapter_of(o), config, "--target");
                graft::require(audit.targets.unmatched.empty(),
                               "--target: the model has no module named " + graft::name_list(audit.targets.unmatched));
            }
        }
        cli::settle_saved(o, audit.targets, config);
        audit.saved_types = graft::saved_types(audit.targets.saved, config, what, adapter);
        cli::print(std::string(graft::family_name(config.family)) + " " + graft::printable(what, 300) + "\n"
                   + graft::to_text(graft::make_audit(config, audit)));
        if (fs::is_directory(what)) {
            for (const auto& found : graft::adapters_in(what)) {
                cli::print("holds an adapter: " + graft::printable(found.string(), 300) + "\n");
            }
            const auto checkpoint = graft::Checkpoint::open(what);
            cli::print(std::to_string(checkpoint.stored_count()) + " tensors in its files\n");
            if (const auto over = graft::passed_over_text(checkpoint); !over.empty()) {
                cli::print("passed over: " + over + "\n");
            }
            if (checkpoint.renamed().count > 0) { cli::print(graft::renamed_text(checkpoint.renamed()) + "\n"); }
        }
    });
}
