#include "graft/checkpoint/adapter.hpp"

#include "checkpoint_support.hpp"
#include "graft/checkpoint/load_model.hpp"
#include "graft/cpu.hpp"

using namespace graft_test;

namespace {

graft::AdapterConfig all_linear(std::int64_t rank)
{
    graft::AdapterConfig config;
    config.rank = rank, config.alpha = 6;
    config.targets.kind = graft::ModuleChoice::Kind::all_linear;
    return config;
}

graft::AnyModel<float> adapted(const graft::AdapterConfig& config, std::uint64_t seed = 1)
{
    auto model = tiny_model<float>();
    graft::add_adapter(model, graft::adapter_targets(config, model.config, "test"), config, seed);
    return model;
}

// One tensor under another name, one of another type.
void misname_and_retype(const fs::path& folder)
{
    auto tensors = Tensors::read(folder / "adapter_model.safetensors");
    tensors.list[0].name = "base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight";
    tensors.list[5].dtype = "I32";
    tensors.write(folder / "adapter_model.safetensors");
}

}  // namespace

TEST_CASE("adapter: A is random by module and seed, B is zero, and the scale is that of the config")
{
    auto model = adapted(all_linear(3)), again = adapted(all_linear(3)), other = adapted(all_linear(3), 2);
    const auto a = values_of(model);
    CHECK(a == values_of(again));
    CHECK(a != values_of(other));
    std::map<std::vector<double>, std::string> seen;
    std::size_t pairs = 0;
    for (const auto& [name, values] : a) {
        if (name.ends_with("lora_B.weight")) {
            CHECK(values == std::vector<double>(values.size(), 0.0));
            ++pairs;
        }
        if (name.ends_with("lora_A.weight")) {
            CHECK(seen.emplace(values, name).second);  // modules of one shape start apart
            for (const double v : values) { CHECK(std::abs(v) <= 1 / std::sqrt(double(values.size() / 3)) + 1e-7); }
        }
    }
    CHECK(pairs == 14);
    graft::modules(model, [&](const std::string&, auto& module) {
        if constexpr (graft::is_any_linear<std::remove_cvref_t<decltype(module)>>) {
            REQUIRE(module.branch().has_value());
            CHECK(module.branch()->scale == 2);
        }
    });
}

// peft 0.21, LoraConfig(init_lora_weights=...): the deviations and bounds that its layers come with.
TEST_CASE("adapter: a fresh one begins as its config says, and mica is refused")
{
    auto config = all_linear(4);
    config.targets = {.kind = graft::ModuleChoice::Kind::list, .names = {"q_proj", "embed_tokens"}, .regex = {}};
    config.rank_pattern = {{"layers.1.self_attn.q_proj", 2}};
    const auto deviation = [](const std::vector<double>& values) {
        double squares = 0;
        for (const double v : values) { squares += v * v; }
        return std::sqrt(squares / double(values.size()));
    };
    const auto begun = [&](graft::AdapterInit init) {
        config.init = init;
        auto model = adapted(config);
        return values_of(model);
    };
    using Init = graft::AdapterInit;
    const std::string first = "model.layers.0.self_attn.q_proj.", second = "model.layers.1.self_attn.q_proj.",
                      table = "model.embed_tokens.";
    const auto usual = begun(Init::kaiming), normal = begun(Init::gaussian), drawn = begun(Init::none);
    const double in = double(usual.at(first + "lora_A.weight").size()) / 4;

    // Normal numbers, 1 / rank of each module wide; uniform ones in a range of +-b are b / sqrt(3) wide.
    CHECK(deviation(normal.at(first + "lora_A.weight")) == doctest::Approx(1.0 / 4).epsilon(0.25));
    CHECK(deviation(normal.at(second + "lora_A.weight")) == doctest::Approx(1.0 / 2).epsilon(0.35));
    CHECK(deviation(usual.at(first + "lora_A.weight")) == doctest::Approx(1 / std::sqrt(3 * in)).epsilon(0.2));
    CHECK(deviation(normal.at(first + "lora_B.weight")) == 0);
    CHECK(normal.at(table + "lora_embedding_A") == usual.at(table + "lora_embedding_A"));
    CHECK(normal.at(table + "lora_embedding_B") == usual.at(table + "lora_embedding_B"));

    // Without an init nothing is zero.
    CHECK(drawn.at(first + "lora_A.weight") == usual.at(first + "lora_A.weight"));
    CHECK(deviation(drawn.at(first + "lora_B.weight")) == doctest::Approx(1 / std::sqrt(3.0 * 4)).epsilon(0.2));
    for (const double v : drawn.at(first + "lora_B.weight")) { CHECK(std::abs(v) <= 0.5); }
    CHECK(deviation(drawn.at(table + "lora_embedding_A")) == doctest::Approx(1.0).epsilon(0.25));

    CHECK(says(refusal_of([&] { begun(Init::mica); }), {"init is mica", "choose kaiming or gaussian"}));
}

