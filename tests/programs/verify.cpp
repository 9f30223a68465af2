#include "finetune_support.hpp"

#include <cmath>
#include <limits>

// inspect --verify: a folder that stands alone passes, every kind of damage is found and named; and what a full
// fine-tuning saves is such a folder, over which an adapter can be trained.
using namespace graft_test;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

constexpr const char* q0 = "model.layers.0.self_attn.q_proj.weight";
constexpr const char* embedding = "model.embed_tokens.weight";

// A changeable copy of the small model.
struct Model {
    TempFolder temp;
    fs::path folder = temp / "model";

    Model() { copy_folder(small_model(), folder); }

    template <class Change> void tensors(Change&& change) const
    {
        auto file = Tensors::read(folder / "model.safetensors");
        change(file);
        file.write(folder / "model.safetensors");
    }
    template <class Change> void json(const std::string& name, Change&& change) const
    {
        auto text = nlohmann::ordered_json::parse(read_text(folder / name));
        change(text);
        write_text(folder / name, text.dump());
    }
    Ended verify() const { return run("inspect", {"--verify", folder.string()}); }
};

void put(Tensors::One& tensor, std::size_t element, float value)
{
    std::memcpy(tensor.bytes.data() + element * sizeof(float), &value, sizeof value);
}

// Exit 2; the report and the one line on stderr both say so, and nothing else is found.
void check_found(const Model& model, const std::string& part, const std::vector<std::string>& findings)
{
    const auto ended = model.verify();
    CAPTURE(ended.out);
    const auto n = findings.size();
    const std::string count = std::to_string(n) + (n == 1 ? " finding" : " findings");
    check_refused(ended, findings);
    CHECK(has(ended.err, model.folder.string() + ": " + count + ": "));
    CHECK(has(ended.out, "  " + part + std::string(11 - part.size(), ' ') + count + "\n"));
    for (const auto& finding : findings) { CHECK(has(ended.out, "    " + finding)); }
    CHECK(!has(ended.out, "stands alone"));
}

bool verifiable()
{
    if (!built("inspect")) { return false; }
    if (!fs::exists(small_model() + "/model.safetensors")) {
        skip("there is no examples/data/stories260K");
        return false;
    }
    return true;
}

}  // namespace

TEST_CASE("inspect --verify: a folder that stands alone, and what was looked at")
{
    if (!verifiable()) { return; }
    const auto ended = run("inspect", {"--verify", small_model()});
    CAPTURE(ended.out);
    CHECK(ended.status == 0);
    CHECK(ended.err == "");
    for (const char* line :
         {"  config     ok  llama, 5 layers, 512 positions\n", "  files      ok  47 tensors, ",
          "  names      ok  the 47 that config.json asks for\n", "  shapes     ok  ",
          "  types      ok  47 in F32; config.json says float32\n", "  values     ok  all finite\n",
          "  head       ok  the embedding (tied), stored once\n", "  total      ok  260,032 parameters\n",
          "  forward    ok  16 tokens, logits from ", "  tokeniser  ok  512 tokens for 512 rows\n",
          "  template   ok  none: ", "nothing found: the folder stands alone\n"}) {
        CAPTURE(line);
        CHECK(has(ended.out, line));
    }

    // In shards with an index, in bf16, and with a head that repeats the embedding.
    const Model model;
    model.tensors([](Tensors& file) {
        auto head = file.at(embedding);
        head.name = "lm_head.weight";
        file.list.push_back(head);
        for (auto& tensor : file.list) {
            std::string half;  // the upper two bytes of each f32
            for (std::size_t i = 0; i < tensor.bytes.size(); i += 4) { half += tensor.bytes.substr(i + 2, 2); }
            tensor.bytes = half, tensor.dtype = "BF16";
        }
    });
    model.json("config.json", [](auto& config) { config["torch_dtype"] = "bfloat16"; });
    Shards shards(model.folder);
    const auto sharded = model.verify();
    CAPTURE(sharded.out);
    CHECK(sharded.status == 0);
    CHECK(has(sharded.out, "48 tensors"));
    CHECK(has(sharded.out, "47 in BF16; config.json says bfloat16"));
    CHECK(has(sharded.out, "stored twice with the same values"));
    CHECK(has(sharded.out, "260,032 parameters"));
}

