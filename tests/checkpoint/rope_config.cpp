#include "graft/checkpoint/rope_config.hpp"

#include "graft/checkpoint/hf_config.hpp"

#include "files.hpp"
#include "support.hpp"

// Rotary scalings in config.json, in every spelling, and those that an option names.
namespace {

using graft::OrderedJson;
using graft::RopeKind;
using graft::RopeSettings;

OrderedJson small()
{
    return OrderedJson::parse(R"({"model_type": "llama", "vocab_size": 107, "hidden_size": 32, "intermediate_size": 72,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64})");
}

graft::ModelConfig with(const std::string& patch)
{
    OrderedJson json = small();
    json.update(OrderedJson::parse(patch));
    return graft::parse_config(json.dump(), "config.json");
}

template <class Call> std::string refusal_of(Call&& call)
{
    try {
        call();
    } catch (const graft::Error& error) {
        CHECK(std::string(error.what()).find('\n') == std::string::npos);
        return error.what();
    }
    return "";
}

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

const std::string lists = R"("short_factor": [1, 1.5, 2, 2.5], "long_factor": [2, 3, 4, 5])";

// Reads with `old` as rope_scaling and as rope_parameters, with rope_type and with type: all four say the same.
RopeSettings scaled(const std::string& type, const std::string& fields)
{
    const auto text = [&](const char* key, const char* name) {
        return std::string("{\"") + key + "\": {\"" + name + "\": \"" + type + "\"" + (fields.empty() ? "" : ", ")
               + fields + "}}";
    };
    const RopeSettings first = with(text("rope_scaling", "rope_type")).rope;
    CHECK(first == with(text("rope_scaling", "type")).rope);
    CHECK(first == with(text("rope_parameters", "rope_type")).rope);
    CHECK(first == with(text("rope_parameters", "type")).rope);
    return first;
}

}  // namespace

TEST_CASE("every kind, in both spellings, with the least fields")
{
    CHECK(scaled("default", "") == RopeSettings{});
    CHECK(scaled("linear", "\"factor\": 3") == RopeSettings{.kind = RopeKind::linear, .factor = 3});
    CHECK(scaled("dynamic", "\"factor\": 3") == RopeSettings{.kind = RopeKind::dynamic, .factor = 3, .original = 64});
    CHECK(scaled("llama3", R"("factor": 8, "low_freq_factor": 1, "high_freq_factor": 4)")
          == RopeSettings{.kind = RopeKind::llama3, .factor = 8, .low = 1, .high = 4, .original = 64});
    const auto yarn = scaled("yarn", "\"factor\": 4");
    CHECK(yarn.kind == RopeKind::yarn);
    CHECK(yarn.original == 64);
    CHECK(yarn.attention == doctest::Approx(1.1386294361119891).epsilon(1e-15));
    CHECK(yarn.beta_fast == 32);
    CHECK(yarn.beta_slow == 1);
    CHECK(yarn.truncate);
    const auto longrope = scaled("longrope", lists);
    CHECK(longrope.kind == RopeKind::longrope);
    CHECK(longrope.original == 64);
    CHECK(longrope.attention == 1);  // nothing says how far it is stretched
    CHECK(longrope.short_factor == std::vector<double>{1, 1.5, 2, 2.5});
    CHECK(longrope.long_factor == std::vector<double>{2, 3, 4, 5});
}

