#include "graft/checkpoint/adapter_config.hpp"

#include "../golden_kinds.hpp"
#include "graft/checkpoint/hf_config.hpp"
#include "support.hpp"

#include <map>
#include <set>

namespace {

namespace fs = std::filesystem;
using Kind = graft::ModuleChoice::Kind;

graft::AdapterConfig with(const std::string& patch)
{
    auto json = graft::OrderedJson::parse(
        R"({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]})");
    json.update(graft::OrderedJson::parse(patch));
    return graft::parse_adapter_config(json.dump(), "adapter_config.json");
}

template <class Run> std::string refusal(Run run)
{
    try {
        run();
    } catch (const graft::Error& error) {
        CHECK(std::string(error.what()).find('\n') == std::string::npos);
        return error.what();
    }
    return "";
}

graft::ModelConfig model()
{
    graft::ModelConfig c;
    c.vocab = 107, c.dim = 64, c.ffn = 72, c.layers = 12, c.heads = 4, c.kv_heads = 2, c.head_dim = 16;
    return c;
}

std::map<std::string, std::pair<std::int64_t, double>> targets(const std::string& patch)
{
    std::map<std::string, std::pair<std::int64_t, double>> out;
    for (const auto& t : graft::adapter_targets(with(patch), model()).modules) { out[t.name] = {t.rank, t.scale}; }
    return out;
}

}  // namespace

TEST_CASE("what is read")
{
    const auto c = with(
        R"({"lora_alpha": 6.5, "use_rslora": true, "lora_dropout": 0.1, "init_lora_weights": "gaussian", "bias": null,
                            "unknown_thing": null, "another": {}, "third": 0, "peft_version": "9", "qalora_group_size": 16})");
    CHECK(c.rank == 4);
    CHECK(c.alpha == 6.5);
    CHECK(c.rslora);
    CHECK(c.dropout == 0.1);
    CHECK(c.init == graft::AdapterInit::gaussian);
    const auto plain = graft::parse_adapter_config(R"({"peft_type": "LORA"})", "FILE");
    CHECK(plain.rank == 8);
    CHECK(plain.alpha == 8);
    CHECK(plain.targets.kind == Kind::none);
    CHECK(graft::adapter_targets(plain, model()).modules.size() == 24);  // q_proj and v_proj
    CHECK(with(R"({"target_modules": "ALL-linear"})").targets.kind == Kind::all_linear);
}

TEST_CASE("what is refused, and by which name")
{
    const std::pair<const char*, const char*> cases[] = {
        {R"({"peft_type": "IA3"})", "peft_type IA3"},
        {R"({"peft_type": null})", "peft_type is missing"},
        {R"({"task_type": "SEQ_CLS"})", "task_type SEQ_CLS"},
        {R"({"use_dora": true})", "use_dora"},
        {R"({"lora_bias": true})", "lora_bias"},
        {R"({"bias": "all"})", "bias all"},
        {R"({"modules_to_save": "lm_head"})", "modules_to_save must be a list"},
        {R"({"trainable_token_indices": {"lm_head": [1]}})", "trainable_token_indices names lm_head"},
        {R"({"trainable_token_indices": "all"})", "trainable_token_indices must be a list"},
        {R"({"fan_in_fan_out": true})", "fan_in_fan_out"},
        {R"({"ensure_weight_tying": 1})", "ensure_weight_tying"},
        {R"({"init_lora_weights": "pissa"})", "init_lora_weights pissa"},
        {R"({"init_lora_weights": "pissa_niter_4"})", "takes out of the base what the adapter begins as"},
        {R"({"init_lora_weights": "corda", "corda_config": {"corda_method": "ipm"}})", "init_lora_weights corda takes"},
        {R"({"init_lora_weights": "lora_ga"})", "takes out of the base"},
        {R"({"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}})", "in the place of the base"},
        {R"({"init_lora_weights": "banana"})", "is not known: it may have changed the base"},
        {R"({"init_lora_weights": "olora"})", "olora"},
        {R"({"init_lora_weights": 3})", "init_lora_weights must be a text"},
        {R"({"use_bdlora": {"nblocks": 2}})", "use_bdlora is set"},
        {R"({"use_qalora": true})", "use_qalora is set"},
        {R"({"layer_replication": [[0, 1]]})", "layer_replication is set"},
        {R"({"target_parameters": ["x"]})", "target_parameters"},
        {R"({"alora_invocation_tokens": [1]})", "alora_invocation_tokens"},
        {R"({"future_field": 1})", "future_field is set"},
        {R"({"loftq_config": {"bits": 4}})", "loftq_config is set"},
        {R"({"r": 0})", "r must be from 1"},
        {R"({"r": 4.5})", "r must be a whole number"},
        {R"({"lora_alpha": "8"})", "lora_alpha must be a number"},
        {R"({"lora_dropout": 1})", "lora_dropout"},
        {R"({"rank_pattern": {"q_proj": 0}})", "rank_pattern q_proj must be from 1"},
        {R"({"rank_pattern": [1]})", "rank_pattern"},
        {R"({"alpha_pattern": {"q_proj": "x"}})", "alpha_pattern q_proj must be a number"},
        {R"({"target_modules": "all-linear", "layers_to_transform": [0]})", "layers_to_transform"},
        {R"({"target_modules": ".*", "layers_to_transform": 0})", "layers_to_transform"},
        {R"({"layers_pattern": "layers"})", "layers_pattern"},
        {R"({"target_modules": ""})", "empty text"},
        {R"({"target_modules": [1]})", "target_modules must be a text"},
        {R"({"target_modules": {}})", "target_modules must be a text"},
    };
    for (const auto& item : cases) {
        const char *patch = item.first, *says = item.second;
        const std::string text = refusal([&] { with(patch); });
        INFO(patch << " → " << text);
        CHECK(text.starts_with("adapter_config.json: "));
        CHECK(text.find(says) != std::string::npos);
    }
    CHECK_THROWS_AS(graft::parse_adapter_config("[]", "FILE"), graft::Error);
    CHECK_THROWS_WITH_AS(graft::read_adapter_config(graft_test::repo()),
                         doctest::Contains("there is no adapter_config.json"), graft::Error);
}

