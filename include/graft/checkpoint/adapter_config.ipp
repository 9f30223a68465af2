#pragma once
#include "graft/checkpoint/adapter_config.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "graft/checkpoint/adapter_config/targets.hpp"
#include "graft/checkpoint/modules.hpp"
#include "graft/core/error.hpp"
#include "graft/io/atomic_file.hpp"
#include "graft/io/file_kind.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/text.hpp"
#include "graft/models/adapter_config.hpp"
#include "graft/models/config.hpp"

namespace graft::detail {

// null, false, 0 and empty things have no effect.
inline bool has_effect(const OrderedJson& value)
{
    if (value.is_boolean()) { return value.get<bool>(); }
    if (value.is_number()) { return value.get<double>() != 0; }
    if (value.is_string()) { return !value.get_ref<const std::string&>().empty(); }
    return !value.empty();  // null is empty
}

class AdapterConfigReader {
public:
    AdapterConfigReader(const OrderedJson& json, std::string where) : json_(json), where_(std::move(where)) {}

    AdapterConfig read() const
    {
        require(json_.is_object(),
                [&] { return where_ + ": must be an object of settings, found " + json_text(json_); });
        refuse_kinds();
        AdapterConfig c;
        read_init(c);  // before its settings, which have names of their own
        refuse_unknown();

        c.rank = json_int_or(json_, "r", 8, where_);
        c.alpha = json_number_or(json_, "lora_alpha", 8, where_);
        c.dropout = json_number_or(json_, "lora_dropout", 0, where_);
        c.rslora = json_bool_or(json_, "use_rslora", false, where_);
        check_rank("r", c.rank);
        require(std::isfinite(c.alpha), [&] { return where_ + ": lora_alpha must be finite"; });
        require(c.dropout >= 0 && c.dropout < 1, [&] {
            return where_ + ": lora_dropout must be at least 0 and below 1, found " + std::to_string(c.dropout);
        });
        c.targets = choice("target_modules");
        c.exclude = choice("exclude_modules");
        c.modules_to_save = json_strings(json_, "modules_to_save", where_);
        std::erase(c.modules_to_save, std::string());
        c.ensure_weight_tying = json_bool_or(json_, "ensure_weight_tying", false, where_);
        c.base_model = json_string_or(json_, "base_model_name_or_path", "", where_);
        c.revision = json_string_or(json_, "revision", "", where_);
        read_patterns(c);
        read_layers(c);
        read_tokens(c);
        return c;
    }

private:
    [[noreturn]] void refuse(const std::string& what) const { throw Error(where_ + ": " + what); }

    void check_rank(const std::string& key, std::int64_t rank) const
    {
        require(rank >= 1 && rank <= most_rank, [&] {
            return where_ + ": " + key + " must be from 1 to " + std::to_string(most_rank) + ", found "
                   + std::to_string(rank);
        });
    }

    void refuse_kinds() const
    {
        const std::string type = json_string(json_, "peft_type", where_);
        if (type != "LORA") { refuse("peft_type " + printable(type) + " is not supported: LORA is"); }
        const std::string task = json_string_or(json_, "task_type", "CAUSAL_LM", where_);
        if (task != "CAUSAL_LM") { refuse("task_type " + printable(task) + " is not supported: CAUSAL_LM is"); }
        const std::string bias = json_string_or(json_, "bias", "none", where_);
        if (bias != "none") { refuse("bias " + printable(bias) + " is not supported: none is (biases stay frozen)"); }

        constexpr std::array<std::pair<const char*, const char*>, 3> kinds{{
            {"use_dora", "DoRA adapters are not supported"},
            {"lora_bias", "adapters with a bias on B are not supported"},
            {"fan_in_fan_out", "transposed weights are not supported"},
        }};
        for (const auto& [key, why] : kinds) {
            const OrderedJson* field = json_find(json_, key);
            if (field != nullptr && has_effect(*field)) { refuse(std::string(key) + " is set: " + why); }
        }
    }