TEST_CASE("fields that may be absent, and their old names")
{
    const auto original = [](const std::string& patch) { return with(patch).rope.original; };
    CHECK(original(R"({"rope_scaling": {"type": "yarn", "factor": 2, "original_max_position_embeddings": 16}})") == 16);
    CHECK(original(R"({"original_max_position_embeddings": 8,
                       "rope_scaling": {"type": "yarn", "factor": 2, "original_max_position_embeddings": 16}})")
          == 8);
    CHECK(original(R"({"original_max_position_embeddings": 8, "rope_scaling": {"type": "dynamic", "factor": 2}})")
          == 64);
    CHECK(original(R"({"original_max_position_embeddings": 8, "rope_scaling": {"type": "su", )" + lists + "}}") == 8);

    const auto attention = [](const std::string& more) {
        return with(R"({"rope_scaling": {"type": "yarn", "factor": 40, )" + more + "}}").rope.attention;
    };
    CHECK(attention(R"("attention_factor": 1.25, "mscale": 0.707, "mscale_all_dim": 1.3)") == 1.25);
    CHECK(attention(R"("mscale": 0.707, "mscale_all_dim": 1.3)") == doctest::Approx(0.8521510516131852).epsilon(1e-15));
    const double alone = attention(R"("truncate": false)");
    CHECK(alone == doctest::Approx(1.3688879454113936).epsilon(1e-15));
    CHECK(attention(R"("mscale": 0.707)") == alone);
    CHECK(attention(R"("mscale": 0.707, "mscale_all_dim": 0)") == alone);
    CHECK(attention(R"("mscale": null, "mscale_all_dim": 1, "attention_factor": null)") == alone);
    CHECK(with(R"({"rope_scaling": {"type": "yarn", "factor": 0.5}})").rope.attention == 1);

    const auto betas = with(R"({"rope_scaling": {"type": "yarn", "factor": 4, "beta_fast": 0, "beta_slow": null,
                                "truncate": false}})")
                           .rope;
    CHECK(betas.beta_fast == 32);
    CHECK(betas.beta_slow == 1);
    CHECK(!betas.truncate);
    const auto ratio = with(R"({"rope_scaling": {"type": "yarn", "factor": null,
                                "original_max_position_embeddings": 16}})")
                           .rope;
    CHECK(ratio.factor == 4);

    const std::string phi = R"("original_max_position_embeddings": 16, )" + lists;
    const double grown = std::sqrt(1 + std::log(4.0) / std::log(16.0));
    for (const char* type : {"longrope", "su", "yarn"}) {
        const auto rope = with(R"({"rope_scaling": {"type": ")" + std::string(type) + "\", " + phi + "}}").rope;
        CHECK(rope.kind == RopeKind::longrope);
        CHECK(rope.attention == doctest::Approx(grown).epsilon(1e-15));
    }
    CHECK(with(R"({"rope_scaling": {"type": "longrope", "factor": 2, )" + phi + "}}").rope.attention
          == doctest::Approx(std::sqrt(1.25)).epsilon(1e-15));
    CHECK(with(R"({"rope_scaling": {"type": "su", "attention_factor": 1.5, )" + phi + "}}").rope.attention == 1.5);

    CHECK(with(R"({"rope_scaling": {"type": "linear", "factor": 2, "rope_theta": 7}, "rope_theta": 5})").rope.theta
          == 7);
    CHECK(with(R"({"rope_scaling": {"type": "linear", "factor": 2},
                   "rope_parameters": {"rope_type": "linear", "factor": 2, "rope_theta": 9}})")
              .rope.theta
          == 9);
}

TEST_CASE("what is missing or cannot be is named, with the file and the object")
{
    const std::pair<const char*, const char*> cases[] = {
        {R"("factor": 2)", "the field rope_type is missing"},
        {R"("type": "mrope", "factor": 2)", "of type mrope is not supported: default, linear, dynamic, llama3, yarn"},
        {R"("type": "linear")", "factor is missing"},
        {R"("type": "dynamic")", "factor is missing"},
        {R"("type": "yarn")", "factor is missing"},
        {R"("type": "linear", "factor": null)", "factor is missing"},
        {R"("type": "linear", "factor": 0)", "factor must be above 0, found 0"},
        {R"("type": "linear", "factor": -1)", "factor must be above 0, found -1"},
        {R"("type": "linear", "factor": "2")", "factor must be a number"},
        {R"("type": "llama3", "factor": 2)", "low_freq_factor is missing"},
        {R"("type": "llama3", "factor": 2, "low_freq_factor": 4, "high_freq_factor": 4)", "high_freq_factor"},
        {R"("type": "yarn", "factor": 2, "original_max_position_embeddings": 0)", "must be at least 1, found 0"},
        {R"("type": "yarn", "factor": 2, "original_max_position_embeddings": 1.5)", "must be a whole number"},
        {R"("type": "yarn", "factor": 2, "attention_factor": -1)", "attention_factor must be above 0"},
        {R"("type": "yarn", "factor": 2, "beta_fast": -1)", "beta_fast must be above 0"},
        {R"("type": "yarn", "factor": 2, "beta_fast": 1, "beta_slow": 2)", "beta_fast must not be below beta_slow"},
        {R"("type": "yarn", "factor": 2, "truncate": 1)", "truncate must be true or false"},
        {R"("type": "yarn", "factor": 2, "mscale": "x", "mscale_all_dim": 1)", "mscale must be a number"},
        {R"("type": "longrope", "long_factor": [1, 1, 1, 1])", "short_factor is missing"},
        {R"("type": "longrope", "short_factor": [1, 1, 1, 1])", "long_factor is missing"},
        {R"("type": "longrope", "short_factor": [1, 1, 1], "long_factor": [1, 1, 1, 1])",
         "short_factor must have half the head size, 4, of numbers, found 3"},
        {R"("type": "longrope", "short_factor": [1, 1, 1, 1], "long_factor": [1, 1, 0, 1])",
         "long_factor must hold numbers above 0, found 0"},
        {R"("type": "longrope", "short_factor": [1, 1, 1, "1"], "long_factor": [1, 1, 1, 1])",
         "short_factor must be a number"},
        {R"("type": "longrope", "short_factor": 1, "long_factor": [1, 1, 1, 1])", "short_factor must be a list"},
    };
    for (const auto& item : cases) {
        const char *fields = item.first, *part = item.second;
        for (const char* key : {"rope_scaling", "rope_parameters"}) {
            const std::string patch = std::string("{\"") + key + "\": {" + fields + "}}";
            const auto text = refusal_of([&] { with(patch); });
            INFO(patch << " → " << text);
            CHECK(says(text, part));
            CHECK(text.starts_with(std::string("config.json: ") + key));
        }
    }
    CHECK(says(refusal_of([] { with(R"({"rope_scaling": 2})"); }), "rope_scaling must be an object"));
    CHECK(says(refusal_of([] {
                   with(R"({"rope_scaling": {"type": "linear", "factor": 2},
                                        "rope_parameters": {"rope_type": "default"}})");
               }),
               "do not say the same"));
    CHECK(says(refusal_of([] {
                   with(R"({"head_dim": 2, "hidden_size": 8,
                                        "rope_scaling": {"type": "dynamic", "factor": 2}})");
               }),
               "dynamic needs a head size above 2"));
}

