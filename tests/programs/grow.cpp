#include "nf4_checkpoint.hpp"

#include "graft/text/tokenizer.hpp"

// The program grow, run as it is built.
using namespace graft_test;

namespace {

bool ready()
{
    const bool there = built("grow");
    if (there && !fs::exists(small_model() + "/model.safetensors")) {
        skip("there is no examples/data/stories260K");
        return false;
    }
    return there;
}

Arguments grow(const std::string& model, const std::string& output, const Arguments& more = {},
               const std::string& tokens = "<|im_start|>,<|im_end|>")
{
    return joined({"--model", model, "--add-tokens", tokens, "--output", output}, more);
}

std::string says(const std::string& model, const Arguments& more = {})
{
    const auto ended =
        run("generate", joined({"--model", model, "--prompt", "Once upon a time", "--max-tokens", "40"}, more));
    CHECK(ended.status == 0);
    return ended.out;
}

}  // namespace

TEST_CASE("grow: says what it did, and the folder stands alone and speaks as before")
{
    if (!ready() || !built("inspect") || !built("generate")) { return; }
    const TempFolder temp;
    const std::string nf4 = quantized(small_model(), temp / "nf4", true).string();
    for (const auto& model : {small_model(), nf4}) {
        const std::string out = (temp / (model == nf4 ? "out-nf4" : "out")).string();
        const auto ended = run("grow", grow(model, out));
        CAPTURE(ended.out);
        CHECK(ended.err == "");
        REQUIRE(ended.status == 0);
        for (const std::string line :
             {"<|im_start|>  512\n", "<|im_end|>    513\n",
              "model.embed_tokens.weight: 512 rows before, 514 after (F32); new ones are the mean of 512\n",
              "the head is the embedding (tied)\n", "inspect --verify ", " --train-tokens 512,513 "}) {
            CAPTURE(line);
            CHECK(ended.out.find(line) != std::string::npos);
        }
        const auto verified = run("inspect", {"--verify", out});
        CAPTURE(verified.out);
        CHECK(verified.status == 0);
        CHECK(verified.out.find("514 tokens for 514 rows") != std::string::npos);
        CHECK(says(out) == says(model));
        CHECK(run("generate", {"--model", out, "--prompt", "<|im_start|>user", "--max-tokens", "4"}).status == 0);
    }
}

TEST_CASE("grow: brackets and spaces belong to a token, a multiple of rows, not special")
{
    if (!ready()) { return; }
    const TempFolder temp;
    const std::string out = (temp / "out").string();
    const auto ended = run("grow", grow(small_model(), out, {"--rows", "64", "--not-special"}, "[INST], x,[/INST]"));
    CHECK(ended.err == "");
    REQUIRE(ended.status == 0);
    CHECK(ended.out.find("512 rows before, 576 after") != std::string::npos);
    const auto tokenizer = graft::Tokenizer::load(out);
    CHECK(tokenizer.token(512) == "[INST]");
    CHECK(tokenizer.token(513) == " x");
    CHECK(tokenizer.token(514) == "[/INST]");
    CHECK(!tokenizer.is_special(514));
    const auto padded = run("grow", grow(out, (temp / "more").string()));  // 61 rows are free
    CHECK(padded.out.find("516  in a row that was padding\n") != std::string::npos);
    CHECK(padded.out.find("576 rows before, 576 after") != std::string::npos);
}

TEST_CASE("grow: refusals are one line and leave everything as it was")
{
    if (!ready()) { return; }
    const TempFolder temp;
    const std::string model = (temp / "model").string(), out = (temp / "out").string();
    copy_folder(small_model(), model);
    fs::create_directories(temp / "adapter");
    write_text(temp / "adapter/adapter_config.json", "{}");
    fs::create_directories(temp / "bare");
    for (const std::string name : {"config.json", "model.safetensors"}) {
        write_text(temp / "bare" / name, read_text(fs::path(model) / name));
    }
    const auto before = contents(temp.path());
    check_refused(run("grow", grow(model, out, {}, "<a>,,<b>")), {"grow: ", "empty"});
    check_refused(run("grow", grow(model, out, {}, "")), {"empty"});
    check_refused(run("grow", grow(model, out, {}, "<a>,<a>")), {"<a>", "twice"});
    check_refused(run("grow", grow(model, out, {}, "<a>,</s>")), {"</s>", "id 2"});
    check_refused(run("grow", grow(model, out, {}, "<a\xff>")), {"UTF-8"});
    check_refused(run("grow", grow(model, model)), {"is read by this run"});
    check_refused(run("grow", grow(model, model, {"--overwrite"})), {"is read by this run"});
    check_refused(run("grow", grow((temp / "adapter").string(), out)), {"holds an adapter, not a model"});
    check_refused(run("grow", grow((temp / "bare").string(), out)), {"no tokenizer.json"});
    check_refused(run("grow", grow(model, out, {"--rows", "0"})), {"--rows"});
    check_refused(run("grow", {"--model", model, "--output", out}), {"--add-tokens"});
    for (const std::uint64_t room : {10'000, 600'000}) {
        check_refused(run("grow", grow(model, out), {.most_file_bytes = room}), {"cannot write"});
    }
    CHECK(contents(temp.path()) == before);

    REQUIRE(run("grow", grow(model, out)).status == 0);
    const auto first = contents(out);
    check_refused(run("grow", grow(model, out)), {"already holds a run", "--overwrite"});
    check_refused(run("grow", grow(model, out, {"--overwrite"}), {.most_file_bytes = 600'000}), {"model.safetensors"});
    CHECK(contents(out) == first);
    REQUIRE(run("grow", grow(model, out, {"--overwrite"}, "<other>")).status == 0);
    CHECK(contents(out) != first);
    CHECK(!fs::exists(out + ".previous"));
}
