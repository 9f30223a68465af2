#include "finetune_support.hpp"
#include "nf4_checkpoint.hpp"

#include "graft/io/safetensors.hpp"

// generate --quantize nf4: an adapter that was trained over NF4 is asked as it was trained.
using namespace graft_test;

namespace {

std::string conversations() { return std::string(GRAFT_EXAMPLES_DIR) + "/data/conversations.jsonl"; }

// A run on conversations; returns what finetune itself answers after it, for the first prompts.
std::vector<std::string> train(const std::string& output, const Arguments& method, const std::string& model)
{
    const auto ended =
        run("finetune", joined({"--model", model, "--data", conversations(), "--template", "zephyr", "--output", output,
                                "--rank", "8", "--lr", "1e-2", "--steps", "8", "--batch", "8"},
                               method));
    CAPTURE(ended.err);
    REQUIRE(ended.status == 0);
    std::vector<std::string> out;
    std::istringstream lines(ended.out);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("after   ")) { out.push_back(line.substr(8)); }
    }
    REQUIRE(out.size() == 2);
    return out;
}

// The prompts of those answers: what the first rows of the data ask.
const std::vector<std::string> questions{"Who lives in the old tree?", "What did Tom find in the park?"};

struct Answers {
    std::vector<std::string> text;
    std::string notes;
};

Answers ask(const std::string& adapter, const Arguments& how, const std::string& model)
{
    Answers out;
    for (const auto& question : questions) {
        const auto ended = run("generate", joined({"--model", model, "--adapter", adapter, "--template", "zephyr",
                                                   "--chat", question, "--max-tokens", "48"},
                                                  how));
        CAPTURE(ended.err);
        REQUIRE(ended.status == 0);
        out.text.push_back(graft::printable(ended.out.substr(0, ended.out.size() - 1), 300));
        out.notes += ended.err;
    }
    return out;
}

std::string form(const std::string& adapter)
{
    const auto file = graft::SafetensorsFile::open(fs::path(adapter) / "adapter_model.safetensors");
    const auto at = file.metadata().find("graft.quantized");
    return at == file.metadata().end() ? "" : at->second;
}

}  // namespace

TEST_CASE("generate --quantize nf4: the tokens are those of finetune's own answers, over the base that it trained over")
{
    if (!ready() || !built("generate")) { return; }
    const TempFolder temp;
    const std::string model = small_model(), nf4 = "--quantize nf4", twice = "--quantize nf4 --double-quant";
    const std::map<std::string, Arguments> ways{
        {"", {}}, {nf4, {"--quantize", "nf4"}}, {twice, {"--quantize", "nf4", "--double-quant"}}};
    struct Case {
        std::string name, way, form;
        Arguments method;
    };
    const std::vector<Case> cases{
        {"dense", "", "dense", {}},
        {"nf4", nf4, "nf4", {"--method", "qlora"}},
        {"twice", twice, "nf4 double", {"--method", "qlora", "--double-quant"}},
        {"bf16", nf4, "nf4", {"--method", "qlora", "--dtype", "bf16", "--dropout", "0.1"}},
        {"untied", nf4, "nf4", {"--method", "qlora", "--target", "all-linear,lm_head", "--untie"}},
        {"rows", twice, "nf4 double", {"--method", "qlora", "--double-quant", "--train-tokens", "2,403"}},
    };
    for (const auto& c : cases) {
        CAPTURE(c.name);
        const std::string adapter = (temp / c.name).string();
        const auto trained = train(adapter, c.method, model);
        CHECK(form(adapter) == c.form);
        const Arguments type = c.name == "bf16" ? Arguments{"--dtype", "bf16"} : Arguments{};
        bool other = false;
        for (const auto& one : ways) {
            const std::string& said = one.first;
            CAPTURE(said);
            const auto answers = ask(adapter, joined(one.second, type), model);
            if (said == c.way) {
                CHECK(answers.text == trained);
                CHECK(answers.notes.empty());
            } else {
                other = other || answers.text != trained;
                CHECK(answers.notes.find("generate: note: " + adapter + " was trained over ") == 0);
                const std::string as = c.way.empty() ? "without --quantize" : c.way;
                CHECK(answers.notes.find("as it was trained: " + as + "\n") != std::string::npos);
            }
        }
        CHECK(other);  // the test can fail: elsewhere the answers are others
    }
    // Several adapters, each with its note; one that says nothing of itself has none.
    const auto both =
        run("generate", {"--model", model, "--adapter", (temp / "dense").string() + "," + (temp / "nf4").string(),
                         "--prompt", "Tom", "--max-tokens", "1"});
    CHECK(std::count(both.err.begin(), both.err.end(), '\n') == 1);
    auto old = Tensors::read(temp / "nf4/adapter_model.safetensors");
    old.write(temp / "nf4/adapter_model.safetensors");  // without metadata, as earlier versions and PEFT write it
    CHECK(ask((temp / "nf4").string(), {}, model).notes.empty());
    CHECK(ask((temp / "nf4").string(), {"--quantize", "nf4"}, model).notes.empty());
}