TEST_CASE("adapter: an mica adapter from a file is laid all the same: it is finished")
{
    const TempFolder temp;
    auto model = adapted(all_linear(3));
    graft::save_adapter(model, temp.path());
    auto settings = nlohmann::json::parse(read_text(temp / "adapter_config.json"));
    settings["init_lora_weights"] = "mica";
    write_text(temp / "adapter_config.json", settings.dump());
    auto other = tiny_model<float>();
    CHECK(graft::add_adapter(other, temp.path()).init == graft::AdapterInit::mica);
    CHECK(values_of(other) == values_of(model));
}

TEST_CASE("adapter: what is saved is loaded again to the bit, each tensor in the type that it came in")
{
    const TempFolder temp;
    auto model = adapted(all_linear(3));
    graft::save_adapter(model, temp.path());
    auto tensors = Tensors::read(temp / "adapter_model.safetensors");
    CHECK(tensors.list.size() == 28);
    for (const auto& t : tensors.list) {
        CHECK((t.name.starts_with("base_model.model.model.layers.") && t.dtype == "F32"));
    }

    auto other = adapted(graft::read_adapter_config(temp.path()), 9);
    CHECK(values_of(other) != values_of(model));
    auto types = graft::load_adapter(other, temp.path());
    CHECK(values_of(other) == values_of(model));
    CHECK(types.size() == 28);

    types.begin()->second = graft::StoredType::bf16;
    fs::create_directories(temp / "second");
    graft::save_adapter(other, temp / "second", types);
    const auto second = Tensors::read(temp / "second/adapter_model.safetensors");
    CHECK(std::count_if(second.list.begin(), second.list.end(), [](const auto& t) { return t.dtype == "BF16"; }) == 1);
}

TEST_CASE("adapter: a prefix written twice is read; a tensor under both prefixes is refused")
{
    const TempFolder temp;
    auto model = adapted(all_linear(2));
    graft::save_adapter(model, temp.path());
    auto tensors = Tensors::read(temp / "adapter_model.safetensors");
    for (auto& t : tensors.list) { t.name = "base_model.model." + t.name; }
    tensors.write(temp / "adapter_model.safetensors");
    auto other = adapted(all_linear(2), 9);
    graft::load_adapter(other, temp.path());
    CHECK(values_of(other) == values_of(model));
    auto twin = tensors.list[0];
    twin.name = twin.name.substr(std::string("base_model.model.").size());
    tensors.list.push_back(twin);
    tensors.write(temp / "adapter_model.safetensors");
    CHECK(says(refusal_of([&] { graft::load_adapter(other, temp.path()); }), {"twice"}));
}

