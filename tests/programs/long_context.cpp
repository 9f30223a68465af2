#include "finetune_support.hpp"

// Documents longer than the model's positions: --rope-scaling from finetune to generate, and in the files between.
using namespace graft_test;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

// A row of so many ids, each of them learnt but the first.
std::string row(int length, int salt)
{
    nlohmann::json ids = nlohmann::json::array({1}), labels = nlohmann::json::array({-100});
    for (int i = 1; i < length; ++i) { ids.push_back(3 + (i * i + salt * i) % 500), labels.push_back(ids.back()); }
    return nlohmann::json({{"input_ids", ids}, {"labels", labels}}).dump() + "\n";
}

// Rows of 700 tokens and the least run over them.
struct LongPlace : Place {
    LongPlace() { write_text(temp / "rows.jsonl", row(700, 1) + row(40, 2)); }
    Arguments run_of(const Arguments& more, const std::string& out = "out", const std::string& model = small_model())
    {
        return joined({"--model", model, "--data", (temp / "rows.jsonl").string(), "--output", (temp / out).string(),
                       "--quiet", "--steps", "1", "--batch", "1", "--no-shuffle"},
                      more);
    }
    // The same with another value of an option that is there.
    static Arguments changed(Arguments arguments, const std::string& option, const std::string& value)
    {
        const auto at = std::find(arguments.begin(), arguments.end(), option);
        REQUIRE(at != arguments.end());
        *(at + 1) = value;
        return arguments;
    }
    std::string at(const std::string& name) const { return (temp / name).string(); }
};

std::string metadata(const fs::path& file)
{
    const std::string text = read_text(file);
    std::uint64_t length = 0;
    std::memcpy(&length, text.data(), 8);
    return nlohmann::json::parse(text.substr(8, length)).at("__metadata__").value("graft.rope", "none");
}

}  // namespace

TEST_CASE("a length beyond the model's positions is refused unless a scaling covers it")
{
    if (!ready() || !built("inspect")) { return; }
    LongPlace place;
    check_refused(run("finetune", place.run_of({"--max-length", "700"})),
                  {"--max-length 700", "max_position_embeddings 512", "--rope-scaling yarn:2"});
    check_refused(run("finetune", place.run_of({"--max-length", "1025", "--rope-scaling", "yarn:2"})),
                  {"--max-length 1025", "1024 positions", "yarn, factor 2, from 512 to 1024 positions"});
    for (const char* wrong : {"yarn", "longrope:2", "nope:2", "yarn:1"}) {
        CAPTURE(wrong);
        check_refused(run("finetune", place.run_of({"--rope-scaling", wrong})), {"--rope-scaling", wrong});
    }
    CHECK(contents(place.temp.path()).size() == 1);  // nothing was written

    const Arguments data{small_model(), "--data", place.at("rows.jsonl"), "--max-length", "700"};
    check_refused(run("inspect", data), {"--max-length 700", "--rope-scaling yarn:2"});
    const auto shown = run("inspect", joined(data, {"--rope-scaling", "linear:2"}));
    CHECK(shown.status == 0);
    CHECK(has(shown.out, "at most 700 tokens a row"));
    CHECK(has(shown.out, "2 used, 0 dropped"));
}

TEST_CASE("an adapter keeps the name of its scaling; whoever uses it has to name the same")
{
    if (!ready() || !built("generate")) { return; }
    LongPlace place;
    for (const char* scaling : {"linear:2", "dynamic:2", "yarn:2", "llama3:2"}) {
        CAPTURE(scaling);
        const auto ended =
            run("finetune", place.run_of({"--max-length", "700", "--rope-scaling", scaling, "--overwrite"}));
        CAPTURE(ended.err);
        REQUIRE(ended.status == 0);
        CHECK(has(ended.out, std::string("trained with --rope-scaling ") + scaling));
        CHECK(has(ended.out, "rotary scaling: "));  // in the audit
        CHECK(metadata(place.temp / "out/adapter_model.safetensors") == scaling);
        CHECK(json_lines(place.temp / "out/metrics.jsonl").at(0).at("targets") == 699);  // whole rows

        const Arguments ask{"--model",  small_model(),      "--adapter",    place.out(),
                            "--prompt", "Once upon a time", "--max-tokens", "4"};
        check_refused(run("generate", ask), {place.out(), std::string("--rope-scaling ") + scaling});
        check_refused(run("generate", joined(ask, {"--rope-scaling", "yarn:3"})),
                      {std::string("--rope-scaling ") + scaling, "instead of yarn:3"});
        CHECK(run("generate", joined(ask, {"--rope-scaling", scaling})).status == 0);
    }
    check_refused(run("finetune", place.run_of({"--adapter", place.out()}, "more")), {"--rope-scaling llama3:2"});
    const auto more = run("finetune", place.run_of({"--adapter", place.out(), "--rope-scaling", "llama3:2"}, "more"));
    CHECK(more.status == 0);
    CHECK(metadata(place.temp / "more/adapter_model.safetensors") == "llama3:2");

    REQUIRE(run("finetune", place.run_of({}, "plain")).status == 0);
    CHECK(metadata(place.temp / "plain/adapter_model.safetensors") == "none");
}

