#include "graft/checkpoint/hf_config.hpp"

#include "files.hpp"
#include "support.hpp"

namespace {

namespace fs = std::filesystem;
using graft::OrderedJson;

graft::ModelConfig config(const char* name)
{
    return graft::read_config(graft_test::repo() / "data" / "configs" / name);
}

OrderedJson small()
{
    return OrderedJson::parse(R"({"model_type": "llama", "vocab_size": 107, "hidden_size": 64, "intermediate_size": 72,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2})");
}

graft::ModelConfig with(const char* patch)
{
    OrderedJson json = small();
    json.update(OrderedJson::parse(patch));
    return graft::parse_config(json.dump(), "config.json");
}

std::string refusal(const char* patch)
{
    try {
        with(patch);
    } catch (const graft::Error& error) {
        CHECK(std::string(error.what()).find('\n') == std::string::npos);
        CHECK(std::string(error.what()).starts_with("config.json: "));
        return error.what();
    }
    return "";
}

void check_same(const graft::ModelConfig& a, const graft::ModelConfig& b)
{
    CHECK(a.family == b.family);
    CHECK(a.vocab == b.vocab);
    CHECK(a.dim == b.dim);
    CHECK(a.ffn == b.ffn);
    CHECK(a.layers == b.layers);
    CHECK(a.heads == b.heads);
    CHECK(a.kv_heads == b.kv_heads);
    CHECK(a.head_dim == b.head_dim);
    CHECK(a.eps == b.eps);
    CHECK(a.tied == b.tied);
    CHECK(a.attention_bias == b.attention_bias);
    CHECK(a.o_bias == b.o_bias);
    CHECK(a.mlp_bias == b.mlp_bias);
    CHECK(a.rope == b.rope);
    CHECK(a.max_positions == b.max_positions);
    CHECK(a.sliding_window == b.sliding_window);
    CHECK(a.bos == b.bos);
    CHECK(a.eos == b.eos);
    CHECK(a.pad == b.pad);
    CHECK(a.stored_dtype == b.stored_dtype);
}

}  // namespace

TEST_CASE("published configs")
{
    const auto llama = config("Llama-3.1-8B.json");
    CHECK(llama.family == graft::Family::llama);
    CHECK(llama.vocab == 128256);
    CHECK(llama.kv_width() == 1024);
    CHECK(llama.rope
          == graft::RopeSettings{
              .theta = 500000, .kind = graft::RopeKind::llama3, .factor = 8, .low = 1, .high = 4, .original = 8192});
    CHECK(!llama.sliding_window);
    CHECK(llama.max_positions == 131072);
    CHECK(llama.stored_dtype == "bfloat16");

    const auto mistral = config("Mistral-7B-v0.1.json");
    CHECK(mistral.sliding_window == 4096);
    CHECK(mistral.eps == 1e-5);
    const auto nemo = config("Mistral-Nemo-Base-2407.json");
    CHECK(!nemo.sliding_window);
    CHECK(nemo.head_dim == 128);
    CHECK(nemo.q_width() == 4096);

    const auto qwen = config("Qwen2-0.5B.json");
    CHECK(qwen.family == graft::Family::qwen2);
    CHECK(qwen.attention_bias);
    CHECK(!qwen.o_bias);
    CHECK(!qwen.mlp_bias);
    CHECK(qwen.tied);
    CHECK(!qwen.sliding_window);  // use_sliding_window is false
    CHECK(qwen.head_dim == 64);
    CHECK(config("SmolLM2-135M.json").rope.theta == 100000);
    CHECK(config("TinyLlama-1.1B-Chat-v1.0.resaved.json").stored_dtype == "float32");
}

