#pragma once
#include "graft/checkpoint/hf_config.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "graft/checkpoint/rope_config.hpp"
#include "graft/core/error.hpp"
#include "graft/io/file_kind.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/text.hpp"
#include "graft/models/config.hpp"

namespace graft::detail {

inline std::filesystem::path config_path(const std::filesystem::path& path)
{
    namespace fs = std::filesystem;
    const std::string where = printable(path.string(), 1000);
    std::error_code ignored;
    if (const auto link = broken_link(path); !link.empty()) { throw Error(link); }
    require(fs::exists(path, ignored), [&] { return where + ": no such file or folder"; });
    if (!fs::is_directory(path, ignored)) { return path; }
    const fs::path file = path / "config.json";
    if (const auto link = broken_link(file); !link.empty()) { throw Error(link); }
    if (fs::exists(file, ignored)) { return file; }
    if (fs::exists(path / "adapter_config.json", ignored)) {
        throw Error(where
                    + ": holds an adapter, not a model: there is no config.json; name the folder of its base model");
    }
    const auto there = [&](const char* name) { return fs::exists(path / name, ignored); };
    const char* has = "; a model folder needs it beside the weights";
    if (there("run_state.json")) {
        has = "; it holds the state of a run, from which --resume goes on: the run's own folder has the model";
    } else if (there("model.safetensors") || there("model.safetensors.index.json")) {
        has = "; it holds weights alone: copy config.json and the tokeniser's files of their model to them";
    }
    for (const auto& entry : fs::directory_iterator(path, ignored)) {
        if (lower(entry.path().extension().string()) != ".gguf") { continue; }
        throw Error(where + ": there is no config.json; it holds " + printable(entry.path().filename().string(), 200)
                    + ", a GGUF file (llama.cpp), which is not read: take the checkpoint in safetensors that it was "
                      "made from");
    }
    throw Error(where + ": there is no config.json" + has);
}

inline OrderedJson read_settings(const std::filesystem::path& file)
{
    OrderedJson json = read_json<OrderedJson>(file, std::size_t(1) << 20);
    require(json.is_object(), [&] {
        return printable(file.string(), 1000) + ": must be an object of settings, found " + json_text(json);
    });
    return json;
}

class ConfigReader {
public:
    ConfigReader(const OrderedJson& json, std::string where) : json_(json), where_(std::move(where)) {}

    ModelConfig read() const
    {
        ModelConfig c;
        c.family = family();
        c.vocab = size("vocab_size", std::int64_t(1) << 27);
        c.dim = size("hidden_size", std::int64_t(1) << 20);
        c.ffn = size("intermediate_size", std::int64_t(1) << 20);
        c.layers = size("num_hidden_layers", 4096);
        c.heads = size("num_attention_heads", 65536);
        c.kv_heads = size("num_key_value_heads", 65536, c.heads);
        c.eps = json_number_or(json_, "rms_norm_eps", 1e-6, where_);
        c.tied = json_bool_or(json_, "tie_word_embeddings", false, where_);
        read_heads(c);
        refuse_variants();
        read_biases(c);

        const std::int64_t positions = c.family == Family::llama ? 2048 : c.family == Family::mistral ? 131072 : 32768;
        c.max_positions = size("max_position_embeddings", std::int64_t(1) << 40, positions);
        c.rope = read_rope(json_, c, where_);
        c.sliding_window = window(c);
        c.bos = token_ids("bos_token_id");
        c.eos = token_ids("eos_token_id");
        if (const auto pad = token_ids("pad_token_id"); !pad.empty()) { c.pad = pad.front(); }
        c.stored_dtype = json_string_or(json_, "dtype", json_string_or(json_, "torch_dtype", "", where_), where_);
        c.quantization = quantization();
        require(std::isfinite(c.eps) && c.eps > 0,
                [&] { return where_ + ": rms_norm_eps must be above 0, found " + std::to_string(c.eps); });
        return c;
    }

private:
    [[noreturn]] void refuse(const std::string& what) const { throw Error(where_ + ": " + what); }