TEST_CASE("inspect --verify: damage to the weights, each found and named")
{
    if (!verifiable()) { return; }
    SUBCASE("missing tensors")
    {
        const Model model;
        model.tensors([](Tensors& file) { file.erase(q0), file.erase("model.norm.weight"); });
        const auto ended = model.verify();  // the total is wrong as well
        check_refused(ended, {"3 findings", std::string("missing: ") + q0, "missing: model.norm.weight"});
        CHECK(has(ended.out, "  names      2 findings\n"));
        CHECK(has(ended.out, "    the files hold 255,872 parameters, config.json asks for 260,032\n"));
        CHECK(has(ended.out, "  forward    -   not looked at\n"));
    }
    SUBCASE("a tensor too many")
    {
        const Model model;
        model.tensors([](Tensors& file) { file.list.push_back({"model.layers.9.odd.weight", "F32", {1}, "abcd"}); });
        check_found(model, "names", {"not a tensor of this model: model.layers.9.odd.weight"});
    }
    SUBCASE("another shape")
    {
        const Model model;
        model.tensors([](Tensors& file) { file.at("model.layers.1.self_attn.k_proj.weight").shape = {64, 32}; });
        check_found(model, "shapes", {"model.layers.1.self_attn.k_proj.weight is [64, 32], expected [32, 64]"});
    }
    SUBCASE("an element type that weights do not have")
    {
        const Model model;
        model.tensors([](Tensors& file) { file.at(q0).dtype = "I32"; });
        check_found(model, "types", {std::string(q0) + " is I32, expected F32, F16, BF16 or F64"});
    }
    SUBCASE("an element type that nobody knows")
    {
        const Model model;
        model.tensors([](Tensors& file) { file.at(q0).dtype = "F99"; });
        const auto ended = model.verify();
        check_refused(ended, {"1 finding: ", q0, "F99"});
        CHECK(has(ended.out, "  files      1 finding\n"));
        CHECK(has(ended.out, "  names      -   not looked at\n"));
        CHECK(has(ended.out, "  tokeniser  ok"));  // the rest is looked at all the same
    }
    SUBCASE("values that are not numbers")
    {
        const Model model;
        model.tensors([](Tensors& file) {
            put(file.at(q0), 17, NAN), put(file.at(q0), 4095, INFINITY);
            put(file.at("model.norm.weight"), 0, -INFINITY);
        });
        check_found(model, "values",
                    {std::string(q0) + ": 2 of 4,096 values are not finite, the first is element 17",
                     "model.norm.weight: 1 of 64 values are not finite, the first is element 0"});
    }
    SUBCASE("values that are numbers, but none come out")
    {
        const Model model;
        model.tensors([](Tensors& file) {
            for (std::size_t i = 0; i < 64; ++i) { put(file.at("model.norm.weight"), i, 3e38f); }
        });
        const auto ended = model.verify();
        check_refused(ended, {"1 finding: ", "logits of a pass over 16 tokens are not finite"});
        CHECK(has(ended.out, "  forward    1 finding\n"));
    }
    SUBCASE("a tied head that is another one")
    {
        const Model model;
        model.tensors([](Tensors& file) {
            auto head = file.at(embedding);
            head.name = "lm_head.weight";
            put(head, 5, 1.5f);
            file.list.push_back(head);
        });
        check_found(model, "head",
                    {"config.json says tie_word_embeddings, but lm_head.weight differs from "
                     "model.embed_tokens.weight"});
    }
    SUBCASE("no head where it is one of its own")
    {
        const Model model;
        model.json("config.json", [](auto& config) { config["tie_word_embeddings"] = false; });
        check_refused(model.verify(), {"missing: lm_head.weight"});
    }
    SUBCASE("a cut file")
    {
        const Model model;
        const auto text = read_text(model.folder / "model.safetensors");
        write_text(model.folder / "model.safetensors", text.substr(0, text.size() / 2));
        check_refused(model.verify(), {"1 finding: ", "truncated"});
    }
    SUBCASE("an index that counts otherwise")
    {
        const Model model;
        const Shards shards(model.folder);
        const nlohmann::json said = {{"weight_map", shards.map},
                                     {"metadata", {{"total_size", 1040129}, {"total_parameters", 260033}}}};
        write_text(model.folder / "model.safetensors.index.json", said.dump());
        check_found(model, "total",
                    {"model.safetensors.index.json: metadata says total_size 1040129, the files hold "
                     "1040128",
                     "model.safetensors.index.json: metadata says total_parameters 260033, the files "
                     "hold 260032"});
    }
}

