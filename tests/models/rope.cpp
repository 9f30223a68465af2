#include "golden_support.hpp"

#include "graft/checkpoint/hf_config.hpp"
#include "graft/cpu.hpp"
#include "graft/io/json_file.hpp"
#include "graft/models/generate.hpp"

// Angles of scaled positions against recorded numbers, and what does not depend on the length of a table.
using namespace graft_test;

namespace {

// A config with these settings and positions, as transformers 5 spells it.
graft::ModelConfig config_of(const nlohmann::json& rope, std::int64_t head, std::int64_t positions)
{
    const nlohmann::json json = {
        {"model_type", "llama"},    {"vocab_size", 19},       {"hidden_size", 2 * head},
        {"intermediate_size", 24},  {"num_hidden_layers", 2}, {"num_attention_heads", 2},
        {"num_key_value_heads", 1}, {"head_dim", head},       {"max_position_embeddings", positions},
        {"rope_parameters", rope}};
    return graft::parse_config(json.dump(), "config.json");
}

template <class T> graft::AnyModel<T> random_model(const graft::ModelConfig& config)
{
    auto model = graft::make_model<T>(config, {.base = graft::Base::trained, .train_rest = true});
    std::uint64_t draw = 0;
    auto trained = graft::trained_tensors(model);
    for (auto& tensor : trained) {
        auto values = tensor.value.view();
        const bool norm = tensor.name.find("norm") != std::string::npos;
        for (std::int64_t i = 0; i < values.rows; ++i) {
            for (std::int64_t j = 0; j < values.cols(); ++j) {
                const auto word = graft::Philox{7}(draw++, 1)[0];
                values.row(i)[j] = norm ? 1 : graft::acc<T>((double(word) * 0x1p-32 - 0.5) * 0.6);
            }
        }
        graft::refresh(tensor);
    }
    return model;
}

std::vector<std::int32_t> some_ids(std::int64_t count)
{
    std::vector<std::int32_t> ids;
    for (std::int64_t i = 0; i < count; ++i) { ids.push_back(std::int32_t((i * i * 5 + i / 7 + 3) % 19)); }
    return ids;
}

// The logits of the first `rows` rows of one document, from a table for `positions`.
template <class T>
std::vector<T> first_logits(const graft::AnyModel<T>& model, std::int64_t tokens, std::int64_t positions,
                            std::int64_t rows)
{
    const auto logits = model(graft::no_tape, golden_ids(some_ids(tokens)),
                              graft::context_for<T, graft::Cpu>({tokens}, model.positions(positions)));
    std::vector<T> out;
    for (std::int64_t i = 0; i < rows; ++i) {
        out.insert(out.end(), logits.view().row(i), logits.view().row(i) + logits.cols());
    }
    return out;
}

template <class T> bool same_bits(const std::vector<T>& a, const std::vector<T>& b)
{
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

const nlohmann::json plain = {{"rope_type", "default"}};
const nlohmann::json linear = {{"rope_type", "linear"}, {"factor", 2}};
const nlohmann::json yarn = {{"rope_type", "yarn"}, {"factor", 4}, {"original_max_position_embeddings", 2048}};
const nlohmann::json llama3 = {{"rope_type", "llama3"},
                               {"factor", 8},
                               {"low_freq_factor", 1},
                               {"high_freq_factor", 4},
                               {"original_max_position_embeddings", 1024}};
const nlohmann::json dynamic = {{"rope_type", "dynamic"}, {"factor", 4}};
const nlohmann::json longrope = {{"rope_type", "longrope"},
                                 {"short_factor", {1, 1.5, 2, 2.5}},
                                 {"long_factor", {2, 3, 4, 5}},
                                 {"original_max_position_embeddings", 24}};

}  // namespace

TEST_CASE("golden rope: frequencies, attention factor, cos and sin of every kind of scaling")
{
    const auto root = data();
    if (!root) { return skip("GRAFT_TEST_DATA is not set"); }
    const auto recorded = graft::read_json(*root / "golden/rope.json");
    CHECK(recorded.size() == 16);
    for (const auto& [key, value] : recorded.items()) {
        const std::string name = key;  // clang 14 captures no structured binding
        const auto& at = value;
        CAPTURE(name);
        const auto head = at.at("head_dim").get<std::int64_t>();
        auto said = at.at("rope_parameters");
        const auto partial = said.value("partial_rotary_factor", 1.0);
        said.erase("partial_rotary_factor");  // models here turn whole heads; the angles know of no head
        const auto config = config_of(said, head, at.at("max_position_embeddings").get<std::int64_t>());
        const auto last = at.at("last_position").get<std::int64_t>();
        const std::int64_t length = at.at("length").is_null() ? last + 1 : at.at("length").get<std::int64_t>();
        const auto n = std::int64_t(double(head) * partial);
        const auto angles = graft::rope_angles(config.rope, n, length);

        const auto frequencies = at.at("inv_freq").get<std::vector<double>>();
        REQUIRE(angles.frequencies.size() == frequencies.size());
        for (std::size_t i = 0; i < frequencies.size(); ++i) {
            CHECK(angles.frequencies[i] == doctest::Approx(frequencies[i]).epsilon(1e-14));
        }
        CHECK(angles.attention == doctest::Approx(at.at("attention_factor").get<double>()).epsilon(1e-14));

        const auto table = graft::rope_table<double, graft::Cpu>(angles, last + 1);
        const auto cos = at.at("cos_at_last_position").get<std::vector<double>>();
        const auto sin = at.at("sin_at_last_position").get<std::vector<double>>();
        for (std::size_t i = 0; i < cos.size(); ++i) {
            CHECK(std::abs(table->cos.view().row(last)[i] - cos[i]) <= 1e-12);
            CHECK(std::abs(table->sin.view().row(last)[i] - sin[i]) <= 1e-12);
        }
    }
}

TEST_CASE("rope angles: what llama3 and yarn leave, divide and mix (Llama-3.1-8B; Qwen2.5 with yarn)")
{
    const auto eight =
        graft::rope_angles({.theta = 5e5, .kind = graft::RopeKind::llama3, .factor = 8, .original = 8192}, 128, 100)
            .frequencies;
    const auto plain_eight = graft::rope_angles({.theta = 5e5}, 128, 100).frequencies;
    for (std::size_t i = 0; i < 64; ++i) {
        CAPTURE(i);
        if (i <= 28) { CHECK(eight[i] == plain_eight[i]); }
        if (i >= 35) { CHECK(eight[i] == plain_eight[i] / 8); }
    }
    CHECK(eight[28] == doctest::Approx(3.211445995e-03).epsilon(1e-9));
    CHECK(eight[31] == doctest::Approx(8.567514129e-04).epsilon(1e-9));
    CHECK(eight[34] == doctest::Approx(1.785078128e-04).epsilon(1e-9));

    const auto seven =
        graft::rope_angles({.theta = 1e6, .kind = graft::RopeKind::yarn, .factor = 4, .original = 32768}, 128, 100)
            .frequencies;
    CHECK(seven[23] == doctest::Approx(6.978305849e-03).epsilon(1e-9));
    CHECK(seven[30] == doctest::Approx(1.064360981e-03).epsilon(1e-9));
    CHECK(seven[40] == doctest::Approx(4.445698525e-05).epsilon(1e-9));
}

TEST_CASE("rope angles: what cannot be is refused, also where no file said it")
{
    using graft::RopeKind;
    const auto says = [](const graft::RopeSettings& rope, std::int64_t n) {
        return refusal([&] { graft::rope_angles(rope, n, 100); });
    };
    CHECK(says({}, 7).find("must be even") != std::string::npos);
    CHECK(says({.kind = RopeKind::yarn, .factor = 2}, 8).find("trained with") != std::string::npos);
    CHECK(says({.kind = RopeKind::dynamic, .factor = 2, .original = 8}, 2).find("more than two") != std::string::npos);
    CHECK(says({.kind = RopeKind::longrope, .original = 8, .short_factor = {1, 2}, .long_factor = {1}}, 4)
              .find("1 factors for 2 pairs")
          != std::string::npos);
}

TEST_CASE("how far a model's positions reach")
{
    CHECK(graft::covered_positions(config_of(plain, 8, 4096)) == 4096);
    CHECK(graft::covered_positions(config_of(linear, 8, 4096)) == 8192);
    CHECK(graft::covered_positions(config_of(dynamic, 8, 4096)) == 16384);
    CHECK(graft::covered_positions(config_of(yarn, 8, 2048)) == 8192);    // as Qwen's files have it
    CHECK(graft::covered_positions(config_of(yarn, 8, 16384)) == 16384);  // the file counts further
    CHECK(graft::covered_positions(config_of(llama3, 8, 4096)) == 4096);
    CHECK(graft::covered_positions(config_of(longrope, 8, 64)) == 64);
}

// A table for 8192 begins with the table for 4096, and a document of 8192 with the results of one of 4096: to the bit,
// as no row of any op before the head sees a later one.
TEST_CASE_TEMPLATE("same weights, equal results for the first 4096 positions at 4096 and at 8192", T, float,
                   graft::bf16)
{
    for (const auto& rope : {plain, linear, yarn, llama3}) {
        const std::string kind = rope.at("rope_type");
        CAPTURE(kind);
        const auto model = random_model<T>(config_of(rope, 8, 8192));
        const auto short_table = model.positions(4096), long_table = model.positions(8192);
        for (std::int64_t p = 0; p < 4096; ++p) {
            const std::size_t bytes = 4 * sizeof(graft::acc<T>);
            const bool same = std::memcmp(short_table->cos.view().row(p), long_table->cos.view().row(p), bytes) == 0
                              && std::memcmp(short_table->sin.view().row(p), long_table->sin.view().row(p), bytes) == 0;
            REQUIRE(same);
        }
        const std::int64_t most = std::is_same_v<T, float> && kind == "yarn" ? 4096 : 300;  // one kind in full
        const auto small = first_logits<T>(model, most, most, most);
        CHECK(same_bits(small, first_logits<T>(model, most, 8192, most)));      // the option alone
        CHECK(same_bits(small, first_logits<T>(model, 2 * most, 8192, most)));  // a longer document
    }
}

TEST_CASE("dynamic and longrope turn the first positions otherwise once a document may pass their border")
{
    for (const auto& rope : {dynamic, longrope}) {
        const std::string kind = rope.at("rope_type");
        CAPTURE(kind);
        const auto model = random_model<float>(config_of(rope, 8, kind == "dynamic" ? 24 : 96));
        const auto within = first_logits<float>(model, 16, 16, 16);
        CHECK(same_bits(within, first_logits<float>(model, 16, 24, 16)));
        CHECK(same_bits(within, first_logits<float>(model, 24, 24, 16)));
        CHECK(!same_bits(within, first_logits<float>(model, 16, 25, 16)));
        const bool again = same_bits(first_logits<float>(model, 16, 25, 16), first_logits<float>(model, 16, 90, 16));
        CHECK(again == (kind == "longrope"));  // two sets of angles, or one for each length
    }
}

// Each new token against a model that reads everything before it again at that length.
TEST_CASE("generate follows the length: longrope wholly, dynamic up to its border, and neither depends on max_tokens")
{
    for (const auto& rope : {dynamic, longrope}) {
        const std::string kind = rope.at("rope_type");
        CAPTURE(kind);
        const auto model = random_model<double>(config_of(rope, 8, kind == "dynamic" ? 24 : 96));
        const auto prompt = some_ids(17);
        const auto found = graft::generate(model, prompt, {.max_tokens = 40});
        REQUIRE(found.size() == 40);
        auto text = prompt;
        for (const std::int32_t id : found) {
            const auto n = std::int64_t(text.size());
            if (kind == "dynamic" && n > 24) { break; }  // keys stay as they were turned
            const auto logits = model(graft::no_tape, golden_ids(text),
                                      graft::context_for<double, graft::Cpu>({n}, model.positions(n)));
            const double* last = logits.view().row(n - 1);
            CAPTURE(n);
            CHECK(id == std::max_element(last, last + logits.cols()) - last);
            text.push_back(id);
        }
        const auto fewer = graft::generate(model, prompt, {.max_tokens = 11});
        CHECK(std::equal(fewer.begin(), fewer.end(), found.begin()));
        const auto border = graft::covered_positions(model.config);
        CHECK(refusal([&] { graft::generate(model, prompt, {.max_tokens = border - 16}); }).find("96 positions")
              != std::string::npos);
    }
}
