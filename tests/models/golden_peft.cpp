#include "../files.hpp"
#include "../golden_kinds.hpp"
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
    auto config = graft::read_config(base);
    const auto targets = graft::adapter_targets(adapter, config, folder.string());
    config.tied = config.tied && !targets.saved.untie;
    auto model = graft::make_model<T>(config, {.base = graft::Base::frozen, .trained = targets.saved.trained()});
    graft::load_weights(model, graft::Checkpoint::open(base), {.untie = targets.saved.untie});
    graft::add_adapter(model, targets, adapter, 0);
    graft::load_adapter(model, folder, targets.saved);
    return model;
}

template <class T> void check_adapter(const std::filesystem::path& folder)
{
    CAPTURE(folder.filename().string());
    const auto recorded = graft::read_json(folder / "expected.json");
    auto model = adapted_model<T>(folder);

    std::int64_t count = 0;
    CHECK(graft::trained_tensors(model).size() == recorded.at("trainable").size());
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

// Of a tied model the head sees the new rows too, as PEFT has it.
TEST_CASE_TEMPLATE("golden peft: the rows of some tokens", T, float, double)
{
    const auto root = adapters();
    if (!root) { return; }
    for (const char* name : {"trainable_tokens", "tied_trainable_tokens"}) { check_adapter<T>(*root / name); }
}

// Of a tied model only the lookup sees the update, as in PEFT, which then merges it into both uses.
TEST_CASE_TEMPLATE("golden peft: LoRA on the embedding and on the head", T, float, double)
{
    const auto root = adapters();
    if (!root) { return; }
    for (const char* name : {"embedding", "head", "tied_embedding"}) { check_adapter<T>(*root / name); }
}

// Of a tied model PEFT trains two tensors unless ensure_weight_tying is set, and only warns; what it computes is right.
TEST_CASE_TEMPLATE("golden peft: modules trained whole, a tied pair as one tensor or as two", T, float, double)
{
    const auto root = adapters();
    if (!root) { return; }
    for (const char* name : {"modules_to_save", "tied_modules_to_save_both", "tied_modules_to_save_embed",
                             "tied_modules_to_save_both_ensure"}) {
        check_adapter<T>(*root / name);
    }
}

TEST_CASE("golden peft: modules trained whole are written as PEFT writes them, and read again")
{
    const auto root = adapters();
    if (!root) { return; }
    for (const char* name : {"modules_to_save", "tied_modules_to_save_both", "tied_modules_to_save_embed",
                             "tied_modules_to_save_both_ensure", "trainable_tokens", "tied_trainable_tokens",
                             "embedding", "head", "tied_embedding"}) {
        CAPTURE(name);
        const TempFolder temp;
        const auto folder = *root / name;
        auto model = adapted_model<float>(folder);
        const auto adapter = graft::read_adapter_config(folder);
        graft::save_adapter(model, temp.path(), {}, {.kept = graft::kept_tensors(model, folder)});
        const auto theirs = graft::SafetensorsFile::open(folder / "adapter_model.safetensors");
        const auto ours = graft::SafetensorsFile::open(temp / "adapter_model.safetensors");
        REQUIRE(ours.tensors().size() == theirs.tensors().size());
        for (const auto& tensor : theirs.tensors()) {
            CAPTURE(tensor.name);
            REQUIRE(ours.find(tensor.name) != nullptr);
            CHECK(ours.find(tensor.name)->shape == tensor.shape);
            CHECK(std::equal(tensor.bytes.begin(), tensor.bytes.end(), ours.find(tensor.name)->bytes.begin(),
                             ours.find(tensor.name)->bytes.end()));
        }
        const auto config = graft::read_json(temp / "adapter_config.json"),
                   wanted = graft::read_json(folder / "adapter_config.json");
        CHECK(config.at("modules_to_save") == wanted.at("modules_to_save"));
        CHECK(graft::read_adapter_config(temp.path()).trained_tokens == adapter.trained_tokens);  // however written
        CHECK(config.at("ensure_weight_tying") == wanted.at("ensure_weight_tying"));
    }
}

TEST_CASE("golden peft: every other kind is refused by the name of what it needs")
{
    const auto root = adapters();
    if (!root) { return; }
    struct Refused {
        const char *name, *word;
    };
    for (const Refused& refused : {Refused{"dora", "use_dora"},
                                   {"dora_rslora", "use_dora"},
                                   {"gemma2_dora", "use_dora"},
                                   {"phi3_all_linear", "phi3"},
                                   {"lora_bias", "lora_bias"},
                                   {"lora_bias_without_base_bias", "lora_bias"},
                                   {"bias_all", "bias"},
                                   {"bias_lora_only", "bias"}}) {
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
    const auto folder = *root / "two_adapters";
    const auto recorded = graft::read_json(folder / "expected.json");
    const auto at = golden_case(recorded);
    const auto expected = graft::SafetensorsFile::open(folder / "expected.safetensors");
    auto model = adapted_model<T>(*root / "rslora");
    const auto trained = graft::trained_tensors(model).size();
    graft::stack_adapter(model, *root / "lora_qv");
    CHECK(graft::trained_tensors(model).size() == trained);
    for (const bool recompute : {false, true}) {
        check_golden(
            golden_errors(model, at, expected, "stacked.", recorded.at("stacked_loss"), "base_model.model.", recompute),
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
    for (const auto& entry : std::filesystem::directory_iterator(*root)) {
        const bool two = entry.path().filename() == "two_adapters";
        count += two || graft_test::of_known_family(entry.path());
    }
    CHECK(count == 7 + 4 + 2 + 3 + 7 + 1);
}