TEST_CASE("targets, patterns and layers")
{
    CHECK(targets("{}").size() == 24);
    CHECK(targets(R"({"target_modules": ["self_attn.q_proj"]})").size() == 12);
    CHECK(targets(R"({"target_modules": "all-linear"})").size() == 84);
    CHECK(targets(R"({"target_modules": "all-linear", "exclude_modules": ["down_proj", "model.layers.0.mlp.up_proj"]})")
              .size()
          == 71);
    CHECK(targets(R"({"exclude_modules": ".*v_proj"})").size() == 12);
    CHECK(targets(R"({"target_modules": "model\\.layers\\.1\\d?\\..*_proj"})").size() == 3 * 7);
    const auto first = targets(R"({"layers_to_transform": 1})");
    CHECK(first.size() == 2);
    CHECK(first.contains("model.layers.1.self_attn.q_proj"));
    CHECK(targets(R"({"layers_to_transform": [1, 11], "layers_pattern": "layers"})").size() == 4);
    // A name given wholly is taken whatever its layer.
    CHECK(targets(R"({"layers_to_transform": [1], "target_modules": ["q_proj", "model.layers.3.self_attn.q_proj"]})")
              .size()
          == 2);

    const auto t =
        targets(R"({"rank_pattern": {"^model.layers.0.self_attn.q_proj": 2, "layers.1.self_attn.q_proj": 3, "_proj": 9,
                               "q_proj": 16}, "alpha_pattern": {"v_proj": 2}})");
    CHECK(t.at("model.layers.0.self_attn.q_proj") == std::pair<std::int64_t, double>{2, 4});
    CHECK(t.at("model.layers.1.self_attn.q_proj").first == 3);
    CHECK(t.at("model.layers.11.self_attn.q_proj").first == 16);  // "_proj" must follow a dot
    CHECK(t.at("model.layers.0.self_attn.v_proj") == std::pair<std::int64_t, double>{4, 0.5});
    CHECK(targets(R"({"use_rslora": true})").begin()->second.second == 4);

    const auto says = [](const std::string& patch) { return refusal([&] { targets(patch); }); };
    CHECK(says(R"({"target_modules": ["proj"]})").find("no module of this model is meant by target_modules (proj)")
          != std::string::npos);
    CHECK(says(R"({"target_modules": []})") != "");
    CHECK(says(R"({"target_modules": ".*"})").find("no linear layer") != std::string::npos);
    CHECK(says(R"({"target_modules": "("})").find("regular expression") != std::string::npos);
    CHECK(says(R"({"rank_pattern": {"a)|(b": 2}})").find("regular expression") != std::string::npos);
    CHECK(graft::adapter_targets(with(R"({"target_modules": ["q_proj", "c_attn"]})"), model()).unmatched
          == std::vector<std::string>{"c_attn"});
    // What is excluded wholly is a module all the same; so is one of a layer that is not listed.
    CHECK(graft::adapter_targets(with(R"({"target_modules": ["q_proj", "o_proj"], "exclude_modules": ["o_proj"]})"),
                                 model())
              .unmatched.empty());
    CHECK(graft::adapter_targets(
              with(R"({"target_modules": ["q_proj", "layers.0.mlp.up_proj"], "layers_to_transform": [1]})"), model())
              .unmatched.empty());
}