TEST_CASE("inspect --verify: damage beside the weights")
{
    if (!verifiable()) { return; }
    SUBCASE("tokens that the model has no row for")
    {
        const Model model;
        model.json("tokenizer.json", [](auto& json) {
            json["added_tokens"].push_back({{"id", 512},
                                            {"content", "<new>"},
                                            {"single_word", false},
                                            {"lstrip", false},
                                            {"rstrip", false},
                                            {"normalized", false},
                                            {"special", true}});
        });
        check_found(model, "tokeniser", {"the model has 512 rows and none for <new> (512)"});
    }
    SUBCASE("a token that only the configuration names, and the model has no row for")
    {
        const Model model;
        model.json("tokenizer_config.json", [](auto& json) { json["pad_token"] = "[PAD]"; });
        check_found(model, "tokeniser", {"the model has 512 rows and none for [PAD] (512)"});
    }
    SUBCASE("an end of text that no table has")
    {
        const Model model;
        model.json("tokenizer_config.json", [](auto& json) { json["eos_token"] = "<|im_end|>"; });
        check_found(
            model, "tokeniser",
            {(model.folder / "tokenizer_config.json").string() + ": eos_token is \"<|im_end|>\", which no table"});
    }
    SUBCASE("rows that no token has are said, and no damage")
    {
        const Model model;
        model.json("tokenizer.json", [](auto& json) {
            for (const char* byte : {"<0xF0>", "<0xFE>", "<0xFF>"}) { json["model"]["vocab"].erase(byte); }
        });
        const auto ended = model.verify();
        CAPTURE(ended.out);
        CHECK(ended.status == 0);
        CHECK(has(ended.out, "  tokeniser  ok  509 tokens for 512 rows; no token has row 243, rows 257 to 258\n"));
    }
    SUBCASE("ends of text that are no token")
    {
        const Model model;
        model.json("config.json", [](auto& config) { config["eos_token_id"] = {2, 600}; });
        fs::remove(model.folder / "generation_config.json");
        check_refused(model.verify(), {"config.json: eos_token_id 600 is beyond the vocabulary of 512"});
    }
    SUBCASE("a tokeniser that does not read")
    {
        const Model model;
        write_text(model.folder / "tokenizer.json", "{\"model\": ");
        check_refused(model.verify(), {"1 finding: ", "tokenizer.json: parse error at line 1"});
    }
    SUBCASE("no tokeniser is no damage")
    {
        const Model model;
        fs::remove(model.folder / "tokenizer.json");
        const auto ended = model.verify();
        CHECK(ended.status == 0);
        CHECK(has(ended.out, "  tokeniser  ok  none: only rows of ready-made ids can be learnt\n"));
    }
    SUBCASE("a template that does not parse")
    {
        const Model model;
        write_text(model.folder / "chat_template.jinja", "{% for m in messages %}{{ m.content }}");
        const auto ended = model.verify();
        check_refused(ended, {"1 finding: chat template", "line 1, column 4"});
        CHECK(has(ended.out, "  template   1 finding\n"));
    }
    SUBCASE("a template that forgets the answer")
    {
        const Model model;
        write_text(model.folder / "chat_template.jinja", "{{ messages[0].content }}");
        check_found(model, "template", {"the template leaves out what was said: Nothing much."});
    }
    SUBCASE("a template that is well")
    {
        const Model model;
        write_text(model.folder / "chat_template.jinja",
                   "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}");
        const auto ended = model.verify();
        CHECK(ended.status == 0);
        CHECK(has(ended.out, "  template   ok  renders a question and its answer, "));
    }
    SUBCASE("everything at once")
    {
        const Model model;
        model.tensors([](Tensors& file) {
            file.erase(q0);
            put(file.at("model.norm.weight"), 3, NAN);
        });
        write_text(model.folder / "chat_template.jinja", "{% for %}");
        const auto ended = model.verify();
        check_refused(ended, {"4 findings: ", q0, "; model.norm.weight", "; chat template", "parameters"});
    }
}

