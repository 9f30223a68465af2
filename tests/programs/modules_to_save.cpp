#include "finetune_support.hpp"

#include "graft/train/manifest.hpp"

// finetune --modules-to-save, --train-tokens, --target embed_tokens,lm_head: what is trained of embedding and head. The
// small model's head is tied.
using namespace graft_test;

namespace {

const std::string embedding = "base_model.model.model.embed_tokens.weight", head = "base_model.model.lm_head.weight";
const Arguments both{"--modules-to-save", "embed_tokens,lm_head", "--embedding-lr", "0.001"};
const Arguments settings{"--batch", "2", "--lr", "0.01"};
const Arguments three{"--steps", "3"};

bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

// A run over the small model into a folder of its own.
Ended train(const Place& place, const std::string& name, const Arguments& more)
{
    Arguments all = joined(joined({"--model", small_model(), "--data", (place.temp / "rows.jsonl").string(), "--output",
                                   (place.temp / name).string(), "--quiet"},
                                  settings),
                           more);
    const auto given = [&](const char* option) { return std::find(all.begin(), all.end(), option) != all.end(); };
    if (!given("--steps")) { all = joined(all, three); }
    if (!given("--adapter")) { all = joined(all, {"--rank", "3"}); }
    const auto ended = run("finetune", all);
    CAPTURE(ended.err);
    REQUIRE(ended.status == 0);
    return ended;
}

Tensors file_of(const Place& place, const std::string& name)
{
    return Tensors::read(place.temp / name / "adapter_model.safetensors");
}

nlohmann::json json_of(const Place& place, const std::string& file)
{
    return nlohmann::json::parse(read_text(place.temp / file));
}

std::string bytes_of(const Place& place, const std::string& name, const std::string& tensor)
{
    auto file = file_of(place, name);
    return file.at(tensor).bytes;
}

// The run "first", cut off behind its second step and resumed, gives the same adapter.
void check_resumed(const Place& place, const Arguments& options)
{
    fs::create_directories(place.temp / "cut");
    copy_folder(place.temp / "first/checkpoint-2", place.temp / "cut/checkpoint-2");
    train(place, "cut", joined(options, {"--resume"}));
    CHECK(read_text(place.temp / "cut/adapter_model.safetensors")
          == read_text(place.temp / "first/adapter_model.safetensors"));
}

}  // namespace

TEST_CASE("finetune --modules-to-save: a tied pair is one tensor, or two with --untie; groups, file, proof")
{
    if (!ready()) { return; }
    const Place place;
    const auto one = train(place, "one", both), two = train(place, "two", joined(both, {"--untie"}));
    CHECK(has(one.out, "group model.embed_tokens  1 tensor, 32,768 parameters, rate 0.001\n"));
    CHECK(has(one.out, "rate 0.01\n"));
    CHECK(has(one.out, "trained as one tensor"));
    CHECK(has(two.out, "group model.embed_tokens, lm_head  2 tensors, 65,536 parameters, rate 0.001\n"));
    CHECK(has(two.out, "tie_word_embeddings false"));
    for (const char* name : {"one", "two"}) {
        CAPTURE(name);
        const auto file = file_of(place, name);
        std::size_t bytes = 0;
        for (const auto& t : file.list) { bytes += t.bytes.size(); }
        CHECK(file.list.size() == 72);
        CHECK(has(name[0] == 'o' ? one.out : two.out,
                  "the adapter's file will hold 72 tensors, " + graft::with_commas(std::int64_t(bytes)) + " bytes\n"));
        const auto config = json_of(place, std::string(name) + "/adapter_config.json");
        CHECK(config.at("modules_to_save") == nlohmann::json({"embed_tokens", "lm_head"}));
        CHECK(config.at("ensure_weight_tying") == (name[0] == 'o'));
        const bool same = bytes_of(place, name, embedding) == bytes_of(place, name, head);
        CHECK(same == (name[0] == 'o'));
    }
    CHECK(json_of(place, "one/run.json").at("tensors").at("declared") == 71);
    CHECK(json_of(place, "one/run.json").at("tensors").at("trained") == 71);
    CHECK(json_of(place, "two/run.json").at("tensors").at("trained") == 72);
    CHECK(run("inspect", {"--verify-run", (place.temp / "two").string()}).status == 0);

    // The rate is its own: without one it is that of the adapter.
    train(place, "fast", {"--modules-to-save", "embed_tokens"});
    CHECK(bytes_of(place, "fast", embedding) != bytes_of(place, "one", embedding));

    const auto seen = run("inspect", {small_model(), "--adapter", (place.temp / "two").string()});
    CHECK(has(seen.out, "model.embed_tokens and lm_head: from the adapter's file, frozen"));
    CHECK(has(run("inspect", {(place.temp / "one").string()}).out,
              "trained whole: embed_tokens and lm_head, a tied pair as one tensor\n"));
}

