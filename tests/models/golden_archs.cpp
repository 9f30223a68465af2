#include "golden_support.hpp"

#include "graft/checkpoint/hf_config.hpp"
#include "graft/cpu.hpp"
#include "graft/models/generate.hpp"

// golden/archs: tiny random models, logits, loss and every gradient as transformers computes them in f64.
using namespace graft_test;

namespace {

constexpr const char* archs[] = {"llama",
                                 "llama_headdim_bias",
                                 "llama_linear_rope",
                                 "llama_tied_llama3rope",
                                 "llama_yarn_rope",
                                 "llama_dynamic_rope",
                                 "qwen2"};
constexpr const char* spellings[] = {"config.json", "config.old_style.json"};

struct Arch {
    std::filesystem::path folder;
    nlohmann::json cases;
    graft::SafetensorsFile expected;
};

std::optional<Arch> arch(const std::string& name)
{
    const auto root = data();
    if (!root) {
        skip("GRAFT_TEST_DATA is not set");
        return std::nullopt;
    }
    const auto folder = *root / "golden/archs" / name;
    return Arch{folder, graft::read_json(folder / "cases.json"),
                graft::SafetensorsFile::open(folder / "expected.safetensors")};
}

template <class T> graft::AnyModel<T> trained_model(const Arch& from, const std::string& spelling)
{
    const auto config = graft::read_config(from.folder / spelling);
    auto model = graft::make_model<T>(config, {.base = graft::Base::trained, .train_rest = true});
    graft::load_weights(model, graft::Checkpoint::open(from.folder));
    return model;
}

}  // namespace

TEST_CASE_TEMPLATE("golden archs: logits, loss and every gradient, from both spellings of the config", T, float, double)
{
    for (const char* name : archs) {
        const auto golden = arch(name);
        if (!golden) { return; }
        for (const char* spelling : spellings) {
            auto model = trained_model<T>(*golden, spelling);
            for (const auto& [stored_key, recorded] : golden->cases.at("cases").items()) {
                const auto& key = stored_key;  // clang 14 captures no structured binding
                for (const bool recompute : {false, true}) {
                    CAPTURE(name);
                    CAPTURE(spelling);
                    CAPTURE(key);
                    CAPTURE(recompute);
                    const auto at = golden_case(recorded);
                    CHECK(at.targets == recorded.at("targets").template get<std::int64_t>());
                    check_golden(golden_errors(model, at, golden->expected, key + ".", double(recorded.at("loss")), "",
                                               recompute),
                                 golden_limits<T>());
                }
            }
        }
    }
}

TEST_CASE("golden archs: the number of parameters, a tied head counted once")
{
    for (const char* name : archs) {
        const auto golden = arch(name);
        if (!golden) { return; }
        CAPTURE(name);
        auto model = trained_model<float>(*golden, "config.json");
        std::int64_t count = 0;
        for (const auto& tensor : graft::trained_tensors(model)) { count += tensor.value.rows() * tensor.value.cols(); }
        CHECK(count == golden->cases.at("parameters").get<std::int64_t>());
    }
}

TEST_CASE_TEMPLATE("golden archs: greedy continuation through the KV cache", T, float, double)
{
    for (const char* name : archs) {
        const auto golden = arch(name);
        if (!golden) { return; }
        CAPTURE(name);
        if (!golden->cases.contains("greedy")) {  // dynamic: the reference has no one answer
            CHECK(std::string(name) == "llama_dynamic_rope");
            continue;
        }
        const auto model = trained_model<T>(*golden, "config.json");
        const auto& greedy = golden->cases.at("greedy");
        const auto expected = greedy.at("ids").template get<std::vector<std::int32_t>>();
        const auto length = greedy.at("prompt_length").template get<std::size_t>();
        auto found = std::vector<std::int32_t>(expected.begin(), expected.begin() + std::ptrdiff_t(length));
        const auto more = graft::generate(model, found, {.max_tokens = std::int64_t(expected.size() - length)});
        found.insert(found.end(), more.begin(), more.end());
        CHECK(found == expected);
    }
}

TEST_CASE("golden archs: what graft does not do is refused by name")
{
    struct Refused {
        const char *name, *word;
    };
    for (const Refused& refused :
         {Refused{"gemma", "gemma"}, {"gemma2", "gemma2"}, {"phi3", "phi3"}, {"qwen3", "qwen3"}}) {
        const auto name = refused.name, word = refused.word;
        const auto golden = arch(name);
        if (!golden) { return; }
        for (const char* spelling : spellings) {
            CAPTURE(name);
            CAPTURE(spelling);
            const auto text = refusal([&] { graft::read_config(golden->folder / spelling); });
            CAPTURE(text);
            CHECK(text.find(word) != std::string::npos);
            CHECK(text.find(spelling) != std::string::npos);
            CHECK(text.find('\n') == std::string::npos);
        }
    }
}

TEST_CASE("golden archs: a window is right where rows fit into it, and refused where they do not")
{
    const auto golden = arch("mistral_window");
    if (!golden) { return; }
    for (const char* spelling : spellings) {
        CAPTURE(spelling);
        const auto model = trained_model<double>(*golden, spelling);
        REQUIRE(model.config.sliding_window == 5);
        const auto whole = golden_case(golden->cases.at("cases").at("plain"));
        const auto expected = recorded_values(golden->expected.at("plain.logits"));
        const auto rope = model.positions(64);

        const auto ids = golden_ids({whole.ids.begin(), whole.ids.begin() + 5});
        const auto logits = model(graft::no_tape, ids, graft::context_for<double, graft::Cpu>({5}, rope));
        double off = 0;
        for (std::int64_t i = 0; i < 5; ++i) {
            for (std::int64_t j = 0; j < logits.cols(); ++j) {
                off = std::max(off, std::abs(logits.view().row(i)[j] - expected[std::size_t(i * logits.cols() + j)]));
            }
        }
        CHECK(off <= 1e-10);

        const auto text = refusal([&] {
            model(graft::no_tape, golden_ids(whole.ids), graft::context_for<double, graft::Cpu>(whole.lengths, rope));
        });
        CAPTURE(text);
        CHECK(text.find("window of 5") != std::string::npos);
        const std::vector<std::int32_t> prompt(whole.ids.begin(), whole.ids.begin() + 3);
        CHECK(graft::generate(model, prompt, {.max_tokens = 3}).size() == 3);
        CHECK(refusal([&] { graft::generate(model, prompt, {.max_tokens = 4}); }).find("window of 5")
              != std::string::npos);
    }
}
