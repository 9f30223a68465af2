#include "graft/checkpoint/merge.hpp"

#include "merge_support.hpp"

#include "graft/checkpoint/combine.hpp"

using namespace graft_test;

namespace {

// A small base, an adapter for it, and an empty folder for the result.
struct Merging {
    TempFolder temp;
    fs::path base = tiny_checkpoint(temp.path());
    fs::path adapter = made_adapter(temp / "adapter", {.rank = 2, .alpha = 2}), out = temp / "out";

    Merging() { fs::create_directories(out); }
};

}  // namespace

TEST_CASE("merge: every weight is W + s B A, summed in f64 and rounded once")
{
    for (const auto type : {graft::StoredType::f32, graft::StoredType::bf16, graft::StoredType::f16}) {
        const TempFolder temp;
        const auto base = tiny_checkpoint(temp.path());
        const auto adapter = made_adapter(temp / "adapter", {.rank = 3, .alpha = 7});
        const auto out = temp / "out";
        fs::create_directories(out);
        const auto receipt = merge(base, {adapter}, out, {.type = type});
        auto before = Tensors::read(base / "model.safetensors"), after = Tensors::read(out / "model.safetensors");
        CHECK(before.list.size() == after.list.size());
        CHECK(receipt.merged == 14);
        for (auto& tensor : after.list) {
            CHECK(tensor.dtype == graft::stored_name(type));
            const auto exact = reference(before.at(tensor.name), {adapter});
            const auto found = values_in(tensor);
            REQUIRE(exact.size() == found.size());
            std::size_t wrong = 0;
            for (std::size_t i = 0; i < exact.size(); ++i) { wrong += found[i] != nearest(exact[i], type); }
            CAPTURE(tensor.name);
            CHECK(wrong == 0);
        }
        CHECK(graft::read_config(out).stored_dtype == graft::detail::dtype_name(type));
    }
}

TEST_CASE("merge in bf16: one rounding, not one to f32 and another to bf16")
{
    // 1 + 2^-8 is half way between two bf16 numbers, of which 1 is the even one; 2^-40 more decides for the other, but
    // is lost in f32.
    CHECK(float(graft::round_once<graft::bf16>(1 + 0x1p-8 + 0x1p-40)) == 1 + 0x1p-7f);
    CHECK(float(graft::round_once<graft::bf16>(1 + 0x1p-8)) == 1.0f);
    CHECK(float(graft::round_once<graft::bf16>(1 + 0x1p-8 - 0x1p-40)) == 1.0f);
    CHECK(float(graft::round_once<graft::bf16>(1 + 3 * 0x1p-8 - 0x1p-40)) == 1 + 0x1p-7f);
    CHECK(float(graft::round_once<graft::bf16>(-(1 + 0x1p-8 + 0x1p-40))) == -(1 + 0x1p-7f));
    CHECK(float(graft::round_once<graft::f16>(1 + 0x1p-11 + 0x1p-40)) == 1 + 0x1p-10f);
    CHECK(std::isinf(float(graft::round_once<graft::f16>(65520.0))));
    CHECK(float(graft::round_once<graft::f16>(65519.9999999)) == 65504.0f);

    const TempFolder temp;
    const auto base = tiny_checkpoint(temp.path());
    const auto adapter = made_adapter(temp / "adapter", {.rank = 2, .alpha = 2});
    const std::string name = "model.layers.0.mlp.up_proj";
    auto file = Tensors::read(adapter / "adapter_model.safetensors");
    auto model = Tensors::read(base / "model.safetensors");
    set(model.at(name + ".weight"), {1});
    set(file.at("base_model.model." + name + ".lora_A.weight"), {0x1p-8f, 0, 0, 0, 0, 0, 0, 0, 0x1p-40f});
    set(file.at("base_model.model." + name + ".lora_B.weight"), {1, 1});
    file.write(adapter / "adapter_model.safetensors");
    model.write(base / "model.safetensors");
    const auto out = temp / "out";
    fs::create_directories(out);
    merge(base, {adapter}, out, {.type = graft::StoredType::bf16});
    CHECK(values_in(Tensors::read(out / "model.safetensors").at(name + ".weight"))[0] == 1 + 0x1p-7);
}