TEST_CASE("what is written is read back, and overlapping patterns are not written")
{
    auto c = with(R"({"lora_alpha": 6.5, "target_modules": "all-linear", "base_model_name_or_path": "models/é",
                      "rank_pattern": {"q_proj": 2}})");
    const auto text = graft::adapter_config_text(c, model(), "FILE");
    CHECK(text.starts_with("{\n  \"alora_invocation_tokens\": null,\n  \"alpha_pattern\": {},\n"));
    CHECK(text.find("\"lora_alpha\": 6.5,\n  \"lora_bias\": false,\n  \"lora_dropout\": 0.0,") != std::string::npos);
    CHECK(text.find("models/\\u00e9") != std::string::npos);
    const auto again = graft::parse_adapter_config(text, "FILE");
    CHECK(again.targets.names.size() == 84);
    CHECK(again.base_model == c.base_model);
    CHECK(graft::adapter_config_text(again, model(), "FILE") == text);

    c = with(R"({"rank_pattern": {"q_proj": 2, "layers.1.self_attn.q_proj": 6}})");
    CHECK(refusal([&] { graft::adapter_config_text(c, model(), "FILE"); }).find("model.layers.1.self_attn.q_proj")
          != std::string::npos);
    c = with(R"({"rank_pattern": {"layers.1.self_attn.q_proj": 6, "q_proj": 2}})");
    CHECK(graft::adapter_config_text(c, model(), "FILE") != "");
}

TEST_CASE("adapters of the reference: the same modules and ranks, or refused by name")
{
    const auto data = graft_test::data();
    if (!data) { return graft_test::skip("GRAFT_TEST_DATA is not set"); }
    const std::set<std::string> plain{"lora_all_linear",
                                      "lora_qv",
                                      "rslora",
                                      "qwen2_all_linear",
                                      "patterns",
                                      "regex_targets",
                                      "exclude_modules",
                                      "layers_to_transform",
                                      "modules_to_save",
                                      "tied_modules_to_save_both",
                                      "tied_modules_to_save_embed",
                                      "tied_modules_to_save_both_ensure",
                                      "trainable_tokens",
                                      "tied_trainable_tokens",
                                      "embedding",
                                      "tied_embedding",
                                      "head"};
    int read = 0, refused = 0;
    for (const auto& entry : fs::directory_iterator(*data / "golden" / "peft")) {
        const std::string name = entry.path().filename().string();
        if (!fs::exists(entry.path() / "adapter_config.json")) { continue; }
        INFO(name);
        const auto expected = graft::read_json(entry.path() / "expected.json");
        graft::AdapterTargets found;
        graft::ModelConfig base;
        const std::string text = refusal([&] {
            const auto adapter = graft::read_adapter_config(entry.path());
            base = graft::read_config(entry.path() / graft::json_string(expected, "base", name));
            found = graft::adapter_targets(adapter, base);
            const auto again = graft::adapter_config_text(adapter, base, name);
            CHECK(graft::adapter_targets(graft::parse_adapter_config(again, name), base).parameters()
                  == found.parameters());
        });
        CHECK(text.empty() == plain.contains(name));
        if (!text.empty()) {
            MESSAGE(name << ": " << text.substr(text.rfind('/') + 1));
            refused += graft_test::of_known_family(entry.path());
            continue;
        }
        std::map<std::string, std::vector<std::int64_t>> wanted, got;
        for (const auto& item : expected["trainable"].items()) {
            wanted[item.key()] = item.value().get<std::vector<std::int64_t>>();
        }
        for (const auto& t : found.modules) {
            got["base_model.model." + t.a()] = {t.rank, t.in};
            got["base_model.model." + t.b()] = {t.out, t.rank};
        }
        for (const auto& module : found.saved.modules) {
            got["base_model.model." + module + ".weight"] = {base.vocab, base.dim};
        }
        if (!found.tokens.empty()) {
            got["base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"] = {
                std::int64_t(found.tokens.size()), base.dim};
        }
        CHECK(wanted == got);
        read += 1;
    }
    CHECK(read == static_cast<int>(plain.size()));
    CHECK(refused == 6);  // of the families that are read: DoRA and biases
}

