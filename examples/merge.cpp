// merge: adapters into their base, a checkpoint that stands alone; or adapters into another adapter.
#include "cli/base_note.hpp"
#include "cli/given_adapters.hpp"
#include "cli/merge_compare.hpp"
#include "cli/merge_receipt.hpp"
#include "cli/numbers.hpp"
#include "cli/program.hpp"
#include "cli/quantized.hpp"
#include "cli/text.hpp"

#include "graft/checkpoint/combine.hpp"
#include "graft/checkpoint/merge.hpp"
#include "graft/checkpoint/save.hpp"
#include "graft/io/output_folder.hpp"

namespace {

using graft::require;

struct Options {
    std::string model, output, dtype, concat;
    std::vector<std::string> adapters, prompts;
    bool requantize = false, overwrite = false;
    std::int64_t grow_rank = 0;
    int threads = 0;
};

void merge(const Options& o, graft::OutputFolder& output)
{
    const auto config = graft::read_config(o.model);
    auto given = cli::open_adapters(o.adapters, config, "give both, with a comma, to --adapter");
    std::optional<graft::Tokenizer> tokenizer;
    if (!o.prompts.empty()) {
        tokenizer = cli::tokenizer_of(o.model);
        require(tokenizer.has_value(), "--prompt: " + graft::printable(o.model, 1000) + " has no tokenizer.json");
    }
    const auto checkpoint = graft::Checkpoint::open(o.model);
    cli::print(cli::base_note(checkpoint));
    const std::string base = graft::base_fingerprint(checkpoint);
    cli::require_base(given, o.model, base);
    for (const auto& note : given.notes) { cli::print(note + "\n"); }
    for (const auto& folder : o.adapters) {
        const auto note = cli::other_form(folder, cli::form_of(config, false, false));
        if (!note.empty()) { cli::print("note: " + note + "; what is merged are the answers over this base\n"); }
    }

    graft::MergeOptions options{.requantize = o.requantize};
    if (!o.dtype.empty()) { options.type = o.dtype == "bf16" ? graft::StoredType::bf16 : graft::StoredType::f32; }
    output.begin();
    const auto receipt = graft::merge_weights(o.model, given.files, output.path(), options);
    const std::string text = graft::merged_config(o.model, receipt);
    cli::print(cli::receipt_text(receipt, o.model, o.adapters, o.output));
    std::vector<cli::Comparison> compared;
    if (tokenizer) {
        compared = cli::compare_models(o.model, given.files, output.path(), graft::parse_config(text, "config.json"),
                                       *tokenizer, o.prompts);
        for (const auto& one : compared) { cli::print(to_text(one)); }
    } else {
        cli::print("answers were not compared: give --prompt TEXT for that\n");
    }
    graft::write_file(output.file("merge.json"),
                      cli::receipt_json(receipt, o.model, base, o.adapters, given.hashes, compared));
    graft::finish_checkpoint(o.model, output.path(), text);
    output.commit();
    cli::print("saved " + o.output + "\n");
}

// What two adapters say of their base and of others below them, for one that is both.
graft::Metadata joined_metadata(const cli::GivenAdapters& given)
{
    graft::Metadata out;
    const std::string base = given.files[0].metadata("graft.base"), other = given.files[1].metadata("graft.base");
    require(base.empty() || other.empty() || base == other, [&] {
        return "--concat: the adapters were trained over different bases: " + cli::short_hash(base) + " and "
               + cli::short_hash(other);
    });
    if (!base.empty() && base == other) { out.emplace("graft.base", base); }
    const std::string form = given.files[0].metadata(cli::quantized_key),
                      second = given.files[1].metadata(cli::quantized_key);
    if (!form.empty() && form == second) { out.emplace(cli::quantized_key, form); }
    if (!form.empty() && !second.empty() && form != second) {
        cli::print("note: one was trained over " + cli::form_text(form) + ", the other over " + cli::form_text(second)
                   + ": no base is the one that both were trained over\n");
    }
    return out;
}

void combine(const Options& o, graft::OutputFolder& output)
{
    const auto config = graft::read_config(o.model);
    require(o.adapters.size() == 1,
            std::string(o.concat.empty() ? "--grow-rank" : "--concat") + " takes one folder with --adapter");
    graft::CombinedAdapter made;
    if (o.concat.empty()) {
        const auto adapter = graft::StoredAdapter::open(o.adapters[0], config);
        made = graft::grow_rank(adapter, o.grow_rank, config);
        cli::print("rank " + std::to_string(adapter.rank()) + " to " + std::to_string(o.grow_rank)
                   + ": the same function, to the bit; " + std::to_string(made.tensors.size()) + " tensors\n");
    } else {
        const std::vector<std::string> both{o.adapters[0], o.concat};
        const auto given = cli::open_adapters(both, config, "merge these first");
        made = graft::concat_adapters(given.files[0], given.files[1], config);
        made.metadata = joined_metadata(given);
        char text[120];
        std::snprintf(text, sizeof text, "%lld values of B were rounded, by %.2g of themselves at most",
                      static_cast<long long>(made.rounded), made.worst);
        cli::print("ranks " + std::to_string(given.files[0].rank()) + " and " + std::to_string(given.files[1].rank())
                   + " to " + std::to_string(made.config.rank) + ", alpha "
                   + graft::detail::number_json(made.config.alpha).dump() + ": "
                   + (made.rounded == 0 ? "exact, no value was rounded" : text) + "\n");
        if (given.files[0].config().dropout != given.files[1].config().dropout) {
            cli::print("their dropouts differ, so the result has none\n");
        }
    }
    output.begin();
    graft::write_adapter(made, output.path(), config);
    output.commit();
    cli::print("saved " + o.output + "\n");
}

}  // namespace

