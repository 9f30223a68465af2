#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// What a checkpoint's config.json says about a model, as plain values. Read by checkpoint/hf_config.hpp, which checks
// them; a model can also be made from values written by hand. Letters as in docs/shapes.md.
namespace graft {

enum class Family : std::uint8_t { llama, mistral, qwen2 };

constexpr const char* family_name(Family family)
{
    return family == Family::llama ? "llama" : family == Family::mistral ? "mistral" : "qwen2";
}

enum class RopeKind : std::uint8_t { plain, linear, llama3, dynamic, yarn, longrope };

// Rotary positions: theta_i = base^(-2i/K), then scaled by kind. The formulas are in models/rope.hpp.
struct RopeSettings {
    double theta = 10000;  // the base
    RopeKind kind = RopeKind::plain;
    double factor = 1;                                  // all but plain; of longrope only where the file gives it
    double low = 1;                                     // llama3: low_freq_factor
    double high = 4;                                    // llama3: high_freq_factor
    std::int64_t original = 0;                          // positions before scaling: all but plain and linear
    double attention = 1;                               // yarn, longrope: what cos and sin are multiplied by
    double beta_fast = 32, beta_slow = 1;               // yarn: turns within `original` where the ramp begins and ends
    bool truncate = true;                               // yarn: the ramp's ends are whole numbers
    std::vector<double> short_factor{}, long_factor{};  // longrope: one a pair

    bool operator==(const RopeSettings&) const = default;
};

// Linears of the blocks stored by bitsandbytes in NF4, blocks of 64.
struct QuantizationSettings {
    bool double_quant = false;           // the absolute maxima are quantised too
    std::vector<std::string> skipped{};  // modules left dense (llm_int8_skip_modules)
};

struct ModelConfig {
    Family family = Family::llama;
    std::int64_t vocab = 0;  // V
    std::int64_t dim = 0;    // D
    std::int64_t ffn = 0;    // F
    std::int64_t layers = 0;
    std::int64_t heads = 0;     // H
    std::int64_t kv_heads = 0;  // G, divides heads
    std::int64_t head_dim = 0;  // K, even; heads * head_dim need not be dim
    double eps = 1e-6;
    bool tied = false;  // the head is the embedding

    bool attention_bias = false;  // q, k, v
    bool o_bias = false;
    bool mlp_bias = false;

    RopeSettings rope{};
    std::string rope_named{};  // the scaling that an option laid over the file's (yarn:4), or empty
    std::int64_t max_positions = 0;
    std::optional<std::int64_t> sliding_window{};  // some layer sees only so many keys, its own position included

    std::vector<std::int64_t> bos{}, eos{};
    std::optional<std::int64_t> pad{};
    std::string stored_dtype{};  // as the file spells it (float32, bfloat16, …); empty where it does not

    std::optional<QuantizationSettings> quantization{};

    std::int64_t q_width() const { return heads * head_dim; }
    std::int64_t kv_width() const { return kv_heads * head_dim; }
};

}  // namespace graft
