#include "golden_support.hpp"

#include "graft/checkpoint/adapter.hpp"
#include "graft/checkpoint/hf_config.hpp"
#include "graft/cpu.hpp"

// golden/peft: adapters as PEFT saves them; logits, loss and the gradients of the adapter, computed in f64.
using namespace graft_test;

namespace {

std::optional<std::filesystem::path> adapters()
{
    const auto root = data();
    if (!root) {
        skip("GRAFT_TEST_DATA is not set");
        return std::nullopt;
    }
    return *root / "golden/peft";
}

template <class T> graft::AnyModel<T> adapted_model(const std::filesystem::path& folder)
{
    const auto adapter = graft::read_adapter_config(folder);
    const auto base = folder / adapter.base_model;
    const auto config = graft::read_config(base);
    auto model = graft::make_model<T>(config, {.base = graft::Base::frozen});
    graft::load_weights(model, graft::Checkpoint::open(base));
    graft::add_adapter(model, graft::adapter_targets(adapter, config, folder.string()), adapter, 0);
    graft::load_adapter(model, folder);
    return model;
}

template <class T> void check_adapter(const std::filesystem::path& folder)
{
    CAPTURE(folder.filename().string());
    const auto recorded = graft::read_json(folder / "expected.json");
    auto model = adapted_model<T>(folder);

    std::int64_t count = 0;
    for (const auto& tensor : graft::trained_tensors(model)) {
        count += tensor.value.rows() * tensor.value.cols();
        const auto name = "base_model.model." + tensor.name;
        REQUIRE(recorded.at("trainable").contains(name));
        CHECK(recorded["trainable"][name] == nlohmann::json({tensor.value.rows(), tensor.value.cols()}));
    }
    CHECK(count == recorded.at("trainable_parameters").get<std::int64_t>());

    const auto at = golden_case(recorded);
    CHECK(at.targets == recorded.at("targets").get<std::int64_t>());
    const auto expected = graft::SafetensorsFile::open(folder / "expected.safetensors");
    check_golden(golden_errors(model, at, expected, "", recorded.at("loss"), "base_model.model."), golden_limits<T>());
}

}  // namespace

TEST_CASE_TEMPLATE("golden peft: logits, loss and the gradient of every adapter tensor", T, float, double)
{
    const auto root = adapters();
    if (!root) { return; }
    for (const char* name : {"lora_all_linear", "lora_qv", "rslora", "qwen2_all_linear", "patterns", "regex_targets",
                             "exclude_modules", "layers_to_transform"}) {
        check_adapter<T>(*root / name);
    }
}

TEST_CASE("golden peft: every other kind is refused by the name of what it needs")
{
    const auto root = adapters();
    if (!root) { return; }
    struct Refused {
        const char *name, *word;
    };
    for (const Refused& refused : {Refused{"dora", "use_dora"}, {"dora_rslora", "use_dora"},
             {"gemma2_dora", "use_dora"}, {"phi3_all_linear", "phi3"}, {"modules_to_save", "modules_to_save"},
             {"tied_modules_to_save_both", "modules_to_save"}, {"tied_modules_to_save_both_ensure", "modules_to_save"},
             {"tied_modules_to_save_embed", "modules_to_save"}, {"trainable_tokens", "trainable_token_indices"},
             {"tied_trainable_tokens", "trainable_token_indices"}, {"embedding", "embed_tokens"},
             {"tied_embedding", "embed_tokens"}, {"head", "lm_head"}, {"lora_bias", "lora_bias"},
             {"lora_bias_without_base_bias", "lora_bias"}, {"bias_all", "bias"}, {"bias_lora_only", "bias"}}) {
        const auto name = refused.name, word = refused.word;
        CAPTURE(name);
        const auto text = refusal([&] { adapted_model<float>(*root / name); });
        CAPTURE(text);
        CHECK(text.find(word) != std::string::npos);
        CHECK(text.find('\n') == std::string::npos);
    }
}

TEST_CASE("golden peft: two adapters joined into one file are an adapter like any other")
{
    const auto root = adapters();
    if (!root) { return; }
    const auto folder = *root / "two_adapters";
    const auto at = golden_case(graft::read_json(folder / "expected.json"));
    const auto expected = graft::SafetensorsFile::open(folder / "expected.safetensors");
    CHECK(golden_logits(adapted_model<double>(folder / "cat"), at, expected.at("cat.logits")) <= 1e-10);
    CHECK(golden_logits(adapted_model<float>(folder / "cat"), at, expected.at("cat.logits")) <= 5e-5);
}

// One adapter that stays as it is and one that is trained, both active.
TEST_CASE_TEMPLATE("golden peft: two adapters at once; only the second has gradients", T, float, double)
{
    const auto root = adapters();
    if (!root) { return; }
    const auto folder   = *root / "two_adapters";
    const auto recorded = graft::read_json(folder / "expected.json");
    const auto at       = golden_case(recorded);
    const auto expected = graft::SafetensorsFile::open(folder / "expected.safetensors");
    auto model = adapted_model<T>(*root / "rslora");
    const auto trained = graft::trained_tensors(model).size();
    graft::stack_adapter(model, *root / "lora_qv");
    CHECK(graft::trained_tensors(model).size() == trained);
    for (const bool recompute : {false, true}) {
        check_golden(golden_errors(model, at, expected, "stacked.", recorded.at("stacked_loss"), "base_model.model.",
                                   recompute),
                     golden_limits<T>());
    }

    // Both frozen, in either order, as in generate.
    for (const bool swapped : {false, true}) {
        const auto base = *root / "rslora" / graft::read_adapter_config(*root / "rslora").base_model;
        auto frozen = graft::make_model<T>(graft::read_config(base), {.base = graft::Base::frozen});
        graft::load_weights(frozen, graft::Checkpoint::open(base));
        graft::stack_adapter(frozen, *root / (swapped ? "rslora" : "lora_qv"));
        CHECK(golden_logits(frozen, at, expected.at("stacked.logits")) > 1e-3);
        graft::stack_adapter(frozen, *root / (swapped ? "lora_qv" : "rslora"));
        CHECK(golden_logits(frozen, at, expected.at("stacked.logits")) <= golden_limits<T>().logits);
    }
}

TEST_CASE("golden peft: none of the recorded kinds is left out above")
{
    const auto root = adapters();
    if (!root) { return; }
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(*root)) { count += entry.is_directory(); }
    CHECK(count == 8 + 17 + 1);
}
