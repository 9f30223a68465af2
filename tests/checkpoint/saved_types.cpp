#include "graft/checkpoint/saved_types.hpp"

#include "checkpoint_support.hpp"
#include "graft/checkpoint/load_model.hpp"
#include "graft/cpu.hpp"

// Modules that are trained whole beside an adapter: how they are loaded, saved and kept.
using namespace graft_test;

namespace {

const char* const embedding = "base_model.model.model.embed_tokens.weight";
const char* const head = "base_model.model.lm_head.weight";

fs::path made(const fs::path& folder)
{
    fs::create_directories(folder);
    return folder;
}

graft::AdapterConfig with_modules(const std::vector<std::string>& names, bool together = false)
{
    graft::AdapterConfig config;
    config.rank = 2, config.alpha = 4;
    config.targets.kind = graft::ModuleChoice::Kind::all_linear;
    config.modules_to_save = names;
    config.ensure_weight_tying = together;
    return config;
}

graft::SavedModules saved_of(const graft::AdapterConfig& config, const graft::ModelConfig& model, bool frozen = false)
{
    auto saved = graft::adapter_targets(config, model, "test").saved;
    saved.frozen = frozen;
    return saved;
}

// An adapter over the tiny model, its modules moved away from the base's values.
graft::AnyModel<float> trained_model(const fs::path& base, const graft::AdapterConfig& config, bool untie = false)
{
    auto model = graft::load_model<float>(base, {}, {.untie = untie});
    graft::add_adapter(model, config, 1);
    for (auto& tensor : graft::trained_tensors(model)) {
        const auto view = tensor.value.view();
        for (std::int64_t i = 0; i < view.rows; ++i) { view.row(i)[0] += 0.25F * float(i + 1); }
    }
    return model;
}

graft::AnyModel<float> fresh_model(const fs::path& base, const graft::AdapterConfig& config, bool untie, bool frozen)
{
    auto model = graft::load_model<float>(base, {}, {.untie = untie});
    auto targets = graft::adapter_targets(config, model.config, "test");
    targets.saved.frozen = frozen;
    graft::add_adapter(model, targets, config, 9);
    return model;
}

}  // namespace

TEST_CASE("saved modules: trained or frozen, they are loaded from the adapter's file to the bit")
{
    const TempFolder temp;
    const auto base = tiny_checkpoint(temp.path());
    const auto config = with_modules({"embed_tokens", "lm_head", "model.norm"});
    auto model = trained_model(base, config);
    CHECK(graft::trained_tensors(model).size() == 28 + 3);
    graft::save_adapter(model, made(temp / "out"));
    const auto file = Tensors::read(temp / "out/adapter_model.safetensors");
    CHECK(file.list.size() == 31);

    for (const bool frozen : {false, true}) {
        auto other = fresh_model(base, config, false, frozen);
        const auto saved = saved_of(config, other.config, frozen);
        CHECK(values_of(other) != values_of(model));
        graft::load_adapter(other, temp / "out", saved);
        CHECK(values_of(other) == values_of(model));
        CHECK(graft::trained_tensors(other).size() == (frozen ? 28 : 31));

        // What is not trained goes on as it is, whatever type it has there.
        const auto kept = graft::kept_tensors(other, temp / "out");
        CHECK(kept.tensors.size() == (frozen ? 3 : 0));
        graft::save_adapter(other, made(temp / "again"), {}, {.kept = kept});
        CHECK(read_text(temp / "again/adapter_model.safetensors") == read_text(temp / "out/adapter_model.safetensors"));
        CHECK(read_text(temp / "again/adapter_config.json") == read_text(temp / "out/adapter_config.json"));
    }

    // Strictly: what the config names must be there, and nothing else.
    auto plain = fresh_model(base, with_modules({}), false, false);
    CHECK(says(refusal_of([&] { graft::load_adapter(plain, temp / "out"); }), {"not part of it", "model.norm.weight"}));
    auto tensors = file;
    std::erase_if(tensors.list, [](const auto& t) { return t.name == head; });
    tensors.write(temp / "out/adapter_model.safetensors");
    CHECK(says(refusal_of([&] { graft::load_adapter(model, temp / "out", saved_of(config, model.config)); }),
               {"missing: lm_head.weight"}));
}

TEST_CASE("saved modules: older names are read")
{
    const TempFolder temp;
    const auto base = tiny_checkpoint(temp.path());
    const auto config = with_modules({"embed_tokens", "lm_head"});
    auto model = trained_model(base, config);
    graft::save_adapter(model, made(temp / "out"));
    auto file = Tensors::read(temp / "out/adapter_model.safetensors");
    for (auto& t : file.list) {
        if (t.name == embedding) { t.name = "base_model.model.model.embed_tokens.modules_to_save.weight"; }
        if (t.name == head) { t.name = "base_model.model.lm_head.modules_to_save.default.weight"; }
    }
    file.write(temp / "out/adapter_model.safetensors");
    auto other = fresh_model(base, config, false, false);
    graft::load_adapter(other, temp / "out", saved_of(config, other.config));
    CHECK(values_of(other) == values_of(model));
}