TEST_CASE("the form of the base is said by inspect, finetune and merge, and kept by what is made of adapters")
{
    if (!ready() || !built("generate") || !built("inspect") || !built("merge")) { return; }
    const Place place;
    const std::string first = (place.temp / "first").string();
    const Arguments begin{"--model",      small_model(), "--data",   (place.temp / "rows.jsonl").string(),
                          "--output",     first,         "--method", "qlora",
                          "--rank",       "2",           "--steps",  "2",
                          "--save-every", "1",           "--quiet"};
    REQUIRE(run("finetune", begin).out.find("generate --quantize nf4 asks it as it was trained") != std::string::npos);
    CHECK(form(first) == "nf4");
    CHECK(form(first + "/checkpoint-1") == "nf4");
    CHECK(run("inspect", {first}).out.find("trained over NF4\n") != std::string::npos);

    const auto more = run("finetune", place.with({"--adapter", first, "--steps", "1"}));
    CAPTURE(more.err);
    CHECK(more.status == 0);
    CHECK(more.out.find("note: " + first + " was trained over NF4, this is a dense base") != std::string::npos);
    CHECK(form(place.out()) == "dense");
    const auto same =
        run("finetune", place.with({"--adapter", first, "--steps", "1", "--method", "qlora", "--overwrite"}));
    CHECK(same.out.find("was trained over NF4") == std::string::npos);
    const auto over = run("finetune", place.with({"--stack", first, "--steps", "1", "--overwrite"}));
    CHECK(over.out.find("note: " + first + " was trained over NF4") != std::string::npos);

    const auto made = [&](const Arguments& arguments) {
        return run("merge", joined({"--model", small_model(), "--adapter", first, "--overwrite", "--output",
                                    (place.temp / "made").string()},
                                   arguments));
    };
    CHECK(made({}).out.find("note: " + first + " was trained over NF4, this is a dense base") != std::string::npos);
    CHECK(made({"--grow-rank", "4"}).status == 0);
    CHECK(form((place.temp / "made").string()) == "nf4");
    REQUIRE(run("finetune", place.with({"--rank", "2", "--steps", "1", "--overwrite"})).status == 0);
    CHECK(made({"--concat", place.out()}).out.find("note: one was trained over NF4, the other over a dense base")
          != std::string::npos);
    CHECK(form((place.temp / "made").string()).empty());
}

TEST_CASE("generate --quantize is refused where it means nothing")
{
    if (!built("generate")) { return; }
    const Arguments base{"--model", small_model(), "--prompt", "a", "--max-tokens", "1"};
    check_refused(run("generate", joined(base, {"--double-quant"})), {"--quantize"});
    check_refused(run("generate", joined(base, {"--quantize", "int8"})), {"--quantize", "nf4"});
    CHECK(run("generate", joined(base, {"--quantize", "nf4"})).status == 0);
}

TEST_CASE("a checkpoint that is stored in NF4: its adapters are asked over it as it is, and say so elsewhere")
{
    if (!ready() || !built("generate")) { return; }
    const TempFolder temp;
    for (const bool nested : {false, true}) {
        CAPTURE(nested);
        const std::string model = quantized(small_model(), temp / (nested ? "twice" : "once"), nested).string(),
                          adapter = model + "-adapter", way = nested ? "nf4 double" : "nf4";
        const auto trained = train(adapter, {}, model);
        CHECK(form(adapter) == way);
        const auto answers = ask(adapter, {}, model);
        CHECK(answers.text == trained);
        CHECK(answers.notes.empty());
        check_refused(run("generate", {"--model", model, "--prompt", "a", "--quantize", "nf4"}),
                      {"--quantize: " + model + " is stored in NF4", "leave it out"});
        // Over the dense checkpoint it is asked as it was trained once this is quantised alike.
        CHECK(ask(adapter, {}, small_model()).notes.find("was trained over NF4") != std::string::npos);
        Arguments alike{"--quantize", "nf4"};
        if (nested) { alike.emplace_back("--double-quant"); }
        CHECK(ask(adapter, alike, small_model()).text == trained);
    }
}
