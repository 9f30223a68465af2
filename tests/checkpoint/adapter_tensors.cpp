#include "graft/checkpoint/adapter/tensors.hpp"

#include <functional>

#include "graft/checkpoint/saved_types.hpp"
#include "merge_support.hpp"

using namespace graft_test;

namespace {

using Rename = std::function<std::string(std::string)>;

void rename(const fs::path& folder, const Rename& change)
{
    auto file = Tensors::read(folder / "adapter_model.safetensors");
    for (auto& tensor : file.list) { tensor.name = change(tensor.name); }
    file.write(folder / "adapter_model.safetensors");
}
Rename with_name(const std::string& adapter)
{
    return [adapter](std::string key) {
        const auto end = key.ends_with(".weight") ? key.size() - 7 : key.size();
        return key.insert(end, "." + adapter);
    };
}

// Every reader finds in the folder what it finds in the plain one.
void check_readers(const Made& made, const Rename& change)
{
    const TempFolder temp;
    const auto plain = made_adapter(temp / "plain", made), other = made_adapter(temp / "other", made);
    rename(other, change);
    const auto loaded = [&](const fs::path& folder) {
        auto model = tiny_model<float>(graft::Base::frozen, made.tied);
        graft::add_adapter(model, folder);
        return values_of(model);
    };
    CHECK(loaded(plain) == loaded(other));
    const auto base = tiny_checkpoint(temp.path(), made.tied);
    for (const char* out : {"a", "b"}) { fs::create_directories(temp / out); }
    merge(base, {plain}, temp / "a");
    merge(base, {other}, temp / "b");
    CHECK(Tensors::read(temp / "a/model.safetensors").bytes() == Tensors::read(temp / "b/model.safetensors").bytes());
    if (!made.targets.empty()) { return; }
    const auto stacked = [&](const fs::path& folder) {
        auto model = tiny_model<float>(graft::Base::frozen, made.tied);
        graft::stack_adapter(model, folder);
        return values_of(model);
    };
    CHECK(stacked(plain) == stacked(other));
}

std::string refused(const fs::path& folder)
{
    const auto load = [&] {
        auto model = tiny_model<float>();
        graft::add_adapter(model, folder);
    };
    const auto text = refusal_of(load);
    CHECK(refusal_of([&] { graft::StoredAdapter::open(folder, tiny_config()); }) == text);
    return text;
}

}  // namespace

TEST_CASE("adapter_tensor: the names of PEFT's modules and parameters, with an adapter's name or without")
{
    const auto parts = [](std::string_view key) {
        const auto tensor = graft::detail::adapter_tensor(key);
        return tensor.name + " " + tensor.adapter;
    };
    const std::string p = "base_model.model.model.layers.0.self_attn.q_proj.", m = "model.layers.0.self_attn.q_proj.";
    CHECK(parts(p + "lora_A.weight") == m + "lora_A.weight ");
    CHECK(parts(p + "lora_A.default.weight") == m + "lora_A.weight default");
    CHECK(parts(p + "lora_B.my-adapter_2.weight") == m + "lora_B.weight my-adapter_2");
    CHECK(parts("base_model.model.model.embed_tokens.lora_embedding_A.default")
          == "model.embed_tokens.lora_embedding_A default");
    CHECK(parts("base_model.model.model.embed_tokens.lora_embedding_B") == "model.embed_tokens.lora_embedding_B ");
    CHECK(parts("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta.x")
          == std::string(graft::token_rows_tensor) + " x");
    CHECK(parts("base_model.model.lm_head.modules_to_save.default.weight") == "lm_head.weight default");
    CHECK(parts("base_model.model.lm_head.modules_to_save.weight") == "lm_head.weight ");
    CHECK(parts("base_model.model.lm_head.base_layer.weight") == "lm_head.weight ");
    CHECK(parts(p + "lora_magnitude_vector.default.weight") == m + "lora_magnitude_vector.weight default");
    CHECK(parts("module." + p + "lora_A.default.weight") == m + "lora_A.weight default");
}

TEST_CASE("adapter: keys with the adapter's name, and with other prefixes, are read by every reader")
{
    const Made plain, table{.targets = {"q_proj", "embed_tokens"}}, rows{.targets = {"v_proj"}, .tokens = {3, 5}};
    for (const Made& made : {plain, table, rows}) {
        for (const char* adapter : {"default", "my-adapter_2"}) { check_readers(made, with_name(adapter)); }
        check_readers(made, [](const std::string& key) { return key.substr(std::string("base_model.model.").size()); });
        check_readers(made, [](const std::string& key) { return "module." + with_name("default")(key); });
        check_readers(made, [](std::string key) {
            return key.replace(0, std::string("base_model.model.model.").size(), "base_model.model.");
        });
    }
}

TEST_CASE("adapter: several adapters in one file are refused with their names, and one tensor twice")
{
    const TempFolder temp;
    const auto folder = made_adapter(temp / "adapter", {});
    const auto file = Tensors::read(folder / "adapter_model.safetensors");
    auto both = file;
    both.list.clear();
    for (auto tensor : file.list) {
        for (const char* adapter : {"default", "second"}) {
            both.list.push_back(tensor);
            both.list.back().name = with_name(adapter)(tensor.name);
        }
    }
    both.write(folder / "adapter_model.safetensors");
    CHECK(says(refused(folder), {"several adapters, default and second"}));
    both = file;
    both.list.push_back(file.list[0]);
    both.list.back().name = with_name("default")(file.list[0].name);
    both.write(folder / "adapter_model.safetensors");
    CHECK(says(refused(folder), {"twice"}));
}

TEST_CASE("adapter: a file with the model beside the adapter, and DoRA's vectors, are named for what they are")
{
    const TempFolder temp;
    const auto folder = made_adapter(temp / "adapter", {});
    const auto file = Tensors::read(folder / "adapter_model.safetensors");
    const auto with = [&](const std::string& name) {
        auto more = file;
        more.list.push_back(
            {"base_model.model.model.layers.0.self_attn.q_proj." + name, "F32", {8}, std::string(32, '\0')});
        more.write(folder / "adapter_model.safetensors");
        return refused(folder);
    };
    CHECK(says(with("base_layer.weight"), {"base_layer.weight", "the model beside the adapter"}));
    CHECK(says(with("lora_magnitude_vector"), {"lora_magnitude_vector", "DoRA"}));
    write_text(folder / "adapter_model.safetensors",
               "version https://git-lfs.github.com/spec/v1\noid sha256:01\nsize 12345\n");
    CHECK(says(refused(folder), {"Git LFS pointer"}));
}