TEST_CASE("merge: the receipt holds the error and the update of each kind")
{
    const TempFolder temp;
    const auto base = tiny_checkpoint(temp.path());
    const auto adapter = made_adapter(temp / "adapter", {.rank = 2, .alpha = 2, .targets = {"q_proj"}});
    const auto out = temp / "out";
    fs::create_directories(out);
    const auto receipt = merge(base, {adapter}, out, {.type = graft::StoredType::bf16});
    auto before = Tensors::read(base / "model.safetensors"), after = Tensors::read(out / "model.safetensors");
    double most = 0, sum = 0, update = 0;
    std::size_t count = 0;
    for (const std::string layer : {"0", "1"}) {
        const std::string name = "model.layers." + layer + ".self_attn.q_proj.weight";
        const auto exact = reference(before.at(name), {adapter}), found = values_in(after.at(name)),
                   old = values_in(before.at(name));
        for (std::size_t i = 0; i < exact.size(); ++i, ++count) {
            most = std::max(most, std::abs(exact[i] - found[i])), sum += std::abs(exact[i] - found[i]);
            update = std::max(update, std::abs(exact[i] - old[i]));
        }
    }
    for (const auto& kind : receipt.kinds) {
        CAPTURE(kind.kind);
        if (kind.kind != "q_proj") {
            CHECK(kind.merged == 0);
            CHECK(kind.max_error == 0);  // the weights were made so that bf16 holds them
            continue;
        }
        CHECK(kind.merged == 2);
        CHECK(most > 0);
        CHECK(kind.max_error == doctest::Approx(most));
        CHECK(kind.mean_error() == doctest::Approx(sum / double(count)));
        CHECK(kind.max_update == doctest::Approx(update));
    }
    CHECK(to_text(receipt).find("q_proj") != std::string::npos);
    CHECK(to_text(receipt).find("o_proj") == std::string::npos);
}

TEST_CASE("merge: several adapters add, each with its own scale")
{
    const TempFolder temp;
    const auto base = tiny_checkpoint(temp.path());
    const auto one = made_adapter(temp / "one", {.rank = 3, .alpha = 7, .seed = 1}),
               two =
                   made_adapter(temp / "two",
                                {.rank = 2, .alpha = 3, .rslora = true, .seed = 2, .targets = {"q_proj", "down_proj"}});
    const auto out = temp / "out";
    fs::create_directories(out);
    merge(base, {one, two}, out);
    auto before = Tensors::read(base / "model.safetensors");
    for (auto& tensor : Tensors::read(out / "model.safetensors").list) {
        const auto exact = reference(before.at(tensor.name), {one, two}), found = values_in(tensor);
        for (std::size_t i = 0; i < exact.size(); ++i) { CHECK(found[i] == double(float(exact[i]))); }
    }
}

TEST_CASE("merge: untouched tensors keep their bytes and types, and the companions come along")
{
    const TempFolder temp;
    const auto base = tiny_checkpoint(temp.path(), true, graft::StoredType::bf16);
    write_text(base / "tokenizer.json", "{\"a\": 1}");
    write_text(base / "chat_template.jinja", "{{ x }}");
    const auto adapter = made_adapter(temp / "adapter", {.rank = 2, .alpha = 2, .tied = true, .targets = {"v_proj"}});
    const auto out = temp / "out";
    fs::create_directories(out);
    const auto receipt = merge(base, {adapter}, out);
    CHECK(receipt.dtype == "bfloat16");
    auto after = Tensors::read(out / "model.safetensors");
    for (const auto& tensor : Tensors::read(base / "model.safetensors").list) {
        const bool same = after.at(tensor.name).bytes == tensor.bytes;
        CHECK(after.at(tensor.name).dtype == "BF16");
        CHECK(same == (tensor.name.find("v_proj") == std::string::npos));
    }
    CHECK(read_text(out / "tokenizer.json") == "{\"a\": 1}");
    CHECK(read_text(out / "chat_template.jinja") == "{{ x }}");
    CHECK(graft::read_config(out).tied);
}

