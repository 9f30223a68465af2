#include "programs_support.hpp"

#include "graft/text/tokenizer.hpp"

#include <cstdint>
#include <fstream>

// The program generate, run as it is built.
using namespace graft_test;

namespace {

struct Golden {
    std::string folder;
    nlohmann::json records;
};

std::optional<Golden> golden(const std::string& model)
{
    if (!built("generate")) { return std::nullopt; }
    const auto root = data();
    if (!root) {
        skip("GRAFT_TEST_DATA is not set");
        return std::nullopt;
    }
    const auto folder = *root / "data/models" / model;
    return Golden{folder.string(), nlohmann::json::parse(read_text(folder / "golden.json")).at("records")};
}

}  // namespace

TEST_CASE("generate: greedy text of stories260K for every recorded prompt")
{
    const auto g = golden("stories260K");
    if (!g) { return; }
    for (const auto& record : g->records) {
        const std::string prompt = record.at("prompt");
        CAPTURE(prompt);
        const auto ended = run("generate", {"--model", g->folder, "--prompt", prompt, "--max-tokens",
                                            std::to_string(record.at("greedy_ids").size())});
        CHECK(ended.status == 0);
        CHECK(ended.out == record.at("text").get<std::string>() + "\n");
        CHECK(ended.err == "");
    }
}

TEST_CASE("generate: greedy text of the sharded bf16 folder")
{
    const auto g = golden("stories260K-bf16-sharded");
    if (!g) { return; }
    const auto tokenizer = graft::Tokenizer::load(g->folder);
    for (const auto& record : g->records) {
        const std::string prompt = record.at("prompt");
        CAPTURE(prompt);
        auto ids = record.at("prompt_ids").get<std::vector<std::int32_t>>();
        const auto more = record.at("greedy_ids").get<std::vector<std::int32_t>>();
        ids.insert(ids.end(), more.begin(), more.end());
        const auto ended =
            run("generate", {"--model", g->folder, "--prompt", prompt, "--max-tokens", std::to_string(more.size())});
        CHECK(ended.status == 0);
        CHECK(ended.out == tokenizer.decode(ids, true) + "\n");
    }
}

TEST_CASE("generate: the same text for any number of threads; a seed gives the same sample again")
{
    if (!built("generate")) { return; }
    const Arguments base{"--model", small_model(), "--prompt", "Once upon a time", "--max-tokens", "40"};
    const auto one = run("generate", joined(base, {"--threads", "1"}));
    CHECK(one.status == 0);
    CHECK(run("generate", joined(base, {"--threads", "2"})).out == one.out);
    const Arguments warm{"--temperature", "1", "--top-p", "0.9", "--seed", "7"};
    const auto first = run("generate", joined(base, warm));
    CHECK(first.status == 0);
    CHECK(first.out != one.out);
    CHECK(first.out == run("generate", joined(base, warm)).out);
    CHECK(first.out != run("generate", joined(base, {"--temperature", "1", "--top-p", "0.9", "--seed", "8"})).out);
}

TEST_CASE("generate: --max-tokens 0 prints the prompt alone, and a temperature near 0 is greedy")
{
    if (!built("generate")) { return; }
    const auto none = run("generate", {"--model", small_model(), "--prompt", "The cat", "--max-tokens", "0"});
    CHECK(none.status == 0);
    CHECK(none.out == "The cat\n");
    const Arguments base{"--model", small_model(), "--prompt", "The cat", "--max-tokens", "20"};
    CHECK(run("generate", joined(base, {"--temperature", "0.001"})).out == run("generate", base).out);
}

TEST_CASE("generate: refusals are one line on stderr, nothing on stdout and exit 2")
{
    if (!built("generate")) { return; }
    const TempFolder temp;
    const std::string model = small_model();
    struct Refused {
        Arguments arguments;
        std::vector<std::string> words;
    };
    const std::vector<Refused> cases{
        {{}, {"--model"}},
        {{"--model", model}, {"--prompt", "--chat"}},
        {{"--model", model, "--prompt", "a", "--chat", "b"}, {"--prompt"}},
        {{"--model", model, "--prompt", "a", "--unknown"}, {"--unknown"}},
        {{"--model", model, "--prompt", "a", "--temperature", "-1"}, {"--temperature"}},
        {{"--model", model, "--prompt", "a", "--max-tokens", "many"}, {"--max-tokens"}},
        {{"--model", model, "--prompt", "a", "--dtype", "int8"}, {"--dtype"}},
        {{"--model", (temp / "absent").string(), "--prompt", "a"}, {"absent"}},
        {{"--model", model, "--chat", "hello"}, {"chat template", "--template", "zephyr", "chatml"}},
        {{"--model", model, "--chat", "hello", "--template", "nonsense"}, {"nonsense"}},
        {{"--model", model, "--prompt", "a", "--adapter", (temp / "absent").string()}, {"absent"}},
    };
    for (const auto& refused : cases) {
        const auto ended = run("generate", refused.arguments);
        std::string all;
        for (const auto& argument : refused.arguments) { all += argument + " "; }
        CAPTURE(all);
        check_refused(ended, refused.words);
        CHECK(ended.out == "");
    }
}

TEST_CASE("generate: weights that are not finite are an error, no text")
{
    if (!built("generate")) { return; }
    for (const std::uint32_t bits : {0x7fc00000u, 0x7f800000u, 0xff800000u}) {  // NaN, +inf, -inf in the last norm
        CAPTURE(bits);
        const TempFolder temp;
        copy_folder(small_model(), temp / "model");
        std::fstream file(temp / "model" / "model.safetensors", std::ios::binary | std::ios::in | std::ios::out);
        file.seekp(-4, std::ios::end);
        file.write(reinterpret_cast<const char*>(&bits), 4);
        file.close();
        for (const char* temperature : {"0", "1"}) {
            const auto ended = run("generate", {"--model", (temp / "model").string(), "--prompt", "Once",
                                                "--max-tokens", "4", "--temperature", temperature});
            CHECK(ended.status == 2);
            CHECK(ended.err.find("new token 1: the logit of id") != std::string::npos);
            CHECK(ended.err.find("not finite") != std::string::npos);
        }
    }
}