    void refuse_unknown() const
    {
        constexpr std::array<std::string_view, 31> known{
            "peft_type", "task_type", "bias", "use_dora", "lora_bias", "modules_to_save", "trainable_token_indices",
            "fan_in_fan_out", "ensure_weight_tying", "r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules",
            "exclude_modules", "rank_pattern", "alpha_pattern", "layers_to_transform", "layers_pattern",
            "init_lora_weights", "base_model_name_or_path", "revision", "inference_mode",
            // without effect on the maths
            "peft_version", "auto_mapping", "megatron_core", "runtime_config", "qalora_group_size", "_name_or_path",
            "transformers_version", "library_name"};
        const OrderedJson* init = json_find(json_, "init_lora_weights");
        const bool eva = init != nullptr && init->is_string() && lower(init->get<std::string>()) == "eva";
        for (const auto& item : json_.items()) {
            bool found = eva && item.key() == "eva_config";  // how it began
            for (const std::string_view name : known) { found = found || item.key() == name; }
            if (!found && has_effect(item.value())) {
                refuse(printable(item.key())
                       + " is set, which plain LoRA does not know: the adapter would be read wrongly");
            }
        }
    }

    ModuleChoice choice(const std::string& key) const
    {
        ModuleChoice out;
        const OrderedJson* field = json_find(json_, key);
        if (field == nullptr) { return out; }
        if (field->is_array()) {
            out.kind = ModuleChoice::Kind::list;
            out.names = json_strings(json_, key, where_);
            return out;
        }
        out = text_choice(json_as_string(*field, key, where_), key == "target_modules");
        require(out.kind != ModuleChoice::Kind::none, [&] { return where_ + ": " + key + " is an empty text"; });
        return out;
    }

    void read_patterns(AdapterConfig& c) const
    {
        for (const char* key : {"rank_pattern", "alpha_pattern"}) {
            const OrderedJson* field = json_find(json_, key);
            if (field == nullptr) { continue; }
            if (!field->is_object()) { json_field_error(where_, key, "an object of patterns", *field); }
            require(field->size() <= 4096, [&] { return where_ + ": " + key + " has more than 4096 patterns"; });
            for (const auto& item : field->items()) {
                const std::string name = std::string(key) + " " + printable(item.key());
                if (std::string_view(key) == "rank_pattern") {
                    const std::int64_t rank = json_as_int(item.value(), name, where_);
                    check_rank(name, rank);
                    c.rank_pattern.emplace_back(item.key(), rank);
                } else {
                    const double alpha = json_as_number(item.value(), name, where_);
                    require(std::isfinite(alpha), [&] { return where_ + ": " + name + " must be finite"; });
                    c.alpha_pattern.emplace_back(item.key(), alpha);
                }
            }
        }
    }

    void read_layers(AdapterConfig& c) const
    {
        c.layers_to_transform = json_ints(json_, "layers_to_transform", where_);
        if (const OrderedJson* field = json_find(json_, "layers_pattern"); field != nullptr) {
            c.layers_pattern = field->is_string() ? std::vector<std::string>{field->get<std::string>()}
                                                  : json_strings(json_, "layers_pattern", where_);
            std::erase(c.layers_pattern, std::string());
        }
        const bool text =
            c.targets.kind == ModuleChoice::Kind::regex || c.targets.kind == ModuleChoice::Kind::all_linear;
        if (text && !c.layers_to_transform.empty()) { refuse("layers_to_transform needs a list as target_modules"); }
        if (text && !c.layers_pattern.empty()) { refuse("layers_pattern needs a list as target_modules"); }
        if (!c.layers_pattern.empty() && c.layers_to_transform.empty()) {
            refuse("layers_pattern is of use only with layers_to_transform");
        }
    }