TEST_CASE("what absent fields mean, and both spellings")
{
    const auto plain = with("{}");
    CHECK(plain.head_dim == 16);
    CHECK(plain.rope == graft::RopeSettings{});
    CHECK(plain.eps == 1e-6);
    CHECK(!plain.tied);
    CHECK(plain.max_positions == 2048);
    CHECK(plain.eos.empty());
    CHECK(with(R"({"num_key_value_heads": null})").kv_heads == 4);
    CHECK(with(R"({"head_dim": null})").head_dim == 16);
    CHECK(with(R"({"model_type": "mistral"})").sliding_window == 4096);
    CHECK(!with(R"({"model_type": "mistral", "sliding_window": null})").sliding_window);
    CHECK(!with(R"({"model_type": "mistral", "attention_bias": true})").attention_bias);
    CHECK(!with(R"({"sliding_window": 5})").sliding_window);
    CHECK(with(R"({"attention_bias": true})").o_bias);
    CHECK(with(R"({"eos_token_id": [1, 2]})").eos == std::vector<std::int64_t>{1, 2});
    CHECK(with(R"({"eos_token_id": 3})").eos == std::vector<std::int64_t>{3});
    CHECK(with(R"({"model_type": null, "architectures": ["Qwen2ForCausalLM"]})").family == graft::Family::qwen2);
    CHECK(with(R"({"hidden_size": 66, "num_attention_heads": 4, "head_dim": 12, "model_type": "mistral"})").head_dim
          == 12);

    const char* sliding =
        R"({"model_type": "qwen2", "use_sliding_window": true, "sliding_window": 5, "max_window_layers": 1})";
    CHECK(with(sliding).sliding_window == 5);
    CHECK(!with(R"({"model_type": "qwen2", "use_sliding_window": true, "sliding_window": 5})").sliding_window);
    CHECK(!with(R"({"model_type": "qwen2", "use_sliding_window": true, "sliding_window": 5, "max_window_layers": 0,
                    "layer_types": ["full_attention", "full_attention"]})")
               .sliding_window);
    CHECK(
        !with(R"({"model_type": "qwen2", "sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]})")
             .sliding_window);

    CHECK(with(R"({"rope_theta": 5, "rope_parameters": {"rope_theta": 7, "rope_type": "default"}})").rope.theta == 7);
    CHECK(with(R"({"rope_theta": 5, "rope_parameters": {"rope_type": "default"}})").rope.theta == 5);
    CHECK(with(R"({"rope_parameters": {"rope_theta": 9}})").rope.theta == 9);
    CHECK(with(R"({"rope_scaling": {}})").rope.kind == graft::RopeKind::plain);
    CHECK(with(R"({"rope_scaling": {"type": "linear", "rope_type": "linear", "factor": 4}})").rope.factor == 4);
    CHECK(
        with(
            R"({"max_position_embeddings": 99, "rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
                   "high_freq_factor": 4}})")
            .rope.original
        == 99);
}

TEST_CASE("what is not supported, or cannot be, is refused by name")
{
    for (const char* type : {"qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "gpt2", "\\u001b[2J"}) {
        const std::string text = refusal(("{\"model_type\": \"" + std::string(type) + "\"}").c_str());
        CHECK(text.find("is not supported: llama, mistral and qwen2 are") != std::string::npos);
    }
    CHECK(refusal(R"({"model_type": null})").find("neither model_type nor architectures") != std::string::npos);
    const std::pair<const char*, const char*> cases[] = {
        {R"({"rope_theta": 0})", "rope_theta must be above 1"},
        {R"({"rope_parameters": {"full_attention": {"rope_type": "default"}}})", "rope_type is missing"},
        {R"({"partial_rotary_factor": 0.5})", "partial_rotary_factor"},
        {R"({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}})", "partial_rotary_factor"},
        {R"({"pretraining_tp": 2})", "pretraining_tp"},
        {R"({"hidden_act": "gelu"})", "hidden_act gelu"},
        {R"({"hidden_size": 66})", "hidden_size 66 is not a multiple of num_attention_heads 4"},
        {R"({"hidden_size": 66, "head_dim": 16})", "hidden_size 66 is not a multiple"},
        {R"({"num_key_value_heads": 3})", "num_attention_heads 4 is not a multiple of num_key_value_heads 3"},
        {R"({"head_dim": 15})", "must be even"},
        {R"({"hidden_size": 0})", "hidden_size must be from 1"},
        {R"({"hidden_size": -4})", "hidden_size must be from 1"},
        {R"({"hidden_size": 64.0})", "hidden_size must be a whole number"},
        {R"({"hidden_size": "64"})", "hidden_size must be a whole number"},
        {R"({"hidden_size": null})", "hidden_size is missing"},
        {R"({"num_hidden_layers": 9223372036854775807})", "num_hidden_layers must be"},
        {R"({"vocab_size": 18446744073709551615})", "vocab_size must be"},
        {R"({"rms_norm_eps": 0})", "rms_norm_eps"},
        {R"({"tie_word_embeddings": 1})", "tie_word_embeddings must be true or false"},
        {R"({"eos_token_id": "</s>"})", "eos_token_id must be a whole number"},
        {R"({"quantization_config": {"quant_method": "gptq"}})", "quant_method gptq"},
        {R"({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": true}})", "without load_in_4bit"},
        {R"({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true}})",
         "bnb_4bit_quant_type fp4"},
        {R"({"model_type": "qwen2", "use_sliding_window": true, "layer_types": ["linear_attention"]})",
         "linear_attention"},
    };
    for (const auto& item : cases) {
        const char *patch = item.first, *says = item.second;
        const std::string text = refusal(patch);
        INFO(patch << " → " << text);
        CHECK(text.find(says) != std::string::npos);
    }
    CHECK_THROWS_AS(graft::parse_config("[]", "config.json"), graft::Error);
    CHECK_THROWS_WITH_AS(graft::read_config(graft_test::repo() / "data"), doctest::Contains("there is no config.json"),
                         graft::Error);
    CHECK_THROWS_AS(graft::read_config("no/such/folder"), graft::Error);
}

