#pragma once
#include <filesystem>
#include <string>
#include <system_error>
#include <unistd.h>
#include <vector>

#include "cli/finetune_options.hpp"
#include "cli/given_adapters.hpp"
#include "cli/merge_receipt.hpp"
#include "cli/program.hpp"
#include "graft/checkpoint/merge.hpp"
#include "graft/checkpoint/save.hpp"
#include "graft/io/output_folder.hpp"

// finetune --merge-adapter DIR: the adapter is merged into the base first, and a new one is trained over the result.
// The merged base is a checkpoint of its own, OUTPUT/base, and the run loads it from there: what was trained over is
// what ships.
namespace cli {

inline constexpr const char* merge_adapter_how = "give both, with a comma, to --merge-adapter";

inline std::string merged_base_name(const FinetuneOptions& o)
{
    return (std::filesystem::path(o.output) / "base").string();
}

// The config of what is trained over, from that of --model. Throws: Error for adapters that do not fit the model.
inline graft::ModelConfig base_config(const FinetuneOptions& o, graft::ModelConfig config)
{
    if (o.merge_adapter.empty()) { return config; }
    graft::require(o.method != "full", "--merge-adapter trains a new adapter; for --method full write the merged "
                                       "checkpoint with the program merge, and train that");
    const auto given = open_adapters(o.merge_adapter, config, merge_adapter_how);
    if (graft::unties(given.files)) { config.tied = false; }
    config.quantization.reset();  // a merged base is dense; qlora quantises it as it is loaded
    return config;
}

// Whether `folder` is the whole result of merging just this.
inline bool is_merged_from(const std::filesystem::path& folder, const std::string& base,
                           const std::vector<std::string>& hashes, const graft::MergeOptions& options)
{
    if (!std::filesystem::exists(folder / "config.json") || !std::filesystem::exists(folder / "merge.json")) {
        return false;
    }
    try {
        const auto receipt = graft::read_json(folder / "merge.json");
        std::vector<std::string> found;
        for (const auto& adapter : receipt.at("adapters")) { found.push_back(adapter.at("fingerprint")); }
        graft::Checkpoint::open(folder);
        return receipt.at("model_fingerprint") == base && found == hashes
               && (!options.type || receipt.at("weights").at("dtype") == graft::detail::dtype_name(*options.type));
    } catch (const std::exception&) {  // damaged: made again
        return false;
    }
}

// The folder that the run loads its base from: --model, or with --merge-adapter OUTPUT/base, which is made here, after
// output.begin(), by one rename. A resumed run takes the one that is there. metadata, of the new adapter: has the
// fingerprint of --model, and gets that of the merged base in its place.
inline std::string trained_base(const FinetuneOptions& o, graft::OutputFolder& output, graft::Metadata& metadata)
{
    namespace fs = std::filesystem;
    if (o.merge_adapter.empty()) { return o.model; }
    const auto config = graft::read_config(o.model);
    auto given = open_adapters(o.merge_adapter, config, merge_adapter_how);
    const std::string base = metadata.at("graft.base");
    require_base(given, o.model, base);
    for (const auto& note : given.notes) { print(note + "\n"); }
    graft::MergeOptions options;
    if (o.given.contains("dtype")) {
        options.type = o.dtype == "bf16" ? graft::StoredType::bf16 : graft::StoredType::f32;
    }

    output.begin();
    const fs::path folder = output.file("base"), partial = output.file("base.partial-" + std::to_string(::getpid()));
    const auto made = [&] {
        metadata["graft.base"] = graft::base_fingerprint(graft::Checkpoint::open(folder));
        return folder.string();
    };
    if (is_merged_from(folder, base, given.hashes, options)) {
        print("base: " + merged_base_name(o) + ", merged by the run that is resumed\n");
        return made();
    }
    std::error_code ignored;
    fs::remove_all(folder, ignored);
    fs::create_directory(partial);
    try {
        const auto receipt = graft::merge_weights(o.model, given.files, partial, options);
        print(receipt_text(receipt, o.model, o.merge_adapter, merged_base_name(o)));
        graft::write_file(partial / "merge.json",
                          receipt_json(receipt, o.model, base, o.merge_adapter, given.hashes, {}));
        graft::finish_checkpoint(o.model, partial, graft::merged_config(o.model, receipt));
        graft::sync_folder(partial);
        fs::rename(partial, folder);
        graft::sync_folder(output.path());
    } catch (...) {
        fs::remove_all(partial, ignored);
        throw;
    }
    return made();
}

}  // namespace cli