    // A list means the embedding; an object names modules.
    void read_tokens(AdapterConfig& c) const
    {
        const char* key = "trainable_token_indices";
        const OrderedJson* field = json_find(json_, key);
        if (field == nullptr || !has_effect(*field)) { return; }
        if (field->is_array()) {
            c.trained_tokens = json_ints(json_, key, where_);
            return;
        }
        if (!field->is_object()) { json_field_error(where_, key, "a list of tokens, or one a module", *field); }
        for (const auto& item : field->items()) {
            if (item.key() != "embed_tokens" && item.key() != "model.embed_tokens") {
                refuse(std::string(key) + " names " + printable(item.key())
                       + ": only rows of embed_tokens are trained");
            }
            const auto tokens = json_ints(*field, item.key(), where_);
            c.trained_tokens.insert(c.trained_tokens.end(), tokens.begin(), tokens.end());
        }
    }

    void read_init(AdapterConfig& c) const
    {
        const OrderedJson* field = json_find(json_, "init_lora_weights");
        if (field == nullptr) { return; }
        if (field->is_boolean()) {
            c.init = field->get<bool>() ? AdapterInit::kaiming : AdapterInit::none;
            return;
        }
        const std::string init = json_as_string(*field, "init_lora_weights", where_);
        const std::string small = lower(init);
        if (small == "gaussian") {
            c.init = AdapterInit::gaussian;
        } else if (small == "mica") {
            c.init = AdapterInit::mica;
        } else if (small != "eva" && small != "orthogonal") {
            refuse_init(init, small);
        }
    }

    [[noreturn]] void refuse_init(const std::string& init, const std::string& small) const
    {
        const std::string found = "init_lora_weights " + printable(init);
        if (small.starts_with("pissa") || small == "olora" || small == "corda" || small == "lora_ga") {
            refuse(found
                   + " takes out of the base what the adapter begins as, so the adapter does not fit the base as it "
                     "is: convert it to plain LoRA with PEFT first (save_pretrained with "
                     "path_initial_model_for_weight_conversion)");
        }
        if (small == "loftq") {
            refuse(found
                   + " puts other weights in the place of the base, so the adapter does not fit the base as it is: "
                     "save that base with its adapter merged");
        }
        refuse(found + " is not known: it may have changed the base model");
    }

