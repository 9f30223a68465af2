#include "graft/checkpoint/save.hpp"

#include "checkpoint_support.hpp"
#include "graft/cpu.hpp"

using namespace graft_test;

TEST_CASE("save: a checkpoint stands alone, and loads to the same values")
{
    for (const bool tied : {false, true}) {
        const TempFolder temp;
        const auto base = temp / "base", folder = temp / "out";
        fs::create_directories(base);
        fs::create_directories(folder);
        write_text(base / "config.json", tiny_json(tied));
        write_text(base / "tokenizer.json", "{\"a\": 1}");
        write_text(base / "generation_config.json", "{\"eos_token_id\": 2}");
        write_text(base / "unrelated.txt", "x");
        write_text(base / "chat_template.jinja", "default");
        fs::create_directories(base / "additional_chat_templates/deeper");
        write_text(base / "additional_chat_templates/tool_use.jinja", "tools");
        write_text(base / "additional_chat_templates/rag.jinja", "rag");
        write_text(base / "additional_chat_templates/notes.txt", "x");
        auto model = tiny_model<float>(graft::Base::trained, tied);
        graft::save_checkpoint(model, base, folder, graft::StoredType::f32);

        CHECK(read_text(folder / "tokenizer.json") == read_text(base / "tokenizer.json"));
        CHECK(read_text(folder / "generation_config.json") == read_text(base / "generation_config.json"));
        CHECK(!fs::exists(folder / "unrelated.txt"));
        CHECK(read_text(folder / "chat_template.jinja") == "default");
        CHECK(contents(folder / "additional_chat_templates")
              == std::map<std::string, std::string>{{"tool_use.jinja", "tools"}, {"rag.jinja", "rag"}});
        CHECK(Tensors::read(folder / "model.safetensors").has("lm_head.weight") == !tied);
        const auto config = graft::read_config(folder);
        CHECK(config.tied == tied);
        CHECK(config.stored_dtype == "float32");
        auto again = graft::make_model<float>(config, {});
        graft::load_weights(again, graft::Checkpoint::open(folder));
        CHECK(values_of(again) == values_of(model));
    }
}

TEST_CASE("save: the element type is written into config.json too")
{
    const TempFolder temp;
    const auto folder = tiny_checkpoint(temp.path(), false, graft::StoredType::bf16);
    CHECK(graft::read_config(folder).stored_dtype == "bfloat16");
    for (const auto& tensor : Tensors::read(folder / "model.safetensors").list) { CHECK(tensor.dtype == "BF16"); }
}

TEST_CASE("save: a model with 4-bit weights is refused, by the name of one")
{
    const TempFolder temp;
    const auto folder = tiny_checkpoint(temp.path());
    auto model = graft::make_model<float>(tiny_config(), {.base = graft::Base::nf4});
    graft::load_weights(model, graft::Checkpoint::open(folder));
    const auto to = temp / "out";
    fs::create_directories(to);
    CHECK(says(refusal_of([&] { graft::save_checkpoint(model, folder, to, graft::StoredType::f32); }),
               {"q_proj.weight", "4-bit"}));
    CHECK(contents(to).empty());
}
