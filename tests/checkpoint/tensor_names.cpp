#include "graft/checkpoint/tensor_names.hpp"

#include <algorithm>

#include "graft/checkpoint/verify.hpp"
#include "graft/cpu.hpp"
#include "graft/train/fingerprint.hpp"
#include "grow_support.hpp"

using namespace graft_test;

namespace {

using Rename = std::function<std::string(const std::string&)>;

// The same checkpoint under other names, with more tensors.
fs::path respelled(const fs::path& folder, const Rename& rename, const std::vector<Tensors::One>& more = {})
{
    auto file = Tensors::read(folder / "model.safetensors");
    for (auto& tensor : file.list) { tensor.name = rename(tensor.name); }
    file.list.insert(file.list.end(), more.begin(), more.end());
    file.write(folder / "model.safetensors");
    return folder;
}
Rename before(const std::string& prefix)
{
    return [prefix](const std::string& name) { return prefix + name; };
}

// What reads the folder finds the values of the plain one; what is written has plain names.
void check_all_readers(const fs::path& folder, bool tied)
{
    const TempFolder temp;
    auto plain = tiny_model<float>(graft::Base::frozen, tied);
    auto model = graft::make_model<float>(tiny_config(tied), {});
    graft::load_weights(model, graft::Checkpoint::open(folder));
    CHECK(values_of(model) == values_of(plain));
    const auto found = graft::verify_weights(folder, graft::read_config(folder));
    for (const auto& part : found) {
        CAPTURE(part.name);
        CHECK(part.findings == std::vector<std::string>());
    }
    const auto base = tiny_checkpoint(temp.path(), tied);
    CHECK(graft::base_fingerprint(graft::Checkpoint::open(folder)).size() == 64);
    const auto adapter = made_adapter(temp / "adapter", {.tied = tied});
    for (const char* out : {"from_plain", "from_other"}) { fs::create_directories(temp / out); }
    merge(base, {adapter}, temp / "from_plain");
    merge(folder, {adapter}, temp / "from_other");
    CHECK(Tensors::read(temp / "from_plain/model.safetensors").bytes()
          == Tensors::read(temp / "from_other/model.safetensors").bytes());
}

Tensors::One one(const std::string& name, const std::string& dtype, const std::vector<std::int64_t>& shape,
                 std::size_t bytes)
{
    return {name, dtype, shape, std::string(bytes, '\0')};
}

std::string refused(const fs::path& folder, bool tied = false)
{
    return refusal_of([&] {
        auto model = graft::make_model<float>(tiny_config(tied), {});
        graft::load_weights(model, graft::Checkpoint::open(folder));
    });
}

}  // namespace

TEST_CASE("tensor_names: prefixes of wrappers, names without model., and what is left as it is")
{
    const std::string q = "layers.0.self_attn.q_proj.weight";
    for (const char* prefix :
         {"", "model.", "module.model.", "_orig_mod.model.", "module._orig_mod.model.", "base_model.model.model.",
          "model.model.", "transformer.", "_fsdp_wrapped_module.model."}) {
        CAPTURE(prefix);
        CHECK(graft::model_name(prefix + q) == "model." + q);
    }
    CHECK(graft::model_name("model._orig_mod.layers.1._checkpoint_wrapped_module.mlp.up_proj.weight")
          == "model.layers.1.mlp.up_proj.weight");
    CHECK(graft::model_name("module.lm_head.weight") == "lm_head.weight");
    CHECK(graft::model_name("model.lm_head.weight") == "lm_head.weight");
    CHECK(graft::model_name("norm.weight") == "model.norm.weight");
    CHECK(graft::model_name("embed_tokens.weight") == "model.embed_tokens.weight");
    for (const char* other : {"student.model.norm.weight", "model.extra.weight", "model.mtp.layers.0.x",
                              "layers.x.weight", "score.weight", "", ".", "model", "lm_head_2.weight"}) {
        CAPTURE(other);
        CHECK(graft::model_name(other) == other);
    }
}