TEST_CASE("finetune --modules-to-save: continued on, or kept frozen to the byte; generate reads both")
{
    if (!ready() || !built("generate")) { return; }
    const Place place;
    for (const Arguments& pair : {both, joined(both, {"--untie"})}) {
        CAPTURE(pair.back());
        train(place, "first", joined(pair, {"--overwrite"}));
        const Arguments from{"--adapter", (place.temp / "first").string(), "--overwrite"};
        const auto on = train(place, "on", from);
        CHECK(has(on.out, "whole: trained on (--freeze-saved-modules"));
        CHECK(has(on.out, "probe loss"));
        CHECK(bytes_of(place, "on", head) != bytes_of(place, "first", head));
        const auto frozen = train(place, "frozen", joined(from, {"--freeze-saved-modules"}));
        CHECK(has(frozen.out, "whole: frozen, saved as they came"));
        CHECK(bytes_of(place, "frozen", head) == bytes_of(place, "first", head));
        CHECK(bytes_of(place, "frozen", embedding) == bytes_of(place, "first", embedding));
        CHECK(json_of(place, "frozen/run.json").at("tensors").at("declared") == 70);
        const auto config = json_of(place, "frozen/adapter_config.json");
        CHECK(config == json_of(place, "first/adapter_config.json"));
        train(place, "same", joined(from, {"--steps", "0"}));
        CHECK(file_of(place, "same").at(head).bytes == bytes_of(place, "first", head));

        std::map<std::string, std::string> said;
        for (const char* name : {"first", "on", "same"}) {
            const auto ended = run("generate", {"--model", small_model(), "--adapter", (place.temp / name).string(),
                                                "--prompt", "Once upon a time", "--max-tokens", "30"});
            CAPTURE(ended.err);
            CHECK(ended.status == 0);
            said[name] = ended.out;
        }
        CHECK(said["first"] == said["same"]);
        CHECK(said["first"] != said["on"]);
    }
}

TEST_CASE("finetune --modules-to-save: a run cut and gone on with is the run that was never cut")
{
    if (!ready()) { return; }
    const Place place;
    for (const Arguments& more : {both, joined(both, {"--untie", "--dtype", "bf16"})}) {
        const auto options = joined(more, {"--save-every", "2", "--keep", "9", "--overwrite", "--steps", "5"});
        train(place, "whole", options);
        fs::remove_all(place.temp / "cut");
        fs::create_directories(place.temp / "cut");
        copy_folder(place.temp / "whole/checkpoint-2", place.temp / "cut/checkpoint-2");
        auto again = options;
        std::erase(again, "--overwrite");
        CHECK(has(train(place, "cut", joined(again, {"--resume"})).out, "2 of 5 steps are done"));
        CHECK(read_text(place.temp / "cut/adapter_model.safetensors")
              == read_text(place.temp / "whole/adapter_model.safetensors"));
        check_refused(run("finetune", {"--model", small_model(), "--data", (place.temp / "rows.jsonl").string(),
                                       "--output", (place.temp / "cut").string(), "--resume", "--rank", "3", "--lr",
                                       "0.01", "--batch", "2", "--steps", "6"}),
                      {"modules-to-save"});
    }
}