    Family family() const
    {
        std::string type = json_string_or(json_, "model_type", "", where_);
        std::string field = "model_type";
        if (type.empty()) {
            const auto names = json_strings(json_, "architectures", where_);
            require(!names.empty(), [&] { return where_ + ": there is neither model_type nor architectures"; });
            field = "architectures";
            type = names.front();
        }
        constexpr std::array<std::pair<std::string_view, Family>, 6> known{{
            {"llama", Family::llama},
            {"LlamaForCausalLM", Family::llama},
            {"mistral", Family::mistral},
            {"MistralForCausalLM", Family::mistral},
            {"qwen2", Family::qwen2},
            {"Qwen2ForCausalLM", Family::qwen2},
        }};
        for (const auto& [name, value] : known) {
            if (type == name) { return value; }
        }
        refuse(field + " " + printable(type) + " is not supported: llama, mistral and qwen2 are");
    }

    std::int64_t size(const char* key, std::int64_t most, std::optional<std::int64_t> absent = {}) const
    {
        const std::int64_t value = absent ? json_int_or(json_, key, *absent, where_) : json_int(json_, key, where_);
        require(value >= 1 && value <= most, [&] {
            return where_ + ": " + key + " must be from 1 to " + std::to_string(most) + ", found "
                   + std::to_string(value);
        });
        return value;
    }

    void read_heads(ModelConfig& c) const
    {
        const auto pair = [](const char* a, std::int64_t x, const char* b, std::int64_t y) {
            return std::string(a) + " " + std::to_string(x) + " is not a multiple of " + b + " " + std::to_string(y);
        };
        require(c.heads % c.kv_heads == 0, [&] {
            return where_ + ": " + pair("num_attention_heads", c.heads, "num_key_value_heads", c.kv_heads);
        });
        const bool given = json_find(json_, "head_dim") != nullptr;
        // The llama class refuses this even where head_dim is given.
        require((given && c.family != Family::llama) || c.dim % c.heads == 0,
                [&] { return where_ + ": " + pair("hidden_size", c.dim, "num_attention_heads", c.heads); });
        c.head_dim = given ? size("head_dim", 65536) : c.dim / c.heads;
        require(c.head_dim % 2 == 0, [&] {
            return where_ + ": the head size " + std::to_string(c.head_dim)
                   + " must be even, as rotary positions pair elements";
        });
        require(c.q_width() <= std::int64_t(1) << 20, [&] {
            return where_ + ": num_attention_heads times the head size is too large: " + std::to_string(c.q_width());
        });
    }

    void refuse_variants() const
    {
        for (const char* key : {"hidden_act", "hidden_activation"}) {
            const std::string act = json_string_or(json_, key, "silu", where_);
            if (act != "silu" && act != "swish") {
                refuse(std::string(key) + " " + printable(act) + " is not supported: silu is");
            }
        }
        if (json_int_or(json_, "pretraining_tp", 1, where_) > 1) { refuse("pretraining_tp above 1 is not supported"); }
        for (const char* parent : {"", "rope_parameters", "rope_scaling"}) {
            const OrderedJson* at = *parent == '\0' ? &json_ : json_find(json_, parent);
            if (at != nullptr && json_number_or(*at, "partial_rotary_factor", 1, where_) != 1) {
                refuse("partial_rotary_factor other than 1 is not supported");
            }
        }
    }

    void read_biases(ModelConfig& c) const
    {
        if (c.family == Family::llama) {
            c.attention_bias = c.o_bias = json_bool_or(json_, "attention_bias", false, where_);
            c.mlp_bias = json_bool_or(json_, "mlp_bias", false, where_);
        }
        if (c.family == Family::qwen2) { c.attention_bias = true; }
    }

