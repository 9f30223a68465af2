#include "programs_support.hpp"

// The program inspect over data: what would be learnt, before a run.
using namespace graft_test;

namespace {

std::string examples(const std::string& name) { return std::string(GRAFT_EXAMPLES_DIR) + "/data/" + name; }
bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

}  // namespace

TEST_CASE("inspect --data: the conversations that ship with the examples")
{
    if (!built("inspect")) { return; }
    const Arguments base{small_model(), "--data", examples("conversations.jsonl"), "--template", "zephyr"};
    const auto ended = run("inspect", base);
    CAPTURE(ended.out);
    CHECK(ended.status == 0);
    CHECK(ended.err == "");
    CHECK(has(ended.out, "data: template: zephyr; learning responses; at most 512 tokens a row\n"));
    CHECK(has(ended.out, "  48 rows of messages, 48 used, 0 dropped; 4329 tokens, 1979 targets (45.7 %)\n"));
    CHECK(has(ended.out, "  the end of turn </s> is a target in 48 of 48 rows\n"));
    CHECK(has(ended.out, "    25-29 |####                                    | 2\n"));
    CHECK(has(ended.out, "«Mia is happy. She made a cake with her mom, and it was very good.</s>»"));
    CHECK(!has(ended.out, "embedding"));  // the audit is another question
    // Row by row: no more than asked for.
    CHECK(!has(run("inspect", joined(base, {"--rows", "0"})).out, "«"));
    const auto one = run("inspect", joined(base, {"--rows", "1"})).out;
    CHECK(has(one, "row 13: 28 targets of 61 tokens\n"));
    CHECK(!has(one, "row 28"));
    // The same without a config: a folder with a tokeniser is enough. No weights are read.
    const TempFolder temp;
    write_text(temp / "tokenizer.json", read_text(small_model() + "/tokenizer.json"));
    write_text(temp / "tokenizer_config.json", read_text(small_model() + "/tokenizer_config.json"));
    auto bare = base;
    bare[0] = temp.path().string();
    CHECK(has(run("inspect", bare).out, "1979 targets (45.7 %)"));
}

TEST_CASE("inspect --data: what is cut, dropped and typed, in several files, with other options")
{
    if (!built("inspect")) { return; }
    const TempFolder temp;
    const std::string first = (temp / "a.jsonl").string(), second = (temp / "b.jsonl").string();
    write_text(first, "{\"messages\": [{\"role\": \"user\", \"content\": \"Say </s> \\u001b[2J\"}, "
                      "{\"role\": \"assistant\", \"content\": \"Yes\"}]}\n"
                      "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}\n");
    write_text(second, "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", "
                       "\"content\": \"Once upon a time there was a little girl who had a dog and a cat\"}]}\n");
    const auto ended =
        run("inspect", {small_model(), "--data", first + "," + second, "--template", "zephyr", "--max-length", "48"});
    CAPTURE(ended.out);
    CAPTURE(ended.err);
    CHECK(ended.status == 0);
    CHECK(has(ended.out, "3 rows of messages, 2 used, 1 dropped"));
    CHECK(has(ended.out, "dropped 1 row: no assistant turn (" + first + ":2)"));
    CHECK(has(ended.out, "cut 1 row at the maximum length"));
    CHECK(has(ended.out, "; 1 row lost the end of turn"));
    CHECK(has(ended.out, "1 control token inside the contents of 1 row, encoded as plain text (first " + first
                             + ":1, user: </s>)"));
    CHECK(has(ended.out, "the end of turn </s> is a target in 1 of 2 rows"));
    CHECK(has(ended.out, "how many rows have so many (0: dropped)"));
    CHECK(has(ended.out, "\\x1b[2J"));
    CHECK(!has(ended.out, "\x1b"));
    const auto all = run("inspect", {small_model(), "--data", second, "--template", "zephyr", "--train-on", "all"});
    CHECK(has(all.out, "learning all"));
    CHECK(has(all.out, "the end of turn </s> is a target in 1 of 1 row"));
    write_text(first, "{\"text\": \"Once upon a time\"}\n");
    const auto text = run("inspect", {small_model(), "--data", first, "--task", "text"});
    CHECK(has(text.out, "data: documents; learning all"));
    CHECK(has(text.out, "the end of text </s> is a target in 1 of 1 row"));
}

