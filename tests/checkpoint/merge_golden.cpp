#include "../golden_kinds.hpp"
#include "merge_support.hpp"

// Merging against what PEFT, transformers and bitsandbytes have recorded.
using namespace graft_test;

namespace {

std::vector<std::vector<std::int32_t>> rows_of(const nlohmann::json& expected)
{
    return expected.at("input_ids").get<std::vector<std::vector<std::int32_t>>>();
}

// The logits of all rows of a checkpoint, in f64.
std::vector<double> logits_of_folder(const fs::path& folder, const nlohmann::json& expected)
{
    const auto model = graft::load_model<double>(folder);
    std::vector<double> out;
    for (const auto& row : rows_of(expected)) {
        const auto z = logits_of(model, row);
        out.insert(out.end(), z.begin(), z.end());
    }
    return out;
}

std::vector<double> recorded(const fs::path& folder, const std::string& name)
{
    return graft::detail::all_values(graft::SafetensorsFile::open(folder / "expected.safetensors").at(name));
}

}  // namespace

TEST_CASE("merge: weights and logits that PEFT recorded; what is not plain LoRA is refused by name")
{
    const auto root = data();
    if (!root) { return skip("GRAFT_TEST_DATA is not set"); }
    std::vector<std::string> merged, refused;
    for (const auto& entry : fs::directory_iterator(*root / "golden/peft")) {
        const auto folder = entry.path();
        const std::string kind = folder.filename().string();
        CAPTURE(kind);
        if (kind == "two_adapters") { continue; }
        const auto expected = nlohmann::json::parse(read_text(folder / "expected.json"));
        const auto base = folder / expected.at("base").get<std::string>();
        const TempFolder temp;
        const auto out = temp / "out", exact = temp / "exact";
        fs::create_directories(out), fs::create_directories(exact);
        const auto refusal = refusal_of([&] { merge(base, {folder}, out); });
        if (!refusal.empty()) {
            CHECK(contents(out).empty());
            if (of_known_family(folder)) { refused.push_back(kind); }
            continue;
        }
        merged.push_back(kind);
        auto before = Tensors::read(base / "model.safetensors"), after = Tensors::read(out / "model.safetensors");
        auto wanted = Tensors::read(folder / "merged.safetensors");
        for (const auto& tensor : after.list) {
            CAPTURE(tensor.name);
            if (wanted.has(tensor.name)) {
                CHECK(largest_difference(values_in(tensor), values_in(wanted.at(tensor.name))) <= 5e-7);
            } else {  // a head that was tied begins as the embedding
                const bool apart = tensor.name == "lm_head.weight" && !before.has(tensor.name);
                CHECK(tensor.bytes == before.at(apart ? "model.embed_tokens.weight" : tensor.name).bytes);
            }
        }
        merge(base, {folder}, exact, {.type = graft::StoredType::f64});
        CHECK(largest_difference(logits_of_folder(exact, expected), recorded(folder, "logits")) <= 1e-10);
    }
    std::sort(merged.begin(), merged.end());
    // PEFT merges tied_embedding into another function than it trained: its own logits are then off by 3.5.
    CHECK(merged
          == std::vector<std::string>{"embedding", "exclude_modules", "head", "layers_to_transform", "lora_all_linear",
                                      "lora_qv", "modules_to_save", "patterns", "qwen2_all_linear", "regex_targets",
                                      "rslora", "tied_embedding", "tied_modules_to_save_both",
                                      "tied_modules_to_save_both_ensure", "tied_modules_to_save_embed",
                                      "tied_trainable_tokens", "trainable_tokens"});
    std::sort(refused.begin(), refused.end());
    CHECK(refused
          == std::vector<std::string>{"bias_all", "bias_lora_only", "dora", "dora_rslora", "lora_bias",
                                      "lora_bias_without_base_bias"});
}

TEST_CASE("merge: two adapters that were active together give the logits that PEFT recorded")
{
    const auto root = data();
    if (!root) { return skip("GRAFT_TEST_DATA is not set"); }
    const auto peft = *root / "golden/peft";
    const auto expected = nlohmann::json::parse(read_text(peft / "two_adapters/expected.json"));
    const TempFolder temp;
    const auto out = temp / "out";
    fs::create_directories(out);
    merge(*root / "golden/archs/llama", {peft / "lora_qv", peft / "rslora"}, out, {.type = graft::StoredType::f64});
    CHECK(largest_difference(logits_of_folder(out, expected), recorded(peft / "two_adapters", "stacked.logits"))
          <= 1e-10);
}

TEST_CASE("merge over NF4: dequantised, the logits of base and adapter that were recorded; in its own type by default")
{
    const auto root = data();
    if (!root) { return skip("GRAFT_TEST_DATA is not set"); }
    for (const std::string kind : {"checkpoint_double_f32", "checkpoint_single_bf16", "checkpoint_double_bf16"}) {
        CAPTURE(kind);
        const auto folder = *root / "golden/nf4" / kind;
        const auto expected = nlohmann::json::parse(read_text(folder / "expected.json"));
        const TempFolder temp;
        const auto out = temp / "out", exact = temp / "exact";
        fs::create_directories(out), fs::create_directories(exact);
        const auto receipt = merge(folder, {folder / "adapter"}, out);
        const bool half = kind.ends_with("bf16");
        CHECK(receipt.dequantized);
        CHECK(receipt.merged == 14);
        CHECK(receipt.dtype == (half ? "bfloat16" : "float32"));
        CHECK(!graft::read_config(out).quantization.has_value());
        CHECK(graft::read_config(out).stored_dtype == receipt.dtype);
        for (const auto& tensor : Tensors::read(out / "model.safetensors").list) {
            CHECK(tensor.dtype == (half ? "BF16" : "F32"));
        }
        // What was recorded decodes to the type of the weight; ours to f32, as training in f32 sees it.
        merge(folder, {folder / "adapter"}, exact, {.type = graft::StoredType::f64});
        const auto file = Tensors::read(folder / "expected.safetensors");
        for (const auto& tensor : Tensors::read(exact / "model.safetensors").list) {
            CAPTURE(tensor.name);
            if (!file.has("dequantised." + tensor.name)) { continue; }
            auto weight = Tensors(file).at("dequantised." + tensor.name);
            weight.name = tensor.name;
            const auto base = values_in(weight), wanted = reference(weight, {folder / "adapter"}),
                       found = values_in(tensor);
            double most = 0;
            for (std::size_t i = 0; i < found.size(); ++i) {
                most = std::max(most, std::abs(found[i] - wanted[i]) - (half ? 0x1p-8 * std::abs(base[i]) : 0));
            }
            CHECK(most <= 1e-12);
        }
        if (!half) {
            CHECK(largest_difference(logits_of_folder(exact, expected), recorded(folder, "adapter.logits")) <= 1e-6);
        }
    }
}