    std::optional<std::int64_t> window(const ModelConfig& c) const
    {
        if (c.family == Family::llama) { return std::nullopt; }
        if (json_.contains("sliding_window") && json_.at("sliding_window").is_null()) { return std::nullopt; }
        if (c.family == Family::qwen2) {
            if (!json_bool_or(json_, "use_sliding_window", false, where_)) { return std::nullopt; }
            bool slides = json_int_or(json_, "max_window_layers", 28, where_) < c.layers;
            if (json_find(json_, "layer_types") != nullptr) {
                slides = false;
                for (const std::string& type : json_strings(json_, "layer_types", where_)) {
                    if (type != "full_attention" && type != "sliding_attention") {
                        refuse("layer_types holds " + printable(type) + ", which is not supported");
                    }
                    slides = slides || type == "sliding_attention";
                }
            }
            if (!slides) { return std::nullopt; }
        }
        return size("sliding_window", std::int64_t(1) << 40, 4096);
    }

    std::vector<std::int64_t> token_ids(const char* key) const
    {
        const auto ids = json_ints(json_, key, where_);
        require(ids.size() <= 1024, [&] { return where_ + ": " + key + " lists too many ids"; });
        return ids;
    }

    std::optional<QuantizationSettings> quantization() const
    {
        const OrderedJson* q = object_of(json_, "quantization_config", where_);
        if (q == nullptr) { return std::nullopt; }
        const std::string where = where_ + ": quantization_config";
        const std::string method = json_string_or(*q, "quant_method", "bitsandbytes", where);
        if (method != "bitsandbytes") {
            refuse("quant_method " + printable(method) + " is not supported: bitsandbytes is");
        }
        const bool four = json_bool_or(*q, "load_in_4bit", json_bool_or(*q, "_load_in_4bit", false, where), where);
        if (!four) { refuse("a bitsandbytes checkpoint without load_in_4bit is not supported: 4-bit NF4 is"); }
        const std::string type = json_string_or(*q, "bnb_4bit_quant_type", "fp4", where);
        if (type != "nf4") { refuse("bnb_4bit_quant_type " + printable(type) + " is not supported: nf4 is"); }
        const std::string storage = json_string_or(*q, "bnb_4bit_quant_storage", "uint8", where);
        if (storage != "uint8") {
            refuse("bnb_4bit_quant_storage " + printable(storage) + " is not supported: uint8 is");
        }
        return QuantizationSettings{.double_quant = json_bool_or(*q, "bnb_4bit_use_double_quant", false, where),
                                    .skipped = json_strings(*q, "llm_int8_skip_modules", where)};
    }

    const OrderedJson& json_;
    std::string where_;
};

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE ModelConfig parse_config(std::string_view text, const std::string& where)
{
    const auto json = parse_json<OrderedJson>(text, where);
    require(json.is_object(), [&] { return where + ": must be an object of settings, found " + json_text(json); });
    return detail::ConfigReader(json, where).read();
}

GRAFT_INLINE ModelConfig read_config(const std::filesystem::path& path)
{
    const auto file = detail::config_path(path);
    const auto json = detail::read_settings(file);
    return detail::ConfigReader(json, printable(file.string(), 1000)).read();
}

GRAFT_INLINE std::vector<std::int64_t> eos_ids(const std::filesystem::path& folder)
{
    std::error_code ignored;
    for (const char* name : {"generation_config.json", "config.json"}) {
        const auto file = folder / name;
        if (!std::filesystem::exists(file, ignored)) { continue; }
        const auto ids = json_ints(detail::read_settings(file), "eos_token_id", printable(file.string(), 1000));
        if (!ids.empty()) { return ids; }
    }
    return {};
}

GRAFT_INLINE std::string config_text(const std::filesystem::path& folder)
{
    return read_file(detail::config_path(folder), std::size_t(1) << 20);
}

GRAFT_INLINE std::string config_text(const std::filesystem::path& folder, const std::string& dtype,
                                     const ModelConfig& config)
{
    OrderedJson json = detail::read_settings(detail::config_path(folder));
    json.erase("quantization_config");
    const bool old = json.contains("torch_dtype");
    if (old) { json["torch_dtype"] = dtype; }
    if (!old || json.contains("dtype")) { json["dtype"] = dtype; }
    write_rope(json, config);
    return json.dump(2, ' ', true) + "\n";
}

}  // namespace graft