TEST_CASE("merge: a value that is not finite, or too large for the type, is refused and leaves nothing")
{
    struct Case {
        float weight;
        float b;
        graft::StoredType type;
        const char* says;
    };
    for (const Case& c :
         {Case{1, std::numeric_limits<float>::quiet_NaN(), graft::StoredType::f32, "the adapter"},
          Case{std::numeric_limits<float>::infinity(), 1, graft::StoredType::f32, "broken"},
          Case{3e38f, 3e38f, graft::StoredType::bf16, "BF16"}, Case{60000, 60000, graft::StoredType::f16, "F16"}}) {
        const TempFolder temp;
        const auto base = tiny_checkpoint(temp.path());
        const auto adapter = made_adapter(temp / "adapter", {.rank = 2, .alpha = 2});
        const std::string name = "model.layers.1.mlp.up_proj";
        auto file = Tensors::read(adapter / "adapter_model.safetensors");
        auto model = Tensors::read(base / "model.safetensors");
        set(model.at(name + ".weight"), {c.weight});
        set(file.at("base_model.model." + name + ".lora_A.weight"), {1});
        set(file.at("base_model.model." + name + ".lora_B.weight"), {c.b});
        file.write(adapter / "adapter_model.safetensors");
        model.write(base / "model.safetensors");
        const auto out = temp / "out";
        fs::create_directories(out);
        const auto text = refusal_of([&] { merge(base, {adapter}, out, {.type = c.type}); });
        CAPTURE(text);
        CHECK(says(text, {name, "row 0, column 0", c.says}));
        CHECK(contents(out).empty());
    }
}

TEST_CASE("merge: a full disk leaves nothing")
{
    const Merging at;
    const auto &base = at.base, &adapter = at.adapter, &out = at.out;
    CHECK(with_full_disk(4096, [&] { merge(base, {adapter}, out); }) == 2);
    CHECK(contents(out).empty());
}

TEST_CASE("merge: tensors that do not fit are refused, all named")
{
    const Merging at;
    const auto &base = at.base, &adapter = at.adapter, &out = at.out;
    const auto good = Tensors::read(adapter / "adapter_model.safetensors");
    auto file = good;
    file.list[0].name = "base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight";
    file.list[3].shape = {file.list[3].shape[1], file.list[3].shape[0]};
    file.write(adapter / "adapter_model.safetensors");
    CHECK(says(refusal_of([&] { merge(base, {adapter}, out); }), {"missing", "layers.7.", "expected ["}));
    good.write(adapter / "adapter_model.safetensors");

    auto settings = nlohmann::json::parse(read_text(adapter / "adapter_config.json"));
    settings["r"] = 4;
    write_text(adapter / "adapter_config.json", settings.dump());
    CHECK(says(refusal_of([&] { merge(base, {adapter}, out); }), {"[2, 8]", "expected [4, 8]"}));
    settings["r"] = 2;
    write_text(adapter / "adapter_config.json", settings.dump());

    auto model = Tensors::read(base / "model.safetensors");
    model.list[0].name = "model.extra.weight";
    model.write(base / "model.safetensors");
    CHECK(says(refusal_of([&] { merge(base, {adapter}, out); }), {"missing", "not part of it", "model.extra.weight"}));
    CHECK(contents(out).empty());
}

TEST_CASE("trap: lm_head that differs from the embedding, config says tied: an error that names both")
{
    const TempFolder temp;
    const auto base = tiny_checkpoint(temp.path(), true);
    const auto adapter = made_adapter(temp / "adapter", {.rank = 2, .alpha = 2, .tied = true});
    const auto out = temp / "out";
    fs::create_directories(out);
    auto model = Tensors::read(base / "model.safetensors");
    auto head = model.at("model.embed_tokens.weight");
    head.name = "lm_head.weight";
    model.list.push_back(head);
    model.write(base / "model.safetensors");
    merge(base, {adapter}, out);
    CHECK(!Tensors::read(out / "model.safetensors").has("lm_head.weight"));  // one tensor, written once
    set(model.at("lm_head.weight"), {9});
    model.write(base / "model.safetensors");
    fs::remove_all(out);
    fs::create_directories(out);
    CHECK(says(refusal_of([&] { merge(base, {adapter}, out); }), {"lm_head.weight", "model.embed_tokens.weight"}));
    CHECK(contents(out).empty());
}