TEST_CASE("tensor_names: buffers and other heads are told from parts of the model")
{
    for (const char* name : {"model.layers.0.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq",
                             "x.cos_cached", "position_ids", "model.layers.0.self_attn.masked_bias"}) {
        CHECK(graft::is_buffer(name));
    }
    CHECK(graft::is_buffer("model.layers.0.self_attn.bias", 4));
    CHECK(graft::is_buffer("model.layers.0.self_attn.bias", 1, true));
    CHECK(!graft::is_buffer("model.layers.0.self_attn.bias", 1));
    CHECK(!graft::is_buffer("model.layers.0.self_attn.q_proj.bias", 4));
    CHECK(!graft::is_buffer("model.norm.weight"));
    for (const char* name : {"score.weight", "module.score.weight", "v_head.summary.bias", "classifier.bias"}) {
        CHECK(graft::is_other_head(name));
    }
    CHECK(!graft::is_other_head("lm_head.weight"));
    CHECK(!graft::is_other_head("model.layers.0.score.weight"));
}

TEST_CASE("checkpoint: names of other writers are understood by every reader, and plain names are written")
{
    for (const bool tied : {false, true}) {
        for (const char* prefix : {"module.", "_orig_mod.", "module._orig_mod.", "base_model.model.", "model."}) {
            CAPTURE(prefix);
            const TempFolder temp;
            check_all_readers(respelled(tiny_checkpoint(temp.path(), tied), before(prefix)), tied);
        }
    }
    const TempFolder temp;
    const auto without = [](const std::string& name) { return name.substr(name.find('.') + 1); };
    check_all_readers(respelled(tiny_checkpoint(temp.path(), true), without), true);
}

TEST_CASE("checkpoint: a base keeps its fingerprint under other names, and its 4-bit weights")
{
    const TempFolder temp;
    const auto folder = quantized(tiny_checkpoint(temp.path()), temp / "nf4", true);
    const auto hash = graft::base_fingerprint(graft::Checkpoint::open(folder));
    const auto values = [&] {
        auto model = graft::load_model<float>(folder);
        return logits_of(model, {1, 2, 3});
    };
    const auto expected = values();
    respelled(folder, before("module."));
    CHECK(graft::base_fingerprint(graft::Checkpoint::open(folder)) == hash);
    CHECK(graft::Checkpoint::open(folder).renamed().count > 14);
    CHECK(values() == expected);
    const auto adapter = made_adapter(temp / "adapter", {});
    fs::create_directories(temp / "merged");
    merge(folder, {adapter}, temp / "merged", {.requantize = true});
    for (const auto& tensor : Tensors::read(temp / "merged/model.safetensors").list) {
        CHECK(!tensor.name.starts_with("module."));
    }
}

TEST_CASE("checkpoint: a tied pair under either name, in one file, in shards, or by the file's metadata")
{
    const auto as_head = [](const std::string& name) { return name == embedding ? std::string(head) : name; };
    const TempFolder temp;
    const auto folder = respelled(tiny_checkpoint(temp.path(), true), as_head);
    check_all_readers(folder, true);
    CHECK(graft::Checkpoint::open(folder).find(head) == nullptr);
    {
        const Shards shards(folder);
        check_all_readers(folder, true);
    }
    // As save_model of safetensors writes it: also where config.json does not tie them.
    for (const bool tied : {true, false}) {
        CAPTURE(tied);
        const TempFolder other;
        const auto saved = respelled(tiny_checkpoint(other.path(), true), as_head);
        auto file = Tensors::read(saved / "model.safetensors");
        auto header = file.header();
        header["__metadata__"] = {{"format", "pt"}, {embedding, head}};
        file.write(saved / "model.safetensors", header);
        write_text(saved / "config.json", tiny_json(tied));
        const auto checkpoint = graft::Checkpoint::open(saved);
        REQUIRE(checkpoint.find(embedding) != nullptr);
        CHECK((checkpoint.find(head) == nullptr) == tied);
        CHECK(checkpoint.stored_count() == std::int64_t(file.list.size()));
        CHECK(refused(saved, tied) == "");
    }
}