TEST_CASE("every config sample is read with its values, or refused by the name of the field")
{
    const auto data = graft_test::data();
    if (!data) { return graft_test::skip("GRAFT_TEST_DATA is not set"); }
    struct Read {
        std::int64_t rank;
        double alpha, dropout;
        bool rslora;
        std::vector<std::string> targets;  // none: the family's own
    };
    const std::vector<std::string> mlp{"gate_proj", "up_proj", "down_proj"}, qv{"q_proj", "v_proj"};
    const std::string llama = "peft-repo--lora-llama-3.2-3B-";
    const std::map<std::string, Read> read{
        {llama + "rank10-target-mlp", {10, 20, 0, false, mlp}},
        {llama + "rank32-lorafa", {32, 64, 0, false, {}}},  // LoRA-FA is an optimiser: the adapter is plain
        {llama + "rank32", {32, 64, 0, false, {}}},
        {llama + "rank64-rslora", {64, 64, 0, true, {}}},
        {"v0.13-llama3.2-1b", {64, 16, 0.1, false, qv}},
        {"v0.15-llama3.2-1b", {8, 16, 0.05, false, qv}},
        {"v0.17-llama3.2-1b",
         {16, 16, 0.05, false, {"up_proj", "gate_proj", "down_proj", "v_proj", "q_proj", "k_proj", "o_proj"}}},
        {"v0.18.1-gemma-2b", {4, 8, 0.05, false, qv}},
        {"v0.19.1-qwen2.5-0.5b", {8, 16, 0.05, false, qv}},
        {"v0.20.0-qwen2.5-1.5b",
         {16, 32, 0.05, false, {"k_proj", "v_proj", "o_proj", "down_proj", "q_proj", "gate_proj", "up_proj"}}},
        {"v0.21.0-smollm2-360m", {8, 16, 0.05, false, {"o_proj", "v_proj", "k_proj", "q_proj"}}},
    };
    const std::map<std::string, std::string> refused{
        {"peft-repo--adalora-llama-3.2-3B-rank32", "peft_type ADALORA"},
        {"peft-repo--ia3-llama-3.2-3B-default", "peft_type IA3"},
        {"peft-repo--oft-llama-3.2-3B-rank32", "peft_type OFT"},
        {llama + "rank14-target-mlp-bdlora", "use_bdlora is set"},
        {llama + "rank32-dora", "use_dora is set"},
        {"v0.10-gpt2-conv1d", "fan_in_fan_out is set"},
    };
    std::set<std::string> seen;
    for (const auto& entry : fs::directory_iterator(*data / "data" / "adapters" / "peft_config_samples")) {
        const std::string name = entry.path().stem().string();
        INFO(name);
        seen.insert(name);
        graft::AdapterConfig c;
        const std::string text = refusal([&] { c = graft::read_adapter_config(entry.path()); });
        INFO(text);
        if (const auto at = refused.find(name); at != refused.end()) {
            CHECK(text.starts_with(entry.path().string() + ": " + at->second));
            continue;
        }
        REQUIRE(read.contains(name));  // a sample that nobody decided about
        CHECK(text == "");
        const Read& want = read.at(name);
        CHECK(c.rank == want.rank);
        CHECK(c.alpha == want.alpha);
        CHECK(c.dropout == want.dropout);
        CHECK(c.rslora == want.rslora);
        CHECK(c.targets.kind == (want.targets.empty() ? Kind::none : Kind::list));
        CHECK(c.targets.names == want.targets);
        CHECK(c.init == graft::AdapterInit::kaiming);
        CHECK(c.rank_pattern.empty());
        CHECK(c.exclude.kind == Kind::none);
        CHECK(c.layers_to_transform.empty());
    }
    CHECK(seen.size() == read.size() + refused.size());
}

