#include "finetune_support.hpp"

#include "graft/io/safetensors.hpp"
#include "graft/train/fingerprint.hpp"

// finetune --stack and generate with several adapters: a new adapter over frozen ones, and never one unawares.
using namespace graft_test;

namespace {

// A place with an adapter in it.
struct Stacked : Place {
    std::string first = (temp / "first").string(), second = (temp / "second").string();

    explicit Stacked(const Arguments& more = {})
    {
        train(first, joined({"--rank", "4", "--lr", "2e-2", "--steps", "3"}, more));
    }
    Ended train_as(const std::string& output, const Arguments& more) const
    {
        return run("finetune", joined({"--model", small_model(), "--data", (temp / "rows.jsonl").string(), "--output",
                                       output, "--quiet", "--no-shuffle", "--batch", "3"},
                                      more));
    }
    void train(const std::string& output, const Arguments& more) const
    {
        const auto ended = train_as(output, more);
        CAPTURE(ended.err);
        REQUIRE(ended.status == 0);
    }
    static std::string over(const fs::path& folder)
    {
        const auto file = graft::SafetensorsFile::open(folder / "adapter_model.safetensors");
        const auto at = file.metadata().find("graft.over");
        return at == file.metadata().end() ? "" : at->second;
    }
};

double first_loss(const fs::path& folder) { return json_lines(folder / "metrics.jsonl").front().at("loss"); }

Arguments once(const std::string& adapters, const Arguments& more = {})
{
    return joined(
        {"--model", small_model(), "--prompt", "Once upon a time", "--max-tokens", "24", "--adapter", adapters}, more);
}

std::map<std::string, std::string> tensors_of(const fs::path& folder)
{
    return Tensors::read(folder / "adapter_model.safetensors").bytes();
}

// Whether a program printed the text; it must have ended with this status.
bool says(const Ended& ended, const std::string& text, int status = 0)
{
    CAPTURE(ended.out);
    CAPTURE(ended.err);
    CHECK(ended.status == status);
    return ended.out.find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("finetune --stack: starts at the loss that continuing would have, and leaves the first adapter as it is")
{
    if (!ready()) { return; }
    for (const Arguments& method :
         {Arguments{}, Arguments{"--dtype", "bf16"}, Arguments{"--method", "qlora"}, Arguments{"--recompute"}}) {
        CAPTURE(method.empty() ? std::string("lora") : method.back());
        const Stacked at(method);
        const auto before = contents(at.first);
        at.train((at.temp / "more").string(), joined(method, {"--adapter", at.first, "--steps", "1"}));
        at.train(at.second, joined(method, {"--stack", at.first, "--rank", "2", "--lr", "5e-3", "--steps", "3"}));
        CHECK(contents(at.first) == before);
        CHECK(first_loss(at.second) == first_loss(at.temp / "more"));  // B is zero
        CHECK(json_lines(fs::path(at.second) / "metrics.jsonl").back().at("loss").get<double>()
              < first_loss(at.second));

        const auto second = Tensors::read(fs::path(at.second) / "adapter_model.safetensors");
        const auto first = Tensors::read(fs::path(at.first) / "adapter_model.safetensors");
        CHECK(second.list.size() == first.list.size());
        for (const auto& t : second.list) {
            CAPTURE(t.name);
            CHECK(first.has(t.name));  // the same modules, no word of a stack
            CHECK(t.shape.at(t.name.ends_with("lora_A.weight") ? 0 : 1) == 2);
        }
        CHECK(Stacked::over(at.first).empty());
        CHECK(Stacked::over(at.second) == graft::adapter_fingerprint(at.first));
    }
}

TEST_CASE("finetune --stack: the audit counts what is below as frozen")
{
    if (!ready()) { return; }
    const Stacked at;
    const auto plan = at.train_as(at.second, {"--stack", at.first, "--rank", "2", "--plan"});
    CAPTURE(plan.out);
    REQUIRE(plan.status == 0);
    CHECK(plan.out.find("parameters of 1 stacked adapter, frozen") != std::string::npos);
    CHECK(plan.out.find("stacked 1, frozen: 35 modules") != std::string::npos);
    CHECK(plan.out.find("stacked adapters, frozen  ") != std::string::npos);
    CHECK(plan.out.find("adapter on 35 modules") != std::string::npos);
    CHECK(plan.out.find("rank 2") != std::string::npos);
}

TEST_CASE("generate: adapters add, in any order; one that was trained over another is nothing without it")
{
    if (!ready() || !built("generate")) { return; }
    const Stacked at;
    at.train(at.second, {"--stack", at.first, "--rank", "4", "--lr", "5e-2", "--steps", "8"});
    const auto base = run("generate", {"--model", small_model(), "--prompt", "Once upon a time", "--max-tokens", "24"});
    const auto one = run("generate", once(at.first)), both = run("generate", once(at.first + "," + at.second));
    CAPTURE(both.err);
    REQUIRE(base.status == 0);
    REQUIRE(one.status == 0);
    REQUIRE(both.status == 0);
    CHECK(both.out != one.out);
    CHECK(both.out != base.out);
    CHECK(run("generate", once(at.second + "," + at.first)).out == both.out);

    const auto hash = "sha256 " + graft::adapter_fingerprint(at.first).substr(0, 8);
    check_refused(run("generate", once(at.second)),
                  {"second", "trained over another adapter", hash, "--adapter FIRST"});
    check_refused(run("generate", once(at.first + "," + at.first)), {"given twice"});
    check_refused(run("generate", once(at.first + "," + (at.temp / "absent").string())), {"absent"});

    // The first has changed since: another adapter.
    at.train((at.temp / "more").string(), {"--adapter", at.first, "--steps", "1"});
    check_refused(run("generate", once((at.temp / "more").string() + "," + at.second)), {"changed since", hash});
}

TEST_CASE("finetune --stack A --adapter B continues B, which was trained over A")
{
    if (!ready()) { return; }
    const Stacked at;
    at.train(at.second, {"--stack", at.first, "--rank", "2", "--steps", "2"});
    const auto other = (at.temp / "other").string(), third = (at.temp / "third").string();
    at.train(other, {"--rank", "3", "--steps", "1"});

    const auto hash = "sha256 " + graft::adapter_fingerprint(at.first).substr(0, 8);
    check_refused(at.train_as(third, {"--adapter", at.second}), {"trained over another adapter", hash, "--stack DIR"});
    check_refused(at.train_as(third, {"--adapter", at.second, "--stack", other}), {hash});
    check_refused(at.train_as(third, {"--stack", at.second}), {hash});
    CHECK(!fs::exists(third));

    // Without a step the tensors are those that came.
    at.train(third, {"--stack", at.first, "--adapter", at.second, "--steps", "0"});
    CHECK(tensors_of(third) == tensors_of(at.second));
    CHECK(Stacked::over(third) == graft::adapter_fingerprint(at.first));
    at.train(third, {"--stack", at.first, "--adapter", at.second, "--steps", "1", "--overwrite"});
    CHECK(tensors_of(third) != tensors_of(at.second));

    // And a third over both.
    const auto top = (at.temp / "top").string();
    at.train(top, {"--stack", at.first + "," + at.second, "--rank", "2", "--steps", "1"});
    CHECK(Stacked::over(top) == graft::adapter_fingerprint(at.first) + "," + graft::adapter_fingerprint(at.second));
    CHECK(first_loss(top) == first_loss(third));
}

TEST_CASE("finetune --stack: refusals")
{
    if (!ready()) { return; }
    const Stacked at;
    check_refused(at.train_as(at.second, {"--stack", at.first, "--method", "full"}), {"--stack", "--method full"});
    check_refused(at.train_as(at.second, {"--stack", at.first + "," + at.first}), {"given twice"});
    check_refused(at.train_as(at.second, {"--stack", at.first, "--adapter", at.first}), {"given twice"});
    check_refused(at.train_as(at.second, {"--stack", (at.temp / "absent").string()}), {"absent"});
    check_refused(at.train_as(at.first, {"--stack", at.first, "--overwrite"}), {"must not write into it"});
    fs::remove(fs::path(at.first) / "adapter_model.safetensors");
    check_refused(at.train_as(at.second, {"--stack", at.first}), {"adapter_model.safetensors"});
    CHECK(!fs::exists(at.second));
}

TEST_CASE("finetune --stack: a resumed run is the run that was not cut; over another adapter it is refused")
{
    if (!ready()) { return; }
    const Stacked at;
    const Arguments run_of{"--stack", at.first, "--rank", "2", "--schedule", "constant", "--save-every", "2"};
    at.train(at.second, joined(run_of, {"--steps", "4"}));
    const auto cut = (at.temp / "cut").string(), other = (at.temp / "other").string();
    at.train(cut, joined(run_of, {"--steps", "2"}));
    CHECK(Stacked::over(fs::path(cut) / "checkpoint-2") == graft::adapter_fingerprint(at.first));

    at.train(other, {"--rank", "3", "--steps", "1"});
    Arguments changed = run_of;
    changed[1] = other;
    check_refused(at.train_as(cut, joined(changed, {"--steps", "2", "--resume"})), {"--stack was sha256"});
    check_refused(at.train_as(cut, {"--rank", "2", "--schedule", "constant", "--steps", "2", "--resume"}), {"--stack"});
    at.train(cut, joined(run_of, {"--steps", "4", "--resume", "--allow-changed", "steps"}));
    CHECK(read_text(fs::path(cut) / "adapter_model.safetensors")
          == read_text(fs::path(at.second) / "adapter_model.safetensors"));
}

TEST_CASE("a base that holds an adapter: the choices are named, and each of them answers")
{
    if (!ready() || !built("generate")) { return; }
    const Stacked at;
    const auto base = at.temp / "base";
    copy_folder(small_model(), base);
    const auto train = [&](const Arguments& more) {
        return run("finetune", at.with(joined({"--steps", "1"}, more), base.string()));
    };
    const auto say = [&](const Arguments& more) {
        return run("generate", joined({"--model", base.string(), "--prompt", "a", "--max-tokens", "1"}, more));
    };
    const auto answered = [](const Ended& ended) {
        CAPTURE(ended.err);
        CHECK(ended.status == 0);
    };
    const std::vector<std::string> choices{"holds an adapter", "--adapter ", "--stack ", "--merge-adapter ",
                                           "--ignore-adapter"};

    // In the same folder, whole or in part: other adapters are no answer.
    for (const char* file : {"adapter_config.json", "adapter_model.safetensors"}) {
        fs::copy_file(fs::path(at.first) / file, base / file);
        check_refused(train({}), choices);
        check_refused(say({}), {"holds an adapter", "--adapter ", "--ignore-adapter"});
    }
    check_refused(train({"--plan"}), choices);
    check_refused(train({"--adapter", at.first}), choices);
    check_refused(say({"--adapter", at.first}), {"holds an adapter"});
    CHECK(!fs::exists(at.out()));
    answered(train({"--adapter", base.string() + "/."}));
    answered(train({"--stack", base.string(), "--overwrite"}));
    answered(train({"--ignore-adapter", "--overwrite"}));
    answered(say({"--adapter", base.string()}));
    answered(say({"--ignore-adapter"}));

    // In a folder below: naming any adapter is an answer.
    for (const char* file : {"adapter_config.json", "adapter_model.safetensors"}) {
        fs::remove(base / file);
        fs::create_directories(base / "checkpoint-30");
        fs::copy_file(fs::path(at.first) / file, base / "checkpoint-30" / file);
    }
    check_refused(train({"--overwrite"}), {"checkpoint-30", "--adapter " + (base / "checkpoint-30").string()});
    check_refused(say({}), {"checkpoint-30"});
    answered(train({"--adapter", at.first, "--overwrite"}));
    answered(train({"--ignore-adapter", "--overwrite"}));
    answered(say({"--adapter", at.first}));
    fs::remove(base / "checkpoint-30/adapter_model.safetensors");
    answered(train({"--overwrite"}));

    // The output of this very run is no adapter of the base.
    answered(run("finetune", {"--model", base.string(), "--data", (at.temp / "rows.jsonl").string(), "--output",
                              (base / "out").string(), "--quiet", "--steps", "1"}));
    answered(run("finetune", {"--model", base.string(), "--data", (at.temp / "rows.jsonl").string(), "--output",
                              (base / "out").string(), "--quiet", "--steps", "1", "--overwrite"}));
    check_refused(train({"--overwrite"}), {(base / "out").string()});
}

TEST_CASE("inspect: which adapter this is, what it was trained over, and what a base holds")
{
    if (!ready() || !built("inspect")) { return; }
    const Stacked at;
    at.train(at.second, {"--stack", at.first, "--rank", "2", "--steps", "1"});
    const auto hash = graft::adapter_fingerprint(at.first);
    CHECK(says(run("inspect", {at.first}), "  sha256 " + hash + "\n"));
    CHECK(!says(run("inspect", {at.first}), "trained over the adapter"));
    CHECK(says(run("inspect", {at.second}), "  trained over the adapter with sha256 " + hash + ":"));
    const auto base = at.temp / "base";
    copy_folder(small_model(), base);
    CHECK(!says(run("inspect", {base.string()}), "holds an adapter"));
    copy_folder(at.first, base / "checkpoint-3");
    CHECK(says(run("inspect", {base.string()}), "holds an adapter: " + (base / "checkpoint-3").string() + "\n"));
}

TEST_CASE("finetune --stack: the run is proved like any other, with the adapters below among what it rests on")
{
    if (!ready() || !built("inspect")) { return; }
    const Stacked at;
    at.train(at.second, {"--stack", at.first, "--rank", "2", "--steps", "2"});
    CHECK(says(run("finetune", {"--replay", at.second, "--quiet"}), "adapter_model.safetensors has the same"));
    CHECK(says(run("inspect", {"--verify-run", at.second}), "adapters below"));
    const auto more = (at.temp / "more").string();
    const auto continued = at.train_as(more, {"--stack", at.first, "--adapter", at.second, "--steps", "1"});
    CHECK(says(continued, "when its run ended"));

    // Moved, it may be said where; changed, it is another.
    fs::rename(at.first, at.temp / "moved");
    const auto moved = (at.temp / "moved").string();
    CHECK(says(run("inspect", {"--verify-run", at.second}), "not checked: " + at.first + " is not there"));
    CHECK(says(run("inspect", {"--verify-run", at.second, "--stack", moved}), "ok: " + moved));
    write_text(fs::path(moved) / "adapter_config.json", read_text(fs::path(moved) / "adapter_config.json") + " ");
    CHECK(says(run("inspect", {"--verify-run", at.second, "--stack", moved}), "WRONG: the run had sha256", 2));
}

TEST_CASE("--model that is an adapter: its base and the command are named")
{
    if (!ready() || !built("generate")) { return; }
    const Stacked at;
    const std::vector<std::string> words{"is an adapter, not a checkpoint",
                                         "--model " + small_model() + " --adapter " + at.first};
    check_refused(run("finetune", at.with({}, at.first)), words);
    check_refused(run("generate", {"--model", at.first, "--prompt", "a"}), words);
    fs::remove(fs::path(at.first) / "adapter_config.json");
    check_refused(run("generate", {"--model", at.first, "--prompt", "a"}), {"--model BASE --adapter " + at.first});
    CHECK(!fs::exists(at.out()));
}