TEST_CASE("finetune --modules-to-save: a base in bf16 has them back in bf16, and what was measured is what was saved")
{
    if (!ready()) { return; }
    const auto root = data();
    if (!root) { return skip("GRAFT_TEST_DATA is not set"); }
    const Place place;
    const auto model = (*root / "data/models/stories260K-bf16-sharded").string();
    const auto first = run("finetune", place.with(joined(joined(settings, three), both), model));
    CAPTURE(first.err);
    REQUIRE(first.status == 0);
    auto file = Tensors::read(fs::path(place.out()) / "adapter_model.safetensors");
    CHECK(file.at(embedding).dtype == "BF16");
    CHECK(file.at(head).dtype == "BF16");
    CHECK(file.at("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight").dtype == "F32");
    copy_folder(place.out(), place.temp / "first");
    const auto next = run(
        "finetune", place.with({"--adapter", (place.temp / "first").string(), "--steps", "0", "--overwrite"}, model));
    CAPTURE(next.err);
    CHECK(next.status == 0);
    const auto run_json = json_of(place, "out/run.json"), earlier = json_of(place, "first/run.json");
    CHECK(run_json.at("tensors").at("before") == earlier.at("tensors").at("after"));
    CHECK(run_json.at("probe").at("before") == earlier.at("probe").at("after"));
    CHECK(read_text(fs::path(place.out()) / "adapter_model.safetensors").size()
          == read_text(place.temp / "first/adapter_model.safetensors").size());
}

TEST_CASE("finetune --train-tokens: only these rows, stored alone; continued, resumed, generated with")
{
    if (!ready() || !built("generate")) { return; }
    const Place place;
    const std::string rows = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta";
    const Arguments some{"--train-tokens", "403,261,7", "--embedding-lr", "0.05", "--save-every", "2"};
    const auto first = train(place, "first", some);
    CHECK(has(first.out, "group 3 rows of model.embed_tokens  1 tensor, 192 parameters, rate 0.05\n"));
    CHECK(has(first.out, "the adapter's file will hold 71 tensors, "));
    auto file = file_of(place, "first");
    CHECK(file.list.size() == 71);
    CHECK(file.at(rows).shape == std::vector<std::int64_t>{3, 64});
    auto whole = Tensors::read(fs::path(small_model()) / "model.safetensors");
    const auto base = whole.at("model.embed_tokens.weight").values();
    const auto new_rows = file.at(rows).values();
    const std::size_t tokens[] = {403, 261, 7};
    for (std::size_t s = 0; s < 3; ++s) {
        double moved = 0;
        for (std::size_t j = 0; j < 64; ++j) {
            moved = std::max(moved, double(std::abs(new_rows[s * 64 + j] - base[tokens[s] * 64 + j])));
        }
        CHECK(moved > (s < 2 ? 1e-3 : 0.0));  // the last is in no row: only the head's softmax moves it
        CHECK(moved < 1);                     // values of rows, near those of the base
    }
    CHECK(json_of(place, "first/adapter_config.json").at("trainable_token_indices")
          == nlohmann::json({{"embed_tokens", {403, 261, 7}}}));
    CHECK(json_of(place, "first/run.json").at("tensors").at("trained") == 71);

    check_resumed(place, some);
    const Arguments from{"--adapter", (place.temp / "first").string()};
    CHECK(has(train(place, "on", from).out, "probe loss"));
    CHECK(bytes_of(place, "on", rows) != bytes_of(place, "first", rows));
    train(place, "same", joined(from, {"--steps", "0"}));
    CHECK(bytes_of(place, "same", rows) == bytes_of(place, "first", rows));
    const auto ended = run("generate", {"--model", small_model(), "--adapter", (place.temp / "first").string(),
                                        "--prompt", "Once upon a time", "--max-tokens", "10"});
    CAPTURE(ended.err);
    CHECK(ended.status == 0);
    check_refused(run("finetune", place.with(joined(from, {"--train-tokens", "1"}))),
                  {"--train-tokens 1 (it has 403,261,7)"});
    check_refused(run("finetune", place.with({"--train-tokens", "512"})), {"512 is outside the vocabulary of 512"});
    check_refused(run("finetune", place.with({"--train-tokens", "5", "--modules-to-save", "embed_tokens"})),
                  {"trainable_token_indices", "the whole embedding already"});
}