TEST_CASE("a named scaling over a config without one, written and read again")
{
    const graft_test::TempFolder temp;
    struct Named {
        const char* text;
        std::int64_t positions, covered;
        const char* said;
    };
    for (const Named& named : {Named{"linear:2", 64, 128, "linear, factor 2, from 64 to 128 positions"},
                               {"dynamic:2.5", 64, 160, "dynamic, factor 2.5, from 64 to 160 positions"},
                               {"yarn:4", 256, 256, "yarn, factor 4, from 64 to 256 positions"},
                               {"llama3:8", 512, 512, "llama3, factor 8, from 64 to 512 positions"}}) {
        for (const char* spelling :
             {R"({"rope_theta": 500.0, "torch_dtype": "bfloat16"})",
              R"({"rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}, "dtype": "bfloat16"})"}) {
            CAPTURE(named.text);
            CAPTURE(spelling);
            auto config = with(spelling);
            graft::name_scaling(config, named.text);
            CHECK(config.rope_named == named.text);
            CHECK(config.max_positions == named.positions);
            CHECK(graft::covered_positions(config) == named.covered);
            CHECK(graft::scaling_text(config) == named.said);

            OrderedJson json = small();
            json.update(OrderedJson::parse(spelling));
            graft::write_file(temp / "config.json", json.dump());
            const auto text = graft::config_text(temp.path(), "float32", config);
            graft::write_file(temp / "config.json", text);
            auto again = graft::read_config(temp.path());
            CHECK(again.rope == config.rope);
            CHECK(again.max_positions == config.max_positions);
            CHECK(again.rope_named == "");
            CHECK(OrderedJson::parse(text).contains("rope_scaling") == !json.contains("rope_parameters"));
            // The same option over the file that it wrote changes nothing; another one is refused.
            graft::name_scaling(again, named.text);
            CHECK(again.rope == config.rope);
            CHECK(again.max_positions == config.max_positions);
            CHECK(says(refusal_of([&] { graft::name_scaling(again, "linear:3"); }), "has a scaling already"));
        }
    }
    CHECK(graft::scaling_text(with("{}")) == "");
}

TEST_CASE("a named scaling that cannot be")
{
    for (const char* text : {"", "yarn", "yarn:", "yarn:x", "yarn:2x", "yarn: 2", ":2", "default:2", "nope:2", "su:2",
                             "longrope:2", "YARN:2", "yarn:0x2"}) {
        CAPTURE(text);
        auto config = with("{}");
        const auto found = refusal_of([&] { graft::name_scaling(config, text); });
        CAPTURE(found);
        CHECK(says(found, "must be a kind and a factor: linear:2, dynamic:2, yarn:4 or llama3:8"));
        CHECK(config.rope == RopeSettings{});
    }
    for (const char* text : {"yarn:1", "yarn:0.5", "yarn:-2", "yarn:inf", "yarn:nan", "yarn:1e300"}) {
        CAPTURE(text);
        auto config = with("{}");
        CHECK(says(refusal_of([&] { graft::name_scaling(config, text); }), "the factor must be above 1"));
    }
    auto config = with("{}");
    CHECK(says(refusal_of([&] { graft::name_scaling(config, "longrope:2"); }), "only a config.json can give"));
}
