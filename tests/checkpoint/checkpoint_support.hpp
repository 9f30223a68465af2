#pragma once
#include "../programs/programs_support.hpp"

#include "graft/checkpoint/save.hpp"
#include "graft/models/any.hpp"

// Small checkpoints of made-up numbers, written by the library itself, for tests of what reads them.
namespace graft_test {

inline graft::ModelConfig tiny_config(bool tied = false)
{
    graft::ModelConfig c;
    c.vocab = 11, c.dim = 8, c.ffn = 12, c.layers = 2, c.heads = 2, c.kv_heads = 1, c.head_dim = 4;
    c.max_positions = 16, c.tied = tied;
    return c;
}
inline std::string tiny_json(bool tied = false)
{
    return nlohmann::json({{"model_type", "llama"},
                           {"architectures", {"LlamaForCausalLM"}},
                           {"vocab_size", 11},
                           {"hidden_size", 8},
                           {"intermediate_size", 12},
                           {"num_hidden_layers", 2},
                           {"num_attention_heads", 2},
                           {"num_key_value_heads", 1},
                           {"head_dim", 4},
                           {"max_position_embeddings", 16},
                           {"rms_norm_eps", 1e-6},
                           {"rope_theta", 10000.0},
                           {"hidden_act", "silu"},
                           {"tie_word_embeddings", tied},
                           {"torch_dtype", "float32"}})
        .dump(2);
}

// A model with made-up weights that bf16 holds exactly.
template <class T> graft::AnyModel<T> tiny_model(graft::Base base = graft::Base::frozen, bool tied = false)
{
    auto model = graft::make_model<T>(tiny_config(tied), {.base = base, .train_rest = base == graft::Base::trained});
    int at = 0;
    graft::leaves(model, [&](const std::string&, auto& leaf) {
        if constexpr (requires { leaf.value(); }) {
            auto view = leaf.value().view();
            using Value = std::remove_pointer_t<decltype(view.data)>;
            for (std::int64_t i = 0; i < view.rows; ++i) {
                for (std::int64_t j = 0; j < view.cols(); ++j) {
                    view.row(i)[j] = Value(float(++at % 251 - 125) / 128);
                }
            }
        }
    });
    return model;
}

// The folder of a checkpoint with that model.
inline fs::path tiny_checkpoint(const fs::path& parent, bool tied = false,
                                graft::StoredType type = graft::StoredType::f32)
{
    const auto base = parent / "base", folder = parent / "checkpoint";
    fs::create_directories(base);
    fs::create_directories(folder);
    write_text(base / "config.json", tiny_json(tied));
    auto model = tiny_model<float>(graft::Base::frozen, tied);
    graft::save_checkpoint(model, base, folder, type);
    return folder;
}

// All values of a model by name, as f64.
template <class Model> std::map<std::string, std::vector<double>> values_of(Model& model)
{
    std::map<std::string, std::vector<double>> out;
    graft::leaves(model, [&](const std::string& name, auto& leaf) {
        if constexpr (requires { leaf.value(); }) {
            const auto view = std::as_const(leaf).value().view();
            for (std::int64_t i = 0; i < view.rows; ++i) {
                for (std::int64_t j = 0; j < view.cols(); ++j) { out[name].push_back(double(view.row(i)[j])); }
            }
        }
    });
    return out;
}

// What a call says when it refuses; empty where it does not.
template <class Call> std::string refusal_of(Call&& call)
{
    try {
        call();
    } catch (const graft::Error& error) {
        return error.what();
    }
    return "";
}
inline bool says(const std::string& text, const std::vector<std::string>& words)
{
    return text.find('\n') == std::string::npos
           && std::all_of(words.begin(), words.end(), [&](const auto& w) { return text.find(w) != std::string::npos; });
}

}  // namespace graft_test