TEST_CASE("inspect --data: ready-made ids without a tokeniser")
{
    if (!built("inspect")) { return; }
    const TempFolder temp;
    write_text(temp / "config.json", read_text(small_model() + "/config.json"));
    const std::string rows = (temp / "ids.jsonl").string();
    write_text(rows, "{\"input_ids\": [1, 5, 6], \"labels\": [-100, -100, 6]}\n");
    const auto ended = run("inspect", {temp.path().string(), "--data", rows});
    CHECK(ended.status == 0);
    CHECK(has(ended.out, "row 1: 1 target of 3 tokens\n"));
    CHECK(!has(ended.out, "«"));
    write_text(rows, "{\"input_ids\": [1, 512], \"labels\": [-100, 512]}\n");
    check_refused(run("inspect", {temp.path().string(), "--data", rows}), {"input_ids[1] is 512", "0 to 511"});
}

TEST_CASE("inspect: a real adapter on its folder alone, its prefix doubled")
{
    if (!built("inspect")) { return; }
    const auto root = data();
    if (!root) { return skip("GRAFT_TEST_DATA is not set"); }
    const auto folder = *root / "data/adapters/gemma-2b-it-qlora";
    // 18 layers of width 2048: q and o 2048 -> 2048, k and v 2048 -> 256; A and B of each, rank 8.
    const auto ended = run("inspect", {folder.string()});
    CHECK(ended.status == 0);
    CHECK(ended.err == "");
    CHECK(ended.out
          == "adapter " + folder.string()
                 + "\n"
                   "  rank 8, alpha 32, dropout 0.05\n"
                   "  base google/gemma-2b-it\n"
                   "  144 tensors (BF16), 1,843,200 parameters, 3,686,400 bytes\n"
                   "  sha256 fffcaf51d11b8f016f3d37cd56c7fc17aab142dd3b684d5f54b87089911468f8\n"
                   "  its names carry the prefix base_model.model. twice, as a model wrapped twice writes it\n");
    static_assert(18 * 8 * (2 * (2048 + 2048) + 2 * (2048 + 256)) == 1843200);

    // The same where the prefix is there once: not a word of it.
    const TempFolder temp;
    write_text(temp / "adapter_config.json", read_text(folder / "adapter_config.json"));
    auto tensors = Tensors::read(folder / "adapter_model.safetensors");
    CHECK(tensors.list.size() == 144);
    for (auto& tensor : tensors.list) {
        const std::string once = "base_model.model.";
        REQUIRE(tensor.name.starts_with(once + once + "model.layers."));
        tensor.name = tensor.name.substr(once.size());
    }
    tensors.write(temp / "adapter_model.safetensors");
    const auto plain = run("inspect", {temp.path().string()});
    CHECK(plain.status == 0);
    CHECK(has(plain.out, "  144 tensors (BF16), 1,843,200 parameters, 3,686,400 bytes\n"));
    CHECK(!has(plain.out, "prefix"));

    // What is asked of it beyond that, and what is broken in it, is one line.
    check_refused(run("inspect", {folder.string(), "--adapter", folder.string()}), {"--adapter needs a checkpoint"});
    write_text(temp / "adapter_model.safetensors", read_text(folder / "adapter_model.safetensors").substr(0, 100000));
    check_refused(run("inspect", {temp.path().string()}), {"adapter_model.safetensors", "truncated"});
    fs::remove(temp / "adapter_model.safetensors");
    check_refused(run("inspect", {temp.path().string()}), {"no adapter_model.safetensors"});
}

