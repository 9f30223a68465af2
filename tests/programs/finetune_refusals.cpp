#include "finetune_support.hpp"

#include <cmath>

// What finetune must refuse: one line on stderr, exit 2, every file as it was.
using namespace graft_test;

namespace {

std::string without_suffix(std::string name)
{
    const std::string prefix = "base_model.model.";
    return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

// finetune must refuse, with these words, and leave every file as it was.
void refused(const Place& place, const Arguments& arguments, const std::vector<std::string>& words,
             const ProcessOptions& options = {})
{
    const auto before = contents(place.temp.path());
    std::string all;
    for (const auto& argument : arguments) { all += argument + " "; }
    CAPTURE(all);
    check_refused(run("finetune", arguments, options), words);
    const auto after = contents(place.temp.path());
    CHECK(after == before);
}

// A changeable copy of the small model.
fs::path model_copy(const Place& place, const std::string& name = "model")
{
    copy_folder(small_model(), place.temp / name);
    return place.temp / name;
}

constexpr const char* q0 = "model.layers.0.self_attn.q_proj.weight";

}  // namespace

TEST_CASE("finetune refuses options that are unknown, wrong or exclude each other")
{
    if (!ready()) { return; }
    const Place place;
    refused(place, {}, {"--"});
    refused(place, place.with({"--unknown", "1"}), {"--unknown"});
    refused(place, place.with({"--method", "dora"}), {"--method"});
    refused(place, place.with({"--rank", "0"}), {"--rank"});
    refused(place, place.with({"--lr", "fast"}), {"--lr"});
    refused(place, place.with({"--double-quant"}), {"--double-quant", "--method qlora"});
    refused(place, place.with({"--steps", "-1"}), {"--steps"});
    refused(place, place.with({"--target", "c_attn"}), {"c_attn"});
    refused(place, place.with({"--max-length", "513"}), {"--max-length", "513", "512"});
    refused(place, place.with({"--adapter", (place.temp / "a").string(), "--method", "full"}), {"--adapter", "full"});
    refused(place, place.with({"--adapter", (place.temp / "absent").string()}), {"absent"});
    refused(place, place.with({"--config", (place.temp / "absent.toml").string()}), {"absent.toml"});
    write_text(place.temp / "bad.toml", "rankk = 4\n");
    refused(place, place.with({"--config", (place.temp / "bad.toml").string()}), {"rankk"});
}

TEST_CASE("finetune refuses data that it cannot learn from")
{
    if (!ready()) { return; }
    const Place place;
    const auto with_data = [&](const std::string& name, const std::string& text) {
        write_text(place.temp / name, text);
        return Arguments{"--model", small_model(), "--data", (place.temp / name).string(), "--output", place.out()};
    };
    refused(place,
            {"--model", small_model(), "--data", (place.temp / "absent.jsonl").string(), "--output", place.out()},
            {"absent.jsonl"});
    refused(place, with_data("empty.jsonl", ""), {"empty.jsonl"});
    refused(place, with_data("list.json", "[]"), {"list.json"});
    refused(place, with_data("broken.jsonl", std::string(few_rows) + "{\"input_ids\": [1,\n"), {"broken.jsonl:4"});
    refused(place, with_data("broken.json", "[{\"input_ids\": [1, 2], \"labels\": [1, 2]},\n {\"input_ids\": }]"),
            {"broken.json", "2"});
    refused(place, with_data("none.jsonl", "{\"input_ids\": [1, 2, 3], \"labels\": [-100, -100, -100]}\n"),
            {"none.jsonl"});
    refused(place, with_data("id.jsonl", "{\"input_ids\": [1, 512], \"labels\": [1, 512]}\n"), {"id.jsonl", "512"});
    refused(place, with_data("uneven.jsonl", "{\"input_ids\": [1, 2, 3], \"labels\": [1, 2]}\n"), {"uneven.jsonl"});
    refused(place, with_data("a.parquet", "PAR1"), {"parquet"});
    refused(place, with_data("a.csv", "a,b\n1,2\n"), {"a.csv:2", "fields a, b"});
    refused(place,
            with_data("chat.jsonl", R"({"messages": [{"role": "user", "content": "a"}, )"
                                    R"({"role": "assistant", "content": "b"}]})"
                                    "\n"),
            {"template", "chatml", "zephyr"});
}

TEST_CASE("finetune refuses a checkpoint that is not whole or not what its config says")
{
    if (!ready()) { return; }
    const Place place;
    const auto model = model_copy(place);
    const auto good = Tensors::read(model / "model.safetensors");
    const auto file = read_text(model / "model.safetensors"), config = read_text(model / "config.json");
    const auto args = place.with({}, model.string());
    const auto change = [&](const std::string& from, const std::string& to) {
        std::string text = config;
        const auto at = text.find(from);
        REQUIRE(at != std::string::npos);
        write_text(model / "config.json", text.replace(at, from.size(), to));
    };

    fs::remove(model / "config.json");
    refused(place, args, {"config.json"});
    write_text(model / "config.json", "{\n  \"model_type\": \"llama\",\n  oops\n}\n");
    refused(place, args, {"config.json", "line 3"});
    change("\"llama\"", "\"mamba\"");
    refused(place, args, {"config.json", "mamba"});
    change("\"num_hidden_layers\": 5", "\"num_hidden_layers\": 6");
    refused(place, args, {"missing", "model.layers.5.", "and 1 more"});
    change("\"intermediate_size\": 172", "\"intermediate_size\": 176");
    refused(place, args, {"shape", "[172, 64]", "[176, 64]", "and 7 more"});
    write_text(model / "config.json", config);

    write_text(model / "model.safetensors", file.substr(0, file.size() - 1000));
    refused(place, args, {"model.safetensors"});
    write_text(model / "model.safetensors", file.substr(0, 100));
    refused(place, args, {"model.safetensors", "truncated"});
    write_text(model / "model.safetensors", file.substr(0, 5));
    refused(place, args, {"model.safetensors", "truncated"});
    write_text(model / "model.safetensors", std::string(8, '\x7f') + file.substr(8));
    refused(place, args, {"model.safetensors", "header"});
    {
        auto header = good.header();
        header[good.list[1].name]["data_offsets"] = header[good.list[0].name]["data_offsets"];
        good.write(model / "model.safetensors", header);
        refused(place, args, {"model.safetensors"});
    }
    {
        auto header = good.header();
        header[q0]["dtype"] = "I32";
        good.write(model / "model.safetensors", header);
        refused(place, args, {q0, "I32"});
    }
    {
        auto damaged = good;
        damaged.erase(q0);
        damaged.at("model.norm.weight").name = "model.norm.scale";
        auto& k = damaged.at("model.layers.1.self_attn.k_proj.weight");
        k.shape = {k.shape[1], k.shape[0]};
        damaged.write(model / "model.safetensors");
        refused(place, args, {"missing", q0, "model.norm.weight", "model.norm.scale", "k_proj"});
    }
    {
        auto damaged = good;
        damaged.list.push_back({"lm_head.weight", "F32", {512, 64}, std::string(512 * 64 * 4, '\0')});
        damaged.write(model / "model.safetensors");
        refused(place, args, {"tie_word_embeddings", "lm_head.weight"});
    }
    fs::remove(model / "model.safetensors");
    refused(place, args, {"model.safetensors"});
}

TEST_CASE("finetune refuses an index that names the wrong shard or leaves its folder")
{
    if (!ready()) { return; }
    const Place place;
    const auto model = model_copy(place);
    const Shards shards(model);
    const auto args = place.with({"--steps", "0"}, model.string());
    const auto changed = [&](const std::string& to) {
        auto other = shards.map;
        other[shards.first.list[0].name] = to;
        shards.index(other);
    };
    changed("b.safetensors");
    refused(place, args, {".safetensors", "index", shards.first.list[0].name});
    changed("../model/a.safetensors");
    refused(place, args, {"../model/a.safetensors"});
    changed("/etc/passwd");
    refused(place, args, {"/etc/passwd"});
    auto moved = shards.map;
    for (auto& file : moved) {
        if (file == "b.safetensors") { file = "c.safetensors"; }
    }
    shards.index(moved);
    refused(place, args, {"c.safetensors", "missing"});
    shards.index(nlohmann::json::array());
    refused(place, args, {"weight_map"});
    write_text(model / "model.safetensors.index.json", "{\n\"weight_map\": {\n");
    refused(place, args, {"model.safetensors.index.json", "line"});
    shards.index(shards.map);
    CHECK(run("finetune", args).status == 0);
}

TEST_CASE("finetune refuses an adapter of another model, of another rank, or of a kind that it does not do")
{
    if (!ready()) { return; }
    const Place place;
    REQUIRE(run("finetune", place.with({"--steps", "0", "--rank", "4"})).status == 0);
    copy_folder(place.out(), place.temp / "adapter");
    fs::remove_all(place.out());
    const auto folder = place.temp / "adapter";
    const auto config = nlohmann::json::parse(read_text(folder / "adapter_config.json"));
    const auto good = Tensors::read(folder / "adapter_model.safetensors");
    const auto args = place.with({"--adapter", folder.string(), "--steps", "1"});
    const auto change = [&](const char* key, const nlohmann::json& value) {
        auto other = config;
        other[key] = value;
        write_text(folder / "adapter_config.json", other.dump(2));
    };
    change("r", 8);
    refused(place, args, {"adapter_model.safetensors", "[4, 64]", "[8, 64]", "more"});
    change("target_modules", {"q_proj"});
    refused(place, args, {"not part of it", "more"});
    change("use_dora", true);
    refused(place, args, {"use_dora"});
    change("modules_to_save", {"lm_head"});
    refused(place, args, {"missing", "lm_head.weight"});
    change("bias", "all");
    refused(place, args, {"bias"});
    change("peft_type", "IA3");
    refused(place, args, {"IA3"});
    change("r", "four");
    refused(place, args, {"adapter_config.json", "r"});
    write_text(folder / "adapter_config.json", config.dump());

    auto damaged = good;
    damaged.list.erase(damaged.list.begin());
    damaged.write(folder / "adapter_model.safetensors");
    refused(place, args, {"missing", without_suffix(good.list[0].name)});
    auto wrong = good;
    auto& tensor = wrong.list[0];
    tensor.shape = {tensor.shape[1], tensor.shape[0]};
    wrong.write(folder / "adapter_model.safetensors");
    refused(place, args, {"adapter_model.safetensors", "expected"});
    fs::remove(folder / "adapter_model.safetensors");
    refused(place, args, {"adapter_model.safetensors"});
    if (const auto root = data()) {
        refused(place, place.with({"--adapter", (*root / "golden/peft/lora_all_linear").string()}),
                {"adapter_model.safetensors", "expected"});
    }
}

TEST_CASE("finetune --adapter beside other settings names both values; equal ones are accepted")
{
    if (!ready()) { return; }
    const Place place;
    const Arguments settings{"--rank", "4", "--alpha", "12", "--target", "q_proj,v_proj", "--dropout", "0.25"};
    REQUIRE(run("finetune", place.with(joined({"--steps", "1"}, settings))).status == 0);
    fs::rename(place.out(), place.temp / "adapter");
    const auto with = [&](const Arguments& more) {
        return place.with(joined({"--adapter", (place.temp / "adapter").string(), "--steps", "1"}, more));
    };
    refused(place, with({"--rank", "8"}), {"--rank 8 (it has 4)", "adapter"});
    refused(place, with({"--alpha", "12.5"}), {"--alpha 12.5 (it has 12)"});
    refused(place, with({"--dropout", "0"}), {"--dropout 0 (it has 0.25)"});
    refused(place, with({"--rslora"}), {"--rslora true (it has false)"});
    refused(place, with({"--target", "all-linear"}), {"--target all-linear (it has q_proj and v_proj)"});
    refused(place, with({"--exclude", "v_proj"}), {"--exclude v_proj (it has none)"});
    refused(place, with({"--rank", "8", "--target", "q_proj"}), {"--rank 8", "--target q_proj"});
    for (const Arguments& equal :
         {settings, Arguments{"--target", "v_proj,q_proj"}, Arguments{"--exclude", "o_proj"}}) {
        CHECK(run("finetune", with(joined(equal, {"--overwrite"}))).status == 0);
    }
}

TEST_CASE("finetune refuses an output folder that holds a run, is the model's, or cannot be written")
{
    if (!ready()) { return; }
    const Place place;
    const auto model = model_copy(place);
    write_text(place.temp / "file", "");
    const auto to = [&](const std::string& output) {
        return Arguments{"--model", model.string(), "--data", (place.temp / "rows.jsonl").string(), "--output", output};
    };
    refused(place, to(model.string()), {"model"});
    refused(place, joined(to(model.string()), {"--overwrite"}), {"model"});
    refused(place, to((place.temp / "file").string()), {"file"});
    refused(place, to((place.temp / "file/out").string()), {"file"});
    refused(place, to("/dev/null/out"), {"/dev/null/out"});

    REQUIRE(run("finetune", place.with({"--steps", "1"})).status == 0);
    refused(place, place.with({"--steps", "2"}), {"out", "--overwrite"});
    // What fails after it has begun brings the old run back, too.
    refused(place, place.with({"--steps", "2", "--overwrite"}), {"out"}, {.most_file_bytes = 20000});
}

TEST_CASE("finetune on a full disk: one line, exit 2, nothing half-written")
{
    if (!ready()) { return; }
    const Place place;
    for (const std::uint64_t bytes : {1000, 20000}) {  // the one line of stderr needs some
        CAPTURE(bytes);
        refused(place, place.with({"--steps", "3"}), {"out"}, {.most_file_bytes = bytes});
        refused(place, place.with({"--steps", "3", "--method", "full"}), {"out"}, {.most_file_bytes = bytes});
    }
}

TEST_CASE("finetune stops at a loss that is not finite: names step, tensor and sample, writes nothing")
{
    if (!ready()) { return; }
    const Place place;
    const auto model = model_copy(place);
    auto tensors = Tensors::read(model / "model.safetensors");
    const float nan = NAN;
    std::memcpy(tensors.at(q0).bytes.data() + 40, &nan, 4);
    tensors.write(model / "model.safetensors");
    refused(place, place.with({"--steps", "2"}, model.string()), {"step 0", q0, "rows.jsonl", "row "});

    // The embedding of one token only: the sample that has it is named.
    auto one = Tensors::read(small_model() + "/model.safetensors");
    std::memcpy(one.at("model.embed_tokens.weight").bytes.data() + 419 * 64 * 4, &nan, 4);
    one.write(model / "model.safetensors");
    refused(place, place.with({"--steps", "2", "--no-shuffle", "--max-length", "64"}, model.string()),
            {"step 0", "embed_tokens"});
}

TEST_CASE("finetune stops where the last step has broken the model, which no later loss would tell")
{
    if (!ready()) { return; }
    const Place place;
    for (const std::string method : {"lora", "full"}) {
        CAPTURE(method);
        refused(place, place.with({"--steps", "1", "--lr", "1e38", "--method", method}),
                {"step 0 has broken the model", "the loss is not finite", "row ", "nothing was saved"});
    }
}