int main(int argc, char** argv)
{
    Options o;
    CLI::App app{"merge: LoRA adapters into their base, or into another adapter", "merge"};
    app.add_option("--model", o.model, "checkpoint folder; with --grow-rank and --concat a config.json is enough")
        ->required();
    app.add_option("--adapter", o.adapters, "adapter folders that are active together, with commas between them")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->required();
    app.add_option("--output", o.output, "folder for the result")->required();
    auto* dtype = app.add_option("--dtype", o.dtype, "of the result; each tensor as in the base unless given")
                      ->check(CLI::IsMember({"f32", "bf16"}));
    auto* requantize = app.add_flag("--requantize", o.requantize, "an NF4 base: NF4 again; without it, dense");
    auto* prompt = app.add_option("--prompt", o.prompts, "compare answers before and after on this text; repeatable")
                       ->allow_extra_args(false);
    auto* grow = cli::add_number(app, "--grow-rank", o.grow_rank, {.least = 1, .most = 65536},
                                 "write the adapter with this rank: the same function");
    auto* concat = app.add_option("--concat", o.concat, "write the sum of --adapter and this one as one adapter");
    app.add_flag("--overwrite", o.overwrite, "replace a result that the output folder holds");
    cli::add_threads(app, o.threads);
    requantize->excludes(dtype);
    for (auto* other : {dtype, requantize, prompt, concat}) { grow->excludes(other); }
    for (auto* other : {dtype, requantize, prompt}) { concat->excludes(other); }
    return cli::run(app, argc, argv, [&] {
        if (o.threads > 0) { graft::set_threads(o.threads); }
        std::vector<std::filesystem::path> inputs{o.model, o.concat};
        inputs.insert(inputs.end(), o.adapters.begin(), o.adapters.end());
        graft::OutputFolder output({.folder = o.output, .overwrite = o.overwrite, .inputs = inputs});
        if (grow->count() + concat->count() > 0) {
            combine(o, output);
        } else {
            merge(o, output);
        }
    });
}