TEST_CASE("checkpoint: of an untied model neither half is made up")
{
    const TempFolder temp;
    const auto folder = tiny_checkpoint(temp.path(), true);  // without a head
    write_text(folder / "config.json", tiny_json(false));
    CHECK(says(refused(folder), {"missing: lm_head.weight", "saved without its head", "tie_word_embeddings"}));
    respelled(folder, [](const std::string& name) { return name; }, {one("score.weight", "F32", {2, 8}, 64)});
    CHECK(says(refused(folder), {"missing: lm_head.weight", "score.weight in its place"}));
    write_text(folder / "config.json", tiny_json(true));
    CHECK(refused(folder, true) == "");
}

TEST_CASE("checkpoint: buffers and other heads are passed over and listed; all else that is not the model's is named")
{
    const TempFolder temp;
    const auto folder = tiny_checkpoint(temp.path(), true);
    respelled(folder, before("module."),
              {one("module.model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {2}, 8),
               one("model.rotary_emb.inv_freq", "F32", {2}, 8),
               one("module.model.layers.1.self_attn.bias", "BOOL", {1, 1, 4, 4}, 16),
               one("v_head.summary.weight", "F32", {1, 8}, 32)});
    check_all_readers(folder, true);
    CHECK(
        graft::passed_over_text(graft::Checkpoint::open(folder))
        == "3 buffers (model.layers.0.self_attn.rotary_emb.inv_freq and 2 more), v_head.summary.weight of another head");
    respelled(folder, [](const std::string& name) { return name; },
              {one("model.layers.0.extra.weight", "F32", {2}, 8)});
    CHECK(says(refused(folder, true), {"not part of it: model.layers.0.extra.weight"}));
    const TempFolder next;
    const auto foreign = respelled(tiny_checkpoint(next.path()), before("student."));
    CHECK(says(refused(foreign), {"names that begin with student. are not understood"}));
    const TempFolder third;
    const auto adapted = respelled(tiny_checkpoint(third.path()), before(""),
                                   {one("model.layers.0.self_attn.q_proj.lora_A.default.weight", "F32", {2, 8}, 64)});
    CHECK(says(refused(adapted), {"with its adapter beside it", "merge_and_unload"}));
}

TEST_CASE("checkpoint: two tensors that mean the same are refused with both names")
{
    const TempFolder temp;
    const auto folder = respelled(tiny_checkpoint(temp.path()), before(""), {one("norm.weight", "F32", {8}, 32)});
    CHECK(says(refused(folder), {"model.norm.weight and norm.weight both mean model.norm.weight"}));
}

TEST_CASE("checkpoint: a folder without weights says what it holds instead")
{
    const auto text = [](const std::vector<std::string>& names) {
        const TempFolder temp;
        for (const auto& name : names) { write_text(temp / name, "x"); }
        return refusal_of([&] { graft::Checkpoint::open(temp.path()); });
    };
    CHECK(says(text({"pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"}), {"are pickles"}));
    CHECK(says(text({"consolidated.00.pth"}), {"consolidated.00.pth is a pickle"}));
    CHECK(says(text({"a.Q4_K_M.gguf"}), {"but a.Q4_K_M.gguf"}));
    CHECK(says(text({"model-00001-of-00002.safetensors"}), {"index"}));
    const TempFolder temp;
    fs::create_symlink("../../blobs/abc", temp / "model.safetensors");
    CHECK(says(refusal_of([&] { graft::Checkpoint::open(temp.path()); }), {"is a link to ../../blobs/abc"}));
}

TEST_CASE("grow: a base with other names, and a tied pair stored as its head")
{
    if (!stories()) { return; }
    const TempFolder temp;
    const auto plain = variant(temp / "plain"), other = variant(temp / "other");
    respelled(other,
              [](const std::string& name) { return "module." + (name == embedding ? std::string(head) : name); });
    grow(plain, temp / "a", {.tokens = chat_tokens});
    grow(other, temp / "b", {.tokens = chat_tokens});
    CHECK(Tensors::read(temp / "a/model.safetensors").bytes() == Tensors::read(temp / "b/model.safetensors").bytes());
}