TEST_CASE("a whole checkpoint has the scaling in its config.json and needs no option")
{
    if (!ready() || !built("generate") || !built("inspect")) { return; }
    LongPlace place;
    const auto full = run(
        "finetune",
        place.run_of({"--method", "full", "--lr", "1e-4", "--max-length", "700", "--rope-scaling", "yarn:2"}, "full"));
    CAPTURE(full.err);
    REQUIRE(full.status == 0);
    CHECK(has(full.out, "rotary scaling in its config.json: yarn, factor 2, from 512 to 1024 positions"));
    const auto config = nlohmann::json::parse(read_text(place.temp / "full/config.json"));
    CHECK(config.at("max_position_embeddings") == 1024);
    const auto& said = config.at(config.contains("rope_parameters") ? "rope_parameters" : "rope_scaling");
    CHECK(said.at("rope_type") == "yarn");
    CHECK(said.at("factor") == 2);
    CHECK(said.at("original_max_position_embeddings") == 512);
    CHECK(has(run("inspect", {place.at("full")}).out, "rotary scaling: yarn, factor 2, from 512 to 1024 positions"));

    // An adapter over it; the same option again changes nothing, another is refused.
    const auto over = run("finetune", place.run_of({"--max-length", "700"}, "over", place.at("full")));
    CHECK(over.status == 0);
    CHECK(!has(over.out, "trained with"));
    CHECK(metadata(place.temp / "over/adapter_model.safetensors") == "none");
    const auto again =
        run("finetune", place.run_of({"--max-length", "700", "--rope-scaling", "yarn:2"}, "again", place.at("full")));
    CHECK(again.status == 0);
    CHECK(Tensors::read(place.temp / "again/adapter_model.safetensors").bytes()
          == Tensors::read(place.temp / "over/adapter_model.safetensors").bytes());
    check_refused(run("finetune", place.run_of({"--rope-scaling", "linear:2"}, "no", place.at("full"))),
                  {"has a scaling already", "yarn, factor 2"});
    const Arguments ask{"--model",  place.at("full"), "--adapter",    place.at("over"),
                        "--prompt", "Once",           "--max-tokens", "600"};
    CHECK(run("generate", ask).status == 0);
}

TEST_CASE("the same rows train to the same bits whatever --max-length allows; dynamic knows which it was")
{
    if (!ready()) { return; }
    LongPlace place;
    write_text(place.temp / "rows.jsonl", row(200, 1) + row(40, 2));
    const auto trained = [&](const std::string& scaling, const std::string& length) {
        const auto three = place.changed(place.run_of({"--overwrite"}), "--steps", "3");
        const auto ended = run("finetune", joined(three, {"--max-length", length, "--rope-scaling", scaling}));
        CAPTURE(ended.err);
        REQUIRE(ended.status == 0);
        return Tensors::read(place.temp / "out/adapter_model.safetensors").bytes();
    };
    for (const char* scaling : {"linear:2", "yarn:2", "llama3:2"}) {
        CAPTURE(scaling);
        CHECK(trained(scaling, "512") == trained(scaling, "1024"));
    }
    const auto within = trained("dynamic:2", "512");
    CHECK(within != trained("dynamic:2", "1024"));
    REQUIRE(run("finetune", place.changed(place.run_of({"--overwrite"}), "--steps", "3")).status == 0);
    CHECK(within == Tensors::read(place.temp / "out/adapter_model.safetensors").bytes());  // plain up to its border
}

TEST_CASE("a resumed run has the scaling that it began with")
{
    if (!ready()) { return; }
    LongPlace place;
    const Arguments scaled = place.run_of({"--max-length", "700", "--rope-scaling", "yarn:2", "--save-every", "1"});
    REQUIRE(run("finetune", scaled).status == 0);
    const auto longer = place.changed(scaled, "--steps", "2");
    const auto other = place.changed(longer, "--rope-scaling", "yarn:3");
    check_refused(run("finetune", joined(other, {"--resume", "--allow-changed", "steps"})),
                  {"--rope-scaling was yarn:2, now yarn:3"});
    CHECK(run("finetune", joined(longer, {"--resume", "--allow-changed", "steps"})).status == 0);
}