TEST_CASE("inspect --verify: a folder without config.json is named as just that")
{
    if (!verifiable()) { return; }
    const Model model;
    fs::remove(model.folder / "config.json");
    check_refused(model.verify(), {"there is no config.json; it holds weights alone: copy config.json"});
    write_text(model.folder / "run_state.json", "{}");
    check_refused(model.verify(), {"there is no config.json; it holds the state of a run"});
    fs::remove(model.folder / "model.safetensors"), fs::remove(model.folder / "run_state.json");
    check_refused(model.verify(), {"there is no config.json; a model folder needs it beside the weights"});
    write_text(model.folder / "adapter_config.json", "{}");
    check_refused(model.verify(), {"holds an adapter, not a model"});
    check_refused(run("inspect", {"--verify", (model.temp / "absent").string()}), {"absent"});
    const auto both = run("inspect", {"--verify", small_model(), "--method", "lora"});
    check_refused(both, {"--method says nothing of --verify"});
}

TEST_CASE("full fine-tuning, then an adapter over the result")
{
    if (!ready() || !verifiable() || !built("generate")) { return; }
    const Place place;
    const std::string full = (place.temp / "full").string(), over = (place.temp / "over").string();
    const std::string rows = (place.temp / "rows.jsonl").string();
    for (const char* dtype : {"f32", "bf16"}) {
        CAPTURE(dtype);
        const auto first =
            run("finetune", {"--model", small_model(), "--data", rows, "--output", full, "--quiet", "--method", "full",
                             "--lr", "1e-3", "--epochs", "4", "--batch", "1", "--dtype", dtype, "--overwrite"});
        CAPTURE(first.err);
        REQUIRE(first.status == 0);
        const auto verified = run("inspect", {"--verify", full});
        CAPTURE(verified.out);
        CHECK(verified.status == 0);
        CHECK(has(verified.out, dtype == std::string("f32") ? "47 in F32" : "47 in BF16"));
        // It is another model now, and one that an adapter starts from with the loss that it ended with.
        const auto trained = Tensors::read(fs::path(full) / "model.safetensors");
        CHECK(trained.bytes() != Tensors::read(small_model() + "/model.safetensors").bytes());
        const auto second = run("finetune", {"--model", full, "--data", rows, "--output", over, "--quiet", "--rank",
                                             "4", "--steps", "4", "--batch", "3", "--lr", "1e-3", "--overwrite"});
        CAPTURE(second.err);
        REQUIRE(second.status == 0);
        const auto before = json_lines(fs::path(full) / "metrics.jsonl"),
                   after = json_lines(fs::path(over) / "metrics.jsonl");
        CHECK(after.front().at("loss") < before.front().at("loss"));
        CHECK(after.back().at("loss") < after.front().at("loss"));
        CHECK(run("generate", {"--model", full, "--adapter", over, "--prompt", "Once", "--max-tokens", "4"}).status
              == 0);
    }
    // What lies in the run's own checkpoints is a state, not a model.
    const auto saved = run("finetune", {"--model", small_model(), "--data", rows, "--output", full, "--quiet",
                                        "--method", "full", "--steps", "2", "--save-every", "1", "--overwrite"});
    REQUIRE(saved.status == 0);
    check_refused(run("inspect", {"--verify", full + "/checkpoint-2"}), {"no config.json", "the state of a run"});
}