    const OrderedJson& json_;
    std::string where_;
};

GRAFT_INLINE nlohmann::json number_json(double value)
{
    const bool whole = value == std::floor(value) && std::abs(value) < 1e15;
    return whole ? nlohmann::json(static_cast<std::int64_t>(value)) : nlohmann::json(value);
}

// Sorted by name, as PEFT sorts them when it saves.
template <class Value>
std::vector<std::pair<std::string, Value>> sorted_patterns(std::vector<std::pair<std::string, Value>> patterns)
{
    std::sort(patterns.begin(), patterns.end());
    return patterns;
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE AdapterConfig parse_adapter_config(std::string_view text, const std::string& where)
{
    return detail::AdapterConfigReader(parse_json<OrderedJson>(text, where), where).read();
}

GRAFT_INLINE AdapterConfig read_adapter_config(const std::filesystem::path& path)
{
    namespace fs = std::filesystem;
    std::error_code ignored;
    require(fs::exists(path, ignored), [&] { return printable(path.string(), 1000) + ": no such file or folder"; });
    const fs::path file = fs::is_directory(path, ignored) ? path / "adapter_config.json" : path;
    if (const auto link = broken_link(file); !link.empty()) { throw Error(link); }
    require(fs::exists(file, ignored), [&] {
        return printable(path.string(), 1000) + ": there is no adapter_config.json; this is not an adapter";
    });
    return parse_adapter_config(read_file(file, std::size_t(1) << 20), printable(file.string(), 1000));
}

GRAFT_INLINE std::string adapter_config_text(const AdapterConfig& config, const ModelConfig& model,
                                             const std::string& where)
{
    using nlohmann::json;
    AdapterConfig sorted = config;
    sorted.rank_pattern = detail::sorted_patterns(config.rank_pattern);
    sorted.alpha_pattern = detail::sorted_patterns(config.alpha_pattern);
    const AdapterTargets now = adapter_targets(config, model, where), later = adapter_targets(sorted, model, where);
    for (std::size_t i = 0; i < now.modules.size(); ++i) {
        require(now.modules[i].rank == later.modules[i].rank && now.modules[i].alpha == later.modules[i].alpha, [&] {
            return where + ": rank_pattern or alpha_pattern has patterns that overlap on " + now.modules[i].name
                   + " and would mean something else once sorted, as PEFT sorts them: make them exclude each other";
        });
    }

    const auto text_or_null = [](const std::string& text) { return text.empty() ? json() : json(text); };
    const auto choice = [&](const ModuleChoice& from) -> json {
        switch (from.kind) {
        case ModuleChoice::Kind::list: return from.names;
        case ModuleChoice::Kind::regex: return from.regex;
        case ModuleChoice::Kind::all_linear: break;
        case ModuleChoice::Kind::none: return nullptr;
        }
        json names = json::array();
        for (const LinearInfo& linear : linear_modules(model)) { names.push_back(linear.name); }
        return names;
    };
    json ranks = json::object(), alphas = json::object();
    for (const auto& [key, rank] : config.rank_pattern) { ranks[key] = rank; }
    for (const auto& [key, alpha] : config.alpha_pattern) { alphas[key] = detail::number_json(alpha); }

    json out = json::object();  // nlohmann::json keeps its names sorted
    for (const char* key :
         {"alora_invocation_tokens", "arrow_config", "auto_mapping", "corda_config", "eva_config", "kasa_config",
          "layer_replication", "layers_pattern", "layers_to_transform", "lora_ga_config", "megatron_config",
          "monteclora_config", "target_parameters", "use_bdlora", "velora_config"}) {
        out[key] = nullptr;
    }
    for (const char* key : {"fan_in_fan_out", "lora_bias", "use_dora", "use_qalora"}) { out[key] = false; }
    out["alpha_pattern"] = alphas;
    out["base_model_name_or_path"] = text_or_null(config.base_model);
    out["bias"] = "none";
    out["exclude_modules"] = choice(config.exclude);
    out["inference_mode"] = true;
    out["init_lora_weights"] =
        config.init == AdapterInit::gaussian ? json("gaussian") : json(config.init != AdapterInit::none);
    out["loftq_config"] = json::object();
    out["lora_alpha"] = detail::number_json(config.alpha);
    out["lora_dropout"] = config.dropout;
    out["megatron_core"] = "megatron.core";
    out["peft_type"] = "LORA";
    out["peft_version"] = "0.21.2";  // whose fields these are
    out["qalora_group_size"] = 16;
    out["r"] = config.rank;
    out["rank_pattern"] = ranks;
    out["revision"] = text_or_null(config.revision);
    out["task_type"] = "CAUSAL_LM";
    out["use_rslora"] = config.rslora;
    out["ensure_weight_tying"] = now.saved.shared;
    out["trainable_token_indices"] = nullptr;
    if (!config.trained_tokens.empty()) { out["trainable_token_indices"] = {{"embed_tokens", config.trained_tokens}}; }
    out["modules_to_save"] = config.modules_to_save.empty() ? json() : json(config.modules_to_save);
    ModuleChoice targets = config.targets;
    if (targets.kind == ModuleChoice::Kind::none) { targets = detail::default_targets(); }
    out["target_modules"] = choice(targets);
    if (!config.layers_to_transform.empty()) { out["layers_to_transform"] = config.layers_to_transform; }
    if (!config.layers_pattern.empty()) { out["layers_pattern"] = config.layers_pattern; }
    try {
        return out.dump(2, ' ', true);
    } catch (const json::exception&) {
        throw Error(where + ": cannot be written: a name in it is not UTF-8");
    }
}

GRAFT_INLINE void write_adapter_config(const std::filesystem::path& path, const AdapterConfig& config,
                                       const ModelConfig& model)
{
    write_file(path, adapter_config_text(config, model, printable(path.string(), 1000)));
}

}  // namespace graft