TEST_CASE("finetune --target embed_tokens,lm_head: branches on both, of an untied model; continued and resumed")
{
    if (!ready() || !built("inspect")) { return; }
    const Place place;
    check_refused(run("finetune", place.with({"--target", "all-linear,embed_tokens"})),
                  {"--target: a branch of model.embed_tokens", "add --untie"});
    check_refused(run("finetune", place.with({"--target", "lm_head", "--untie", "--modules-to-save", "embed_tokens",
                                              "--train-tokens", "1"})),
                  {"trainable_token_indices", "not beside LoRA on lm_head"});
    const Arguments some{"--target", "attention,embed_tokens,lm_head", "--untie", "--save-every", "2", "--dropout",
                         "0.2"};
    const auto first = train(place, "first", some);
    CHECK(has(first.out, "adapter on 22 modules (embed_tokens, q_proj, k_proj, v_proj, o_proj and lm_head), rank 3"));
    CHECK(has(first.out, "untied: the head is a tensor of its own"));
    const std::string in = "base_model.model.model.embed_tokens.lora_embedding_",
                      out = "base_model.model.lm_head.lora_";
    auto file = file_of(place, "first");
    CHECK(file.list.size() == 44);
    using Extents = std::vector<std::int64_t>;
    CHECK(file.at(in + "A").shape == Extents{3, 512});
    CHECK(file.at(in + "B").shape == Extents{64, 3});
    CHECK(file.at(out + "A.weight").shape == Extents{3, 64});
    CHECK(file.at(out + "B.weight").shape == Extents{512, 3});
    for (const auto& name : {in + "A", out + "B.weight"}) {  // which begin as zero
        const auto values = file.at(name).values();
        CHECK(std::any_of(values.begin(), values.end(), [](double value) { return std::abs(value) > 1e-3; }));
    }
    const auto config = json_of(place, "first/adapter_config.json");
    CHECK(config.at("target_modules")
          == nlohmann::json({"q_proj", "k_proj", "v_proj", "o_proj", "embed_tokens", "lm_head"}));
    CHECK(config.at("ensure_weight_tying") == false);
    CHECK(run("inspect", {"--verify-run", (place.temp / "first").string()}).status == 0);
    CHECK(has(run("inspect", {small_model(), "--adapter", (place.temp / "first").string()}).out, "lm_head), rank 3"));

    check_resumed(place, some);
    const Arguments from{"--adapter", (place.temp / "first").string()};
    CHECK(has(train(place, "on", from).out, "probe loss"));
    CHECK(bytes_of(place, "on", in + "A") != bytes_of(place, "first", in + "A"));
    train(place, "same", joined(from, {"--steps", "0"}));
    CHECK(read_text(place.temp / "same/adapter_model.safetensors").size()
          == read_text(place.temp / "first/adapter_model.safetensors").size());
    for (const auto& name : {in + "A", in + "B", out + "A.weight", out + "B.weight"}) {
        CHECK(bytes_of(place, "same", name) == bytes_of(place, "first", name));
    }
}

TEST_CASE("finetune --modules-to-save: what is refused")
{
    if (!ready()) { return; }
    const Place place;
    const auto refused = [&](const Arguments& more, const std::vector<std::string>& words) {
        check_refused(run("finetune", place.with(more)), words);
        CHECK(!fs::exists(place.out()));
    };
    refused({"--modules-to-save", "q_proj"}, {"--modules-to-save names q_proj", "only embed_tokens, lm_head"});
    refused({"--modules-to-save", "nothing"}, {"--modules-to-save names nothing", "does not have"});
    refused({"--untie"}, {"--untie", "name them with --modules-to-save"});
    refused({"--modules-to-save", "lm_head", "--embedding-lr", "0"}, {"--embedding-lr"});
    refused({"--embedding-lr", "0.1"}, {"--embedding-lr", "name them with --modules-to-save"});
    refused({"--embedding-lr", "0.1", "--modules-to-save", "model.norm"}, {"--embedding-lr"});
    refused({"--freeze-saved-modules"}, {"--freeze-saved-modules", "no --adapter"});
    refused({"--method", "full", "--modules-to-save", "lm_head"}, {"--modules-to-save and --method full"});
    train(place, "plain", {});
    train(place, "whole", both);
    const Arguments from{"--adapter", (place.temp / "whole").string()};
    refused({"--adapter", (place.temp / "plain").string(), "--freeze-saved-modules"}, {"no modules that were trained"});
    refused({"--adapter", (place.temp / "plain").string(), "--modules-to-save", "lm_head"}, {"it has none"});
    refused(joined(from, {"--modules-to-save", "model.norm"}), {"model.norm (it has model.embed_tokens)"});
    refused(joined(from, {"--untie"}), {"--untie true (it has false)"});
    refused(joined(from, {"--freeze-saved-modules", "--embedding-lr", "0.1"}), {"--embedding-lr"});
    CHECK(run("finetune", place.with(joined(from, {"--modules-to-save", "lm_head", "--steps", "0"}))).status == 0);
}
