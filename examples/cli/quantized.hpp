#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "cli/finetune_options.hpp"
#include "graft/checkpoint/adapter.hpp"
#include "graft/checkpoint/hf_config.hpp"
#include "graft/io/text.hpp"
#include "graft/models/config.hpp"

// How the linears of a base are held, and how they were held while an adapter was trained over it: over other numbers
// an adapter gives other answers.
//
//   graft.quantized    of the adapter's file: "dense", "nf4", or "nf4 double" (the scales of blocks in 8 bits); absent
//                      in adapters of other programs and of earlier versions, of which nothing is said
//
//   form_of(config, quantized, twice)    the form of a base: as it is stored, or as options quantise it
//   trained_form(folder)                 what the adapter's file says; empty: nothing
//   other_form(folder, form)             a line where that is another one; empty where it is the same, or not known
namespace cli {

inline constexpr const char* quantized_key = "graft.quantized";

inline std::string form_of(const graft::ModelConfig& config, bool quantized, bool twice)
{
    if (config.quantization) { quantized = true, twice = config.quantization->double_quant; }
    return !quantized ? "dense" : twice ? "nf4 double" : "nf4";
}

inline std::string form_in_training(const FinetuneOptions& o, const graft::ModelConfig& config)
{
    return form_of(config, o.method == "qlora", o.double_quant);
}

inline std::string form_text(const std::string& form)
{
    if (form == "dense") { return "a dense base"; }
    if (form == "nf4") { return "NF4"; }
    if (form == "nf4 double") { return "NF4 (double-quantised)"; }
    return "a base held as " + graft::printable(form, 60);
}

inline std::string trained_form(const std::filesystem::path& folder)
{
    if (!std::filesystem::exists(folder / "adapter_model.safetensors")) { return ""; }
    const auto metadata = graft::adapter_metadata(folder);
    const auto found = metadata.find(quantized_key);
    return found == metadata.end() ? "" : found->second;
}

inline std::string other_form(const std::filesystem::path& folder, const std::string& form)
{
    const std::string was = trained_form(folder);
    if (was.empty() || was == form) { return ""; }
    return graft::printable(folder.string(), 1000) + " was trained over " + form_text(was) + ", this is "
           + form_text(form) + ": its answers differ from what was trained";
}

// The options of generate that ask an adapter as it was trained, where this base can be asked so.
inline std::string form_options(const std::string& form)
{
    return form == "nf4" ? "--quantize nf4" : form == "nf4 double" ? "--quantize nf4 --double-quant" : "";
}

inline std::string how_to_ask(const std::filesystem::path& folder, const graft::ModelConfig& config)
{
    const std::string was = trained_form(folder), options = form_options(was);
    if (config.quantization) { return was == "dense" ? "; give the base that it was trained over" : ""; }
    if (!options.empty()) { return "; as it was trained: " + options; }
    return was == "dense" ? "; as it was trained: without --quantize" : "";
}

// A line for each adapter that finetune trains on or over and that was trained over another form.
inline std::vector<std::string> other_forms(const FinetuneOptions& o, const graft::ModelConfig& config)
{
    std::vector<std::string> out, folders = o.stack;
    if (!o.adapter.empty()) { folders.push_back(o.adapter); }
    for (const auto& folder : folders) {
        const auto note = other_form(folder, form_in_training(o, config));
        if (!note.empty()) { out.push_back(note); }
    }
    for (const auto& folder : o.merge_adapter) {
        const auto note = other_form(folder, form_of(graft::read_config(o.model), false, false));
        if (!note.empty()) { out.push_back(note); }
    }
    return out;
}

// How generate asks what finetune has trained, where a word is needed for it.
inline std::string asking_note(const FinetuneOptions& o, const graft::ModelConfig& config)
{
    const std::string options = config.quantization ? "" : form_options(form_in_training(o, config));
    return options.empty() ? "" : "trained over NF4: generate " + options + " asks it as it was trained\n";
}

}  // namespace cli