TEST_CASE("a config sample with one field more is refused by that field, and by no other")
{
    const auto data = graft_test::data();
    if (!data) { return graft_test::skip("GRAFT_TEST_DATA is not set"); }
    // The last row of the table of fields: not plain LoRA. Without effect they are there in every file.
    const auto path = *data / "data/adapters/peft_config_samples/v0.21.0-smollm2-360m.json";
    const auto config = graft::read_json<graft::OrderedJson>(path);
    for (const char* key : {"layer_replication", "target_parameters", "megatron_config", "loftq_config", "eva_config",
                            "corda_config", "lora_ga_config", "velora_config", "alora_invocation_tokens", "use_qalora",
                            "monteclora_config", "arrow_config", "kasa_config", "use_bdlora", "a_field_of_tomorrow"}) {
        INFO(key);
        for (const char* nothing : {"null", "false", "{}", "[]"}) {
            auto other = config;
            other[key] = graft::OrderedJson::parse(nothing);
            CHECK(graft::parse_adapter_config(other.dump(), "FILE").rank == 8);
        }
        auto other = config;
        other[key] = graft::OrderedJson::parse(R"({"x": 1})");
        const auto text = refusal([&] { graft::parse_adapter_config(other.dump(), "FILE"); });
        CHECK(text.starts_with("FILE: " + std::string(key) + " is set"));
    }
    // Safe whatever they hold.
    for (const char* key : {"peft_version", "auto_mapping", "megatron_core", "qalora_group_size", "runtime_config",
                            "inference_mode", "base_model_name_or_path", "revision"}) {
        INFO(key);
        auto other = config;
        const std::string name = key;
        other[key] = name == "qalora_group_size"                          ? graft::OrderedJson(32)
                     : name == "inference_mode"                           ? graft::OrderedJson(false)
                     : name == "runtime_config" || name == "auto_mapping" ? graft::OrderedJson::parse(R"({"x": 1})")
                                                                          : graft::OrderedJson("other");
        CHECK(graft::parse_adapter_config(other.dump(), "FILE").rank == 8);
    }
}

TEST_CASE("modules_to_save: found by their endings, without an adapter of their own, refused where they are linears")
{
    using Names = std::vector<std::string>;
    const auto saved = [](const char* patch, bool tied = false) {
        auto base = model();
        base.tied = tied;
        return graft::adapter_targets(with(patch), base).saved;
    };
    CHECK(saved("{}").empty());
    CHECK(saved(R"({"modules_to_save": ["lm_head", "embed_tokens"]})").modules
          == Names{"model.embed_tokens", "lm_head"});
    CHECK(saved(R"({"modules_to_save": ["model.norm"]})").modules == Names{"model.norm"});
    CHECK(saved(R"({"modules_to_save": ["norm"]})").modules.size() == 1 + 2 * std::size_t(model().layers));

    // A tied pair: two tensors, or one that either name means.
    const auto apart = saved(R"({"modules_to_save": ["embed_tokens"]})", true);
    CHECK((apart.untie && !apart.shared));
    for (const char* name : {"embed_tokens", "lm_head"}) {
        const auto text = std::string(R"({"ensure_weight_tying": true, "modules_to_save": [")") + name + "\"]}";
        const auto one = saved(text.c_str(), true);
        CHECK((one.shared && !one.untie));
        CHECK(one.modules == Names{"model.embed_tokens"});
        CHECK(one.tensors() == Names{"model.embed_tokens.weight", "lm_head.weight"});
        CHECK(!saved(text.c_str()).shared);
    }
    CHECK(!saved(R"({"modules_to_save": ["norm"]})", true).untie);

    const std::pair<const char*, const char*> cases[] = {
        {R"({"modules_to_save": ["q_proj"]})", "q_proj, which means model.layers.0"},
        {R"({"modules_to_save": ["mlp"]})", "mlp, which means model.layers.0.mlp"},
        {R"({"modules_to_save": ["score"]})", "score, which the model does not have"},
    };
    for (const auto& item : cases) {
        const char *patch = item.first, *says = item.second;
        const std::string text = refusal([&] { saved(patch); });
        INFO(text);
        CHECK(text.find(says) != std::string::npos);
    }
}