TEST_CASE("merge: LoRA on embedding and head, and rows of tokens")
{
    for (const bool tied : {false, true}) {
        CAPTURE(tied);
        const TempFolder temp;
        const auto base = tiny_checkpoint(temp.path(), tied);
        const auto rows = made_adapter(temp / "rows", {.tied = tied, .tokens = {3, 0}});
        const auto out = temp / "out";
        fs::create_directories(out);
        const auto receipt = merge(base, {rows}, out);
        CHECK(receipt.merged == 15);
        auto before = Tensors::read(base / "model.safetensors"), after = Tensors::read(out / "model.safetensors");
        for (auto& tensor : after.list) {
            CAPTURE(tensor.name);
            CHECK(largest_difference(values_in(tensor), reference(before.at(tensor.name), {rows})) <= 1e-7);
        }
        CHECK(after.at("model.embed_tokens.weight").bytes != before.at("model.embed_tokens.weight").bytes);
        CHECK(graft::read_config(out).tied == tied);  // rows of tokens reach both uses
        fs::remove_all(out);
        fs::create_directories(out);
        const auto other = made_adapter(temp / "other", {.seed = 2, .tied = tied, .tokens = {3}});
        CHECK(says(refusal_of([&] { merge(base, {rows, other}, out); }), {"the row of token 3", "cannot be known"}));
        CHECK(contents(out).empty());
        const auto config = tiny_config(tied);
        const auto stored = graft::StoredAdapter::open(rows, config);
        CHECK(
            says(refusal_of([&] { graft::grow_rank(stored, 8, config); }), {"rows of model.embed_tokens", "merge it"}));
    }
    const TempFolder temp;
    const auto base = tiny_checkpoint(temp.path());
    const auto adapter = made_adapter(temp / "adapter", {.rank = 3, .targets = {"q_proj", "embed_tokens", "lm_head"}});
    const auto out = temp / "out";
    fs::create_directories(out);
    CHECK(merge(base, {adapter}, out).merged == 4);
    auto before = Tensors::read(base / "model.safetensors"), after = Tensors::read(out / "model.safetensors");
    for (auto& tensor : after.list) {
        CAPTURE(tensor.name);
        const auto exact = reference(before.at(tensor.name), {adapter});
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < exact.size(); ++i) { wrong += values_in(tensor)[i] != double(float(exact[i])); }
        CHECK(wrong == 0);
        const bool changed = tensor.bytes != before.at(tensor.name).bytes;
        const auto is = [&](const char* part) { return tensor.name.find(part) != std::string::npos; };
        CHECK(changed == (is("q_proj") || is("embed_tokens") || is("lm_head")));
    }
}

TEST_CASE("trap: tied embedding with LoRA, which the head ignores in training and has after merging: untied")
{
    const TempFolder temp;
    const auto base = tiny_checkpoint(temp.path(), true);
    for (const std::string use : {"embed_tokens", "lm_head"}) {
        CAPTURE(use);
        const auto adapter = made_adapter(temp / ("adapter " + use), {.tied = true, .targets = {"q_proj", use}});
        const auto out = temp / ("out " + use);
        fs::create_directories(out);
        CHECK(merge(base, {adapter}, out).untied);
        auto before = Tensors::read(base / "model.safetensors"), after = Tensors::read(out / "model.safetensors");
        const bool lookup = use == "embed_tokens";
        CHECK((after.at("lm_head.weight").bytes == before.at("model.embed_tokens.weight").bytes) == lookup);
        CHECK((after.at("model.embed_tokens.weight").bytes == before.at("model.embed_tokens.weight").bytes) == !lookup);
        CHECK_FALSE(graft::read_config(out).tied);

        // The function that was trained.
        auto model = graft::load_model<float>(base, {}, {.untie = true});
        graft::add_adapter(model, adapter);
        const std::vector<std::int32_t> ids{1, 5, 2, 7, 0};
        const auto adapted = logits_of(model, ids);
        CHECK(largest_difference(adapted, logits_of(graft::load_model<float>(out), ids)) <= 1e-5);
        CHECK(largest_difference(adapted, logits_of(graft::load_model<float>(base), ids)) > 1e-3);
        auto tied = graft::load_model<float>(base);
        CHECK(says(refusal_of([&] { graft::add_adapter(tied, adapter); }), {"untie"}));
    }
}

TEST_CASE("trap: the scale on lora_bias: such adapters are refused by name, for every kind of base")
{
    const TempFolder temp;
    tiny_checkpoint(temp.path());
    const auto adapter = made_adapter(temp / "adapter", {.rank = 2, .alpha = 2});
    auto settings = nlohmann::json::parse(read_text(adapter / "adapter_config.json"));
    settings["lora_bias"] = true;
    write_text(adapter / "adapter_config.json", settings.dump());
    CHECK(says(refusal_of([&] { graft::StoredAdapter::open(adapter, tiny_config()); }), {"lora_bias"}));
}