TEST_CASE("adapter: stacked ones are frozen, in the type of the model, beside the one that is trained")
{
    const TempFolder temp;
    auto first = adapted(all_linear(3));
    graft::save_adapter(first, temp.path(), {}, {.metadata = {{"colour", "blue"}}});
    const auto file = graft::SafetensorsFile::open(temp / "adapter_model.safetensors");
    CHECK(file.metadata() == std::map<std::string, std::string>{{"colour", "blue"}, {"format", "pt"}});

    auto model = adapted(all_linear(2), 5);
    const auto alone = values_of(model);
    CHECK(graft::stack_adapter(model, temp.path()).rank == 3);
    CHECK(graft::stack_adapter(model, temp.path()).alpha == 6);
    auto all = values_of(model);
    CHECK(all.size() == alone.size() + 2 * 28);
    for (const auto& [name, values] : values_of(first)) {
        if (name.find("lora_") == std::string::npos) { continue; }
        for (const char* below : {"stacked.0.", "stacked.1."}) {
            auto longer = name;
            longer.insert(name.find("lora_"), below);
            CAPTURE(longer);
            CHECK(all.at(longer) == values);
            all.erase(longer);
        }
    }
    CHECK(all == alone);
    CHECK(graft::trained_tensors(model).size() == 28);
    graft::modules(model, [&](const std::string&, auto& module) {
        if constexpr (graft::is_any_linear<std::remove_cvref_t<decltype(module)>>) {
            REQUIRE(module.stacked().size() == 2);
            CHECK(module.stacked()[0].scale == 2);
            CHECK(module.branch()->scale == 3);
        }
    });

    // What is saved and loaded again is the trained one alone.
    fs::create_directories(temp / "second");
    graft::save_adapter(model, temp / "second");
    CHECK(Tensors::read(temp / "second/adapter_model.safetensors").list.size() == 28);
    auto again = adapted(all_linear(2), 8);
    graft::stack_adapter(again, temp.path());
    graft::stack_adapter(again, temp.path());
    graft::load_adapter(again, temp / "second");
    CHECK(values_of(again) == values_of(model));

    // The base is loaded below them as if they were not there.
    auto filled = graft::make_model<float>(tiny_config(), {});
    graft::stack_adapter(filled, temp.path());
    graft::load_weights(filled, graft::Checkpoint::open(tiny_checkpoint(temp.path())));
    auto expected = tiny_model<float>();
    graft::stack_adapter(expected, temp.path());
    CHECK(values_of(filled) == values_of(expected));
}

TEST_CASE("adapter: one that does not fit is not stacked, and nothing has changed")
{
    const TempFolder temp;
    auto model = adapted(all_linear(2));
    graft::save_adapter(model, temp.path());
    misname_and_retype(temp.path());
    const auto before = values_of(model);
    const auto text = refusal_of([&] { graft::stack_adapter(model, temp.path()); });
    CAPTURE(text);
    CHECK(says(text, {"missing", "layers.7.", "I32"}));
    CHECK(values_of(model) == before);
    auto config = graft::read_json(temp / "adapter_config.json");
    config["r"] = 5;
    write_text(temp / "adapter_config.json", config.dump());
    CHECK(says(refusal_of([&] { graft::stack_adapter(model, temp.path()); }), {"[2, 8]", "expected [5, 8]"}));
    CHECK(values_of(model) == before);
}

TEST_CASE("adapter: missing, unknown and misshaped tensors are listed together; another rank is refused")
{
    const TempFolder temp;
    auto model = adapted(all_linear(2));
    graft::save_adapter(model, temp.path());
    auto wider = adapted(all_linear(4));
    CHECK(says(refusal_of([&] { graft::load_adapter(wider, temp.path()); }),
               {"adapter_model.safetensors", "[2, 8]", "expected [4, 8]", "and 20 more"}));

    misname_and_retype(temp.path());
    const auto before = values_of(model);
    const auto text = refusal_of([&] { graft::load_adapter(model, temp.path()); });
    CAPTURE(text);
    CHECK(says(text, {"missing", "layers.7.", "I32"}));
    CHECK(values_of(model) == before);
    fs::remove(temp / "adapter_model.safetensors");
    CHECK(says(refusal_of([&] { graft::load_adapter(model, temp.path()); }), {"adapter_model.safetensors"}));
    write_text(temp / "adapter_model.bin", "x");
    CHECK(says(refusal_of([&] { graft::load_adapter(model, temp.path()); }), {"pickle"}));
}