TEST_CASE("adapters on embedding and head: found by name, never by all-linear; of a tied model, the model is untied")
{
    using Names = std::vector<std::string>;
    const auto targets = [](const char* patch, bool tied = false) {
        auto base = model();
        base.tied = tied;
        return graft::adapter_targets(with(patch), base);
    };
    const auto names = [](const graft::AdapterTargets& found) {
        Names out;
        for (const auto& target : found.modules) { out.push_back(target.a()), out.push_back(target.b()); }
        return out;
    };
    const auto both = targets(R"({"target_modules": ["lm_head", "embed_tokens"], "r": 3})");
    CHECK(names(both)
          == Names{"model.embed_tokens.lora_embedding_A", "model.embed_tokens.lora_embedding_B",
                   "lm_head.lora_A.weight", "lm_head.lora_B.weight"});
    const auto base = model();
    CHECK(both.modules[0].in == base.vocab);
    CHECK(both.modules[0].out == base.dim);
    CHECK(both.modules[1].in == base.dim);
    CHECK(both.modules[1].out == base.vocab);
    CHECK(both.parameters() == 2 * 3 * (base.vocab + base.dim));
    CHECK(both.on_tables());
    CHECK_FALSE(both.saved.untie);
    for (const char* one : {R"({"target_modules": ["embed_tokens"]})", R"({"target_modules": ["lm_head"]})"}) {
        CHECK(targets(one, true).saved.untie);
    }
    const auto all = targets(R"({"target_modules": "all-linear"})", true);
    CHECK_FALSE(all.on_tables());
    CHECK_FALSE(all.saved.untie);
    const std::pair<const char*, const char*> cases[] = {
        {R"({"target_modules": ["embed_tokens"], "ensure_weight_tying": true})", "goes with ensure_weight_tying false"},
        {R"({"target_modules": ["lm_head"], "trainable_token_indices": [1]})", "not beside LoRA on lm_head"},
        {R"({"target_modules": ["norm"]})", "which is no linear layer"},
    };
    for (const auto& item : cases) {
        const char *patch = item.first, *says = item.second;
        const std::string text = refusal([&] { targets(patch, true); });
        INFO(text);
        CHECK(text.find(says) != std::string::npos);
    }
}

TEST_CASE("trainable_token_indices: a list, or one of embed_tokens; inside the vocabulary, each token once")
{
    const auto tokens = [](const char* patch) { return graft::adapter_targets(with(patch), model()).tokens; };
    using Tokens = std::vector<std::int32_t>;
    CHECK(tokens("{}").empty());
    CHECK(tokens(R"({"trainable_token_indices": [5, 3]})") == Tokens{5, 3});
    CHECK(tokens(R"({"trainable_token_indices": {"embed_tokens": [5, 3]}})") == Tokens{5, 3});
    const std::pair<const char*, const char*> cases[] = {
        {R"({"trainable_token_indices": [3, 5, 3]})", "3 is there twice"},
        {R"({"trainable_token_indices": [-1]})", "-1 is outside the vocabulary"},
        {R"({"trainable_token_indices": [999999999]})", "999999999 is outside the vocabulary"},
        {R"({"trainable_token_indices": [1], "modules_to_save": ["embed_tokens"]})", "the whole embedding already"},
    };
    for (const auto& item : cases) {
        const char *patch = item.first, *says = item.second;
        const std::string text = refusal([&] { tokens(patch); });
        INFO(text);
        CHECK(text.find(says) != std::string::npos);
    }
}

TEST_CASE("init_lora_weights: starts that leave the base as it is are read, with their settings")
{
    const auto init = [](const char* patch) { return with(patch).init; };
    using graft::AdapterInit;
    CHECK(init(R"({"init_lora_weights": "eva", "eva_config": {"rho": 2.0, "tau": 0.99}})") == AdapterInit::kaiming);
    CHECK(init(R"({"init_lora_weights": "orthogonal"})") == AdapterInit::kaiming);
    CHECK(init(R"({"init_lora_weights": "Gaussian"})") == AdapterInit::gaussian);
    CHECK(init(R"({"init_lora_weights": "mica"})") == AdapterInit::mica);
    CHECK(refusal([&] { init(R"({"eva_config": {"rho": 2.0}})"); }).find("eva_config is set") != std::string::npos);
    CHECK(init(R"({"init_lora_weights": false})") == AdapterInit::none);
    for (const char* name : {"eva", "orthogonal", "mica"}) {  // once it goes on, how it began says nothing
        const auto config = with((R"({"init_lora_weights": ")" + std::string(name) + "\"}").c_str());
        const auto text = graft::adapter_config_text(config, model(), "test");
        CHECK(nlohmann::json::parse(text).at("init_lora_weights") == true);
    }
}
