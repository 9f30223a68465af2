#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The settings of a LoRA adapter as plain values, as checkpoint/adapter_config.hpp reads and writes them. They go with
// the model that the adapter lies on (Llama::adapter). The defaults are PEFT's.
namespace graft {

// Which modules: a list of names or name endings, a regular expression over the whole name, or every linear of the
// blocks.
struct ModuleChoice {
    enum class Kind : std::uint8_t { none, list, regex, all_linear };
    Kind kind = Kind::none;
    std::vector<std::string> names{};  // list
    std::string regex{};               // regex
};

// How the adapter begins (add_adapter in checkpoint/adapter.hpp) or began. Of one that is finished it says nothing, but
// for mica: its B is never trained.
enum class AdapterInit : std::uint8_t { kaiming, gaussian, none, mica };

struct AdapterConfig {
    std::int64_t rank = 8;
    double alpha = 8;
    double dropout = 0;   // on the input of A, in training only
    bool rslora = false;  // scale alpha / sqrt(rank) instead of alpha / rank

    ModuleChoice targets{};  // none: q_proj and v_proj
    ModuleChoice exclude{};

    // Regular expressions over the end of a module's name, in the order of the file; the first that matches counts.
    std::vector<std::pair<std::string, std::int64_t>> rank_pattern{};
    std::vector<std::pair<std::string, double>> alpha_pattern{};

    std::vector<std::int64_t> layers_to_transform{};  // empty: all
    std::vector<std::string> layers_pattern{};        // names before the layer's number; empty: any

    std::vector<std::string> modules_to_save{};  // trained whole and stored whole (saved_modules.hpp); name endings
    std::vector<std::int64_t> trained_tokens{};  // whose rows of the embedding are trained, in the order of the file
    // Of a tied pair among them: one tensor for both uses. Otherwise the head becomes a tensor of its own.
    bool ensure_weight_tying = false;

    AdapterInit init = AdapterInit::kaiming;
    std::string base_model{};  // informative; empty: unknown
    std::string revision{};
};

namespace detail {

// "all-linear" in any case is a word of its own where targets are named, anything else a regular expression.
inline ModuleChoice text_choice(const std::string& text, bool may_be_all)
{
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    std::string small = text;
    for (char& c : small) { c = lower(c); }
    ModuleChoice out;
    if (text.empty()) { return out; }
    if (may_be_all && small == "all-linear") {
        out.kind = ModuleChoice::Kind::all_linear;
    } else {
        out.kind = ModuleChoice::Kind::regex;
        out.regex = text;
    }
    return out;
}

inline ModuleChoice default_targets()
{
    return {.kind = ModuleChoice::Kind::list, .names = {"q_proj", "v_proj"}, .regex = {}};
}

}  // namespace detail

}  // namespace graft