TEST_CASE("saved modules: an embedding that PEFT adds on its own is loaded into the base and kept")
{
    const TempFolder temp;
    const auto base = tiny_checkpoint(temp.path());
    const auto whole = with_modules({"embed_tokens"}), plain = with_modules({});
    auto model = trained_model(base, whole);
    graft::save_adapter(model, made(temp / "out"));
    auto json = graft::read_json(temp / "out/adapter_config.json");
    json["modules_to_save"] = nullptr;  // the config does not name it
    write_text(temp / "out/adapter_config.json", json.dump(2));
    auto other = fresh_model(base, plain, false, false);
    graft::load_adapter(other, temp / "out");
    CHECK(values_of(other) == values_of(model));
    CHECK(graft::trained_tensors(other).size() == 28);
    const auto kept = graft::kept_tensors(other, temp / "out");
    REQUIRE(kept.tensors.size() == 1);
    graft::save_adapter(other, made(temp / "again"), {}, {.kept = kept});
    CHECK(read_text(temp / "again/adapter_model.safetensors") == read_text(temp / "out/adapter_model.safetensors"));
}

TEST_CASE("saved modules: a tied pair is one tensor under both names, or two of which the head began as a copy")
{
    const TempFolder temp;
    const auto base = tiny_checkpoint(temp.path(), true);
    const auto together = with_modules({"lm_head"}, true), apart = with_modules({"embed_tokens", "lm_head"});
    {
        auto model = trained_model(base, together);
        CHECK(graft::trained_tensors(model).size() == 29);
        graft::save_adapter(model, made(temp / "one"));
        auto file = Tensors::read(temp / "one/adapter_model.safetensors");
        CHECK(file.list.size() == 30);
        CHECK(graft::read_adapter_config(temp / "one").ensure_weight_tying);
        auto other = fresh_model(base, together, false, false);
        const auto saved = saved_of(together, other.config);
        graft::load_adapter(other, temp / "one", saved);
        CHECK(values_of(other) == values_of(model));
        CHECK(graft::kept_tensors(other, temp / "one").tensors.empty());

        // Either name is enough; two that differ are not one tensor.
        auto twins = file;
        for (auto& t : twins.list) {
            if (t.name == head) { t.bytes[0] = char(t.bytes[0] ^ 1); }
        }
        twins.write(temp / "one/adapter_model.safetensors");
        CHECK(says(refusal_of([&] { graft::load_adapter(other, temp / "one", saved); }), {"lm_head.weight differs"}));
        std::erase_if(file.list, [](const auto& t) { return t.name == embedding; });
        file.write(temp / "one/adapter_model.safetensors");
        auto third = fresh_model(base, together, false, false);
        graft::load_adapter(third, temp / "one", saved);
        CHECK(values_of(third) == values_of(model));
    }
    auto tied = graft::load_model<float>(base);
    CHECK(says(refusal_of([&] { graft::add_adapter(tied, apart, 1); }), {"tied", "untie"}));
    auto start = graft::load_model<float>(base, {}, {.untie = true});
    const auto values = values_of(start);
    CHECK(values.at("lm_head.weight") == values.at("model.embed_tokens.weight"));
    auto model = trained_model(base, apart, true);
    CHECK(graft::trained_tensors(model).size() == 30);
    graft::save_adapter(model, made(temp / "two"));
    CHECK(!graft::read_adapter_config(temp / "two").ensure_weight_tying);
    auto other = fresh_model(base, apart, true, true);
    graft::load_adapter(other, temp / "two", saved_of(apart, other.config));
    CHECK(values_of(other) == values_of(model));
}

TEST_CASE("saved modules: they are written in the base's type, and a model rounded to it is the one that is loaded")
{
    const TempFolder temp;
    const auto base = tiny_checkpoint(temp.path(), false, graft::StoredType::bf16);
    const auto config = with_modules({"embed_tokens", "lm_head"});
    auto model = trained_model(base, config);
    for (auto& tensor : graft::trained_tensors(model)) { tensor.value.view().row(1)[1] = 1.0F / 3; }
    const auto saved = saved_of(config, model.config);
    const auto types = graft::saved_types(saved, model.config, base);
    CHECK(types
          == graft::AdapterTypes{{"model.embed_tokens.weight", graft::StoredType::bf16},
                                 {"lm_head.weight", graft::StoredType::bf16}});
    const auto before = values_of(model);
    graft::round_to(model, types);
    CHECK(values_of(model).at("lm_head.weight") != before.at("lm_head.weight"));
    CHECK(values_of(model).at("model.layers.0.self_attn.q_proj.lora_A.weight")
          == before.at("model.layers.0.self_attn.q_proj.lora_A.weight"));
    graft::save_adapter(model, made(temp / "out"), types);
    auto other = fresh_model(base, config, false, false);
    graft::load_adapter(other, temp / "out", saved);
    CHECK(values_of(other) == values_of(model));

    // An adapter that is continued keeps the type that its file has; a config alone has only its dtype.
    graft::save_adapter(model, made(temp / "wide"));
    CHECK(graft::saved_types(saved, model.config, base, temp / "wide").at("lm_head.weight") == graft::StoredType::f32);
    auto alone = model.config;
    alone.stored_dtype = "float16";
    CHECK(graft::saved_types(saved, alone, temp / "nothing").at("lm_head.weight") == graft::StoredType::f16);
}