TEST_CASE("inspect --data: refusals are one line on stderr and exit 2")
{
    if (!built("inspect")) { return; }
    const TempFolder temp;
    const std::string none = (temp / "none.jsonl").string(), some = examples("conversations.jsonl");
    write_text(none, "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}]}\n");
    const std::string model = small_model();
    struct Refused {
        Arguments arguments;
        std::vector<std::string> words;
    };
    const std::vector<Refused> cases{
        {{model, "--data", none, "--template", "zephyr"}, {"nothing to learn", "no assistant turn", ":1"}},
        {{model, "--template", "zephyr"}, {"--template", "--data"}},
        {{model, "--task", "text"}, {"--task", "--data"}},
        {{model, "--train-on", "all"}, {"--train-on", "--data"}},
        {{model, "--max-length", "9"}, {"--max-length", "--data"}},
        {{model, "--rows", "9"}, {"--rows", "--data"}},
        {{model, "--data", some, "--method", "lora"}, {"--method", "--data"}},
        {{model, "--data", some, "--adapter", model}, {"--adapter", "--data"}},
        {{model, "--data", some}, {"conversations need a chat template", "--template"}},
        {{model, "--data", some, "--template", "zephyr", "--max-length", "513"}, {"--max-length 513", "512"}},
        {{model, "--data", some, some, "--template", "zephyr"}, {"not expected"}},
        {{model, "--data", (temp / "absent").string(), "--template", "zephyr"}, {"absent"}},
        {{temp.path().string(), "--data", some}, {"--data needs", "tokenizer.json"}},
    };
    for (const auto& refused : cases) {
        std::string all;
        for (const auto& argument : refused.arguments) { all += argument + " "; }
        CAPTURE(all);
        const auto ended = run("inspect", refused.arguments);
        check_refused(ended, refused.words);
        CHECK(ended.out == "");
    }
}

TEST_CASE("finetune says of the data what inspect says, and so does its report")
{
    if (!built("finetune") || !built("inspect")) { return; }
    const TempFolder temp;
    const std::string out = (temp / "out").string(), data = examples("conversations.jsonl");
    const auto ended = run("finetune", {"--model", small_model(), "--data", data, "--template", "zephyr", "--output",
                                        out, "--rank", "2", "--steps", "1", "--batch", "2", "--quiet"});
    CHECK(ended.status == 0);
    const auto proof = run("inspect", {small_model(), "--data", data, "--template", "zephyr"}).out;
    const auto report = read_text(fs::path(out) / "report.html");
    for (const char* line :
         {"48 rows of messages, 48 used, 0 dropped; 4329 tokens, 1979 targets (45.7 %)",
          "targets a row: min 28, mean 41.2, max 53", "no row is cut", "no control tokens inside the contents"}) {
        CAPTURE(line);
        CHECK(has(ended.out, std::string("  ") + line + "\n"));
        CHECK(has(proof, std::string("  ") + line + "\n"));
        CHECK(has(report, std::string("<li>") + line + "</li>"));
    }
    CHECK(has(ended.out, "  rows by targets: 25-29: 2, 30-34: 2, 35-39: 18, 40-44: 10, 45-49: 12, 50-54: 4\n"));
    CHECK(has(report, "<rect class=\"bar\""));
    CHECK(has(report, "row 13: 28 targets of 61 tokens</h3>"));
    CHECK(has(report, "<mark>Mia is happy. She made a cake with her mom, and it was very good.&lt;/s&gt;</mark>"));
}

TEST_CASE("guide: check-what-is-learnt prints what it says")
{
    if (!built("inspect")) { return; }
    const auto guide = read_text(repo() / "../docs/guides/check-what-is-learnt.md");
    const auto before = fs::current_path();
    fs::current_path(repo() / "..");  // the commands name files of the repository
    int commands = 0;
    const std::string start = "```sh\nbuild/release/bin/inspect ";
    for (auto at = guide.find(start); at != guide.npos; at = guide.find(start, at + 1)) {
        const auto begin = at + start.size(), end = guide.find("\n```\n\n```\n", begin);
        std::istringstream words(guide.substr(begin, end - begin));
        Arguments arguments;
        for (std::string word; words >> word;) { arguments.push_back(word); }
        const auto shown = end + std::string("\n```\n\n```\n").size();
        const auto ended = run("inspect", arguments);
        CHECK(ended.status == 0);
        CHECK(ended.out == guide.substr(shown, guide.find("```", shown) - shown));
        ++commands;
    }
    fs::current_path(before);
    CHECK(commands == 2);
}