TEST_CASE("the text of a config is copied as it is, or for another element type")
{
    const graft_test::TempFolder temp;
    const fs::path folder = temp.path();
    OrderedJson json = small();
    json["torch_dtype"] = "bfloat16";
    json["quantization_config"] = {{"quant_method", "bitsandbytes"},
                                   {"load_in_4bit", true},
                                   {"bnb_4bit_quant_type", "nf4"},
                                   {"bnb_4bit_use_double_quant", true}};
    json["eos_token_id"] = 2;
    graft::write_file(folder / "config.json", json.dump(4));
    CHECK(graft::config_text(folder) == json.dump(4));
    REQUIRE(graft::read_config(folder).quantization);
    CHECK(graft::read_config(folder).quantization->double_quant);
    const auto changed = OrderedJson::parse(graft::config_text(folder, "float32"));
    CHECK(changed["torch_dtype"] == "float32");
    CHECK(!changed.contains("dtype"));
    CHECK(!changed.contains("quantization_config"));
    CHECK(changed.begin().key() == "model_type");  // the order stays

    CHECK(graft::eos_ids(folder) == std::vector<std::int64_t>{2});
    graft::write_file(folder / "generation_config.json", R"({"eos_token_id": [128001, 128009]})");
    CHECK(graft::eos_ids(folder) == std::vector<std::int64_t>{128001, 128009});
    graft::write_file(folder / "config.json", "{\"a\": 1,\n]");
    CHECK_THROWS_WITH_AS(graft::read_config(folder), doctest::Contains("config.json: not JSON at line 2, column 1"),
                         graft::Error);
    fs::remove(folder / "config.json");
    graft::write_file(folder / "adapter_config.json", "{}");
    CHECK_THROWS_WITH_AS(graft::read_config(folder), doctest::Contains("holds an adapter"), graft::Error);
}

TEST_CASE("both spellings of the reference's configs say the same")
{
    const auto data = graft_test::data();
    if (!data) { return graft_test::skip("GRAFT_TEST_DATA is not set"); }
    const fs::path archs = *data / "golden" / "archs";
    for (const char* name : {"llama", "llama_headdim_bias", "llama_linear_rope", "llama_tied_llama3rope",
                             "llama_yarn_rope", "llama_dynamic_rope", "mistral_window", "qwen2"}) {
        INFO(name);
        check_same(graft::read_config(archs / name), graft::read_config(archs / name / "config.old_style.json"));
        CHECK(graft::eos_ids(archs / name) == std::vector<std::int64_t>{2});
    }
    for (const char* name : {"gemma", "gemma2", "phi3", "qwen3"}) {
        INFO(name);
        CHECK_THROWS_WITH_AS(graft::read_config(archs / name), doctest::Contains("is not supported"), graft::Error);
        CHECK_THROWS_AS(graft::read_config(archs / name / "config.old_style.json"), graft::Error);
    }
    CHECK(graft::read_config(archs / "mistral_window").sliding_window == 5);
    CHECK(graft::read_config(archs / "llama_headdim_bias").head_dim == 12);
    for (const auto& entry : fs::directory_iterator(*data / "data" / "configs")) {
        const std::string file = entry.path().filename().string();
        INFO(file);
        if (file.starts_with("gemma") || file.starts_with("Qwen3")) {
            CHECK_THROWS_AS(graft::read_config(entry.path()), graft::Error);
        } else {
            CHECK_NOTHROW(graft::read_config(entry.path()));
        }
    }
    for (const char* name : {"checkpoint_double_f32", "checkpoint_single_bf16", "checkpoint_double_bf16"}) {
        const auto config = graft::read_config(*data / "golden" / "nf4" / name);
        REQUIRE(config.quantization);
        CHECK(config.quantization->double_quant == (std::string(name).find("double") != std::string::npos));
    }
}
