#include "finetune_support.hpp"

#include "graft/train/manifest.hpp"

// run.json: what a run proves of itself, checked by inspect --verify-run and run again by finetune --replay.
using namespace graft_test;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

std::size_t count_of(const std::string& text, const std::string& part)
{
    std::size_t n = 0;
    for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1)) { ++n; }
    return n;
}

const Arguments settings{"--batch", "2", "--epochs", "2", "--lr", "0.01", "--rank", "3", "--dropout", "0.1"};

// A model of its own, so that a test may change it, and a run over it in out/.
struct Proved : Place {
    std::string model;

    explicit Proved(const Arguments& more = settings)
    {
        copy_folder(small_model(), temp / "model");
        model = (temp / "model").string();
        finetune(more);
    }
    void finetune(const Arguments& more) const
    {
        const auto ended = run("finetune", with(more, model));
        CAPTURE(ended.err);
        REQUIRE(ended.status == 0);
    }
    Ended verify(const Arguments& more = {}) const { return run("inspect", joined({"--verify-run", out()}, more)); }
    Ended replay(const Arguments& more = {}) const { return run("finetune", joined({"--replay", out()}, more)); }
    nlohmann::json manifest() const { return nlohmann::json::parse(read_text(fs::path(out()) / "run.json")); }
};

// Changes one byte of a file, calls work, changes it back.
template <class Work> void with_changed(const fs::path& file, std::size_t from_end, Work&& work)
{
    const auto text = read_text(file);
    REQUIRE(text.size() > from_end);
    auto other = text;
    other[other.size() - 1 - from_end] ^= 1;
    write_text(file, other);
    work();
    write_text(file, text);
}

}  // namespace

TEST_CASE("finetune proves what it trained: tensors, rows and hashes in run.json, and a line of it on stdout")
{
    if (!ready()) { return; }
    const Place place;
    const auto ended = run("finetune", place.with(settings));
    REQUIRE(ended.status == 0);
    CHECK(has(ended.out, "proof: 70 of 70 trainable tensors changed, 0 of 47 frozen ones; each row was trained on 2 "
                         "times\n"));
    const auto found = graft::read_manifest(place.out()).run;
    CHECK(found.rows == 3);
    CHECK((found.least == 2 && found.most == 2));
    CHECK((found.steps == 4 && found.planned == 4));
    CHECK((found.declared == 70 && found.trained == 70 && found.frozen == 47));
    CHECK(found.before != found.after);
    CHECK(found.earlier == "");
    CHECK(found.files.size() == 2);
    CHECK(found.files.contains("adapter_model.safetensors"));
    const auto lines = json_lines(fs::path(place.out()) / "metrics.jsonl");
    CHECK(found.first_loss == lines.front().at("loss"));
    CHECK(found.last_loss == lines.back().at("loss"));
    // Nothing in it depends on where it ran, or on how many threads.
    const auto text = read_text(fs::path(place.out()) / "run.json");
    auto elsewhere = joined(place.with(settings), {"--threads", "3", "--save-every", "1"});
    *(std::find(elsewhere.begin(), elsewhere.end(), "--output") + 1) = (place.temp / "other").string();
    REQUIRE(run("finetune", elsewhere).status == 0);
    CHECK(read_text(place.temp / "other/run.json") == text);

    // One step of a fresh adapter: B is zero, A has no gradient. No step: nothing at all.
    const auto one = run("finetune", place.with({"--rank", "3", "--steps", "1", "--overwrite"}));
    CHECK(has(one.out, "proof: 35 of 70 trainable tensors changed, 0 of 47 frozen ones (35 had no gradient but zero); "
                       "each row was trained on 1 time\n"));
    const auto none = run("finetune", place.with({"--rank", "3", "--steps", "0", "--overwrite"}));
    CHECK(has(none.out, "proof: 0 of 70 trainable tensors changed"));
    CHECK(has(none.out, "each row was trained on 0 times\n"));
    // A rate that changes nothing is no training.
    const auto before = contents(place.out());
    check_refused(run("finetune", place.with({"--method", "full", "--lr", "1e-30", "--overwrite"})),
                  {"learning rate is too small"});
    CHECK((contents(place.out()) == before));
}

TEST_CASE("finetune --expect-trainable refuses before anything is written")
{
    if (!ready()) { return; }
    const Place place;
    check_refused(run("finetune", place.with(joined(settings, {"--expect-trainable", "17341"}))),
                  {"--expect-trainable 17,341", "would train 17,340 parameters in 70 tensors"});
    CHECK(!fs::exists(place.out()));
    CHECK(run("finetune", place.with(joined(settings, {"--expect-trainable", "17340"}))).status == 0);
    check_refused(run("finetune", place.with({"--plan", "--method", "full", "--expect-trainable", "17340"})),
                  {"would train 260,032 parameters"});
}

TEST_CASE("inspect --verify-run: everything that run.json says is held against what is there")
{
    if (!ready() || !built("inspect")) { return; }
    const Proved place;
    const auto whole = place.verify();
    CAPTURE(whole.out);
    CHECK(whole.err == "");
    CHECK(whole.status == 0);
    CHECK(count_of(whole.out, " ok: ") == 5);
    CHECK(!has(whole.out, "not checked"));
    CHECK(has(whole.out, "3, each trained on 2 times\n"));

    const auto folder = fs::path(place.out());
    const auto wrong = [&](const std::string& what, const std::string& words) {
        const auto ended = place.verify();
        CAPTURE(ended.out);
        check_refused(ended, {"not what its run.json says: " + what});
        CHECK(count_of(ended.out, "WRONG: ") == 1);
        CHECK(has(ended.out, words));
    };
    with_changed(folder / "adapter_model.safetensors", 5, [&] { wrong("adapter_model.safetensors", "damaged"); });
    with_changed(folder / "adapter_config.json", 9, [&] { wrong("adapter_config.json", "damaged"); });
    with_changed(fs::path(place.model) / "model.safetensors", 5, [&] { wrong("base", "the run had sha256"); });
    const auto rows = read_text(place.temp / "rows.jsonl");
    write_text(place.temp / "rows.jsonl", few_rows + std::string("{\"input_ids\": [1, 2], \"labels\": [-100, 2]}\n"));
    wrong("data", "the run had sha256");
    write_text(place.temp / "rows.jsonl", rows);
    const auto lines = read_text(folder / "metrics.jsonl");
    write_text(folder / "metrics.jsonl", lines.substr(0, lines.rfind('\n', lines.size() - 2) + 1));
    wrong("metrics.jsonl", "not the lines that the run wrote");
    fs::remove(folder / "metrics.jsonl");
    CHECK(has(place.verify().out, "not checked: "));
    write_text(folder / "metrics.jsonl", lines);
    with_changed(folder / "run.json", 200, [&] { check_refused(place.verify(), {"run.json: damaged"}); });
    CHECK(place.verify().status == 0);

    // Where things are may be said anew; what is not there is not checked.
    fs::rename(place.temp / "model", place.temp / "moved");
    const auto away = place.verify();
    CHECK(away.status == 0);
    CHECK(count_of(away.out, "not checked: " + place.model + " is not there") == 2);
    CHECK(count_of(place.verify({"--model", (place.temp / "moved").string()}).out, " ok: ") == 5);
    check_refused(place.verify({"--rank", "3"}), {"--verify-run takes its settings from run.json", "--rank"});
    check_refused(run("inspect", {"--verify-run", small_model()}), {"there is no run.json"});
    check_refused(run("inspect", {}), {"WHAT"});
}

TEST_CASE("finetune --replay: the same bytes again, for every method, on any number of threads")
{
    if (!ready()) { return; }
    for (const Arguments& more :
         {settings, joined(settings, {"--method", "qlora", "--double-quant", "--accumulate", "2"}),
          joined(settings, {"--dtype", "bf16", "--no-shuffle", "--recompute"}),
          Arguments{"--method", "full", "--steps", "3", "--warmup", "1", "--schedule", "cosine"}}) {
        CAPTURE(more[1]);
        const Proved place(more);
        const auto before = contents(place.temp.path());
        const auto again = place.replay({"--threads", "2"});
        CAPTURE(again.err);
        CHECK(again.status == 0);
        CHECK(has(again.out, "replayed: " + std::string(more[1] == "full" ? "model" : "adapter_model")
                                 + ".safetensors has the same "));
        CHECK(has(again.out, "replayed: the metrics of "));
        CHECK((contents(place.temp.path()) == before));
    }
}

TEST_CASE("finetune --replay: what has changed is refused before a step; a result that differs is an error")
{
    if (!ready()) { return; }
    const Proved place;
    const auto before = contents(place.temp.path());
    const auto rows = read_text(place.temp / "rows.jsonl");
    write_text(place.temp / "rows.jsonl", rows + "{\"input_ids\": [1, 2], \"labels\": [-100, 2]}\n");
    check_refused(place.replay(), {"cannot be run again", "--data was sha256"});
    write_text(place.temp / "rows.jsonl", rows);
    with_changed(fs::path(place.model) / "model.safetensors", 5, [&] {
        check_refused(place.replay(), {"cannot be run again", "--model was sha256"});
    });
    check_refused(place.replay({"--lr", "0.1"}), {"--replay takes its settings from run.json", "--lr"});
    check_refused(place.replay({"--seed", "3"}), {"--seed"});
    CHECK((contents(place.temp.path()) == before));

    // The base has moved: say where it is. The result may be kept.
    fs::rename(place.temp / "model", place.temp / "moved");
    check_refused(place.replay(), {"model"});
    CHECK(place.replay({"--model", (place.temp / "moved").string(), "--output", (place.temp / "kept").string()}).status
          == 0);
    CHECK(read_text(place.temp / "kept/adapter_model.safetensors")
          == read_text(fs::path(place.out()) / "adapter_model.safetensors"));
    fs::rename(place.temp / "moved", place.temp / "model");

    auto found = graft::read_manifest(place.out()).run;
    found.files["adapter_model.safetensors"].sha256[0] ^= 1;
    graft::write_manifest(place.out(), found);
    const auto ended = place.replay();
    CHECK(ended.status == 2);
    CHECK(has(ended.err, "the result differs in adapter_model.safetensors; the new one is in "));
    CHECK(fs::exists(place.out() + ".replay/adapter_model.safetensors"));
}

TEST_CASE("finetune --replay: a run that was stopped, and one that was resumed with other settings")
{
    if (!ready()) { return; }
    const Place place;
    const auto arguments = place.with(joined(settings, {"--steps", "4000", "--save-every", "1000"}));
    {
        Process process("finetune", arguments);
        while (process.running() && read_text(fs::path(place.out()) / "metrics.jsonl").size() < 1000) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        process.signal(SIGINT);
        CHECK(process.wait().status == 0);
    }
    const auto stopped = graft::read_manifest(place.out()).run;
    CHECK(stopped.planned == 4000);
    CHECK(stopped.steps < 4000);
    const auto again = run("finetune", {"--replay", place.out(), "--quiet"});
    CAPTURE(again.err);
    CHECK(again.status == 0);
    CHECK(has(again.out, "replayed: the metrics of " + std::to_string(stopped.steps) + " steps are the same"));

    auto fewer = joined(arguments, {"--resume", "--allow-changed", "steps"});
    *std::find(fewer.begin(), fewer.end(), "4000") = std::to_string(stopped.steps + 2);
    const auto ended = run("finetune", fewer);
    CAPTURE(ended.err);
    REQUIRE(ended.status == 0);
    const auto changed = graft::read_manifest(place.out()).run;
    CHECK((changed.changed == std::vector<std::string>{"steps after step " + std::to_string(stopped.steps)}));
    check_refused(run("finetune", {"--replay", place.out()}), {"cannot be run again in one piece", "steps after step"});
}

TEST_CASE("finetune --adapter: the chain of runs, and the adapter does what it did when it was written")
{
    if (!ready() || !built("inspect")) { return; }
    const Proved place;
    const auto first = graft::read_manifest(place.out());
    fs::rename(place.out(), place.temp / "first");
    const auto adapter = (place.temp / "first").string();
    const Arguments more{"--adapter", adapter, "--steps", "2", "--lr", "0.001"};
    const auto ended = run("finetune", place.with(more, place.model));
    REQUIRE(ended.status == 0);
    const auto second = graft::read_manifest(place.out()).run;
    CHECK(second.earlier == first.sha256);
    CHECK(second.before == first.run.after);
    CHECK(second.probe_before == first.run.probe_after);
    char both[64];
    std::snprintf(both, sizeof both, "%.7g when its run ended, %.7g now\n", second.probe_before, second.probe_before);
    CHECK(has(ended.out, "adapter " + adapter + ": probe loss " + both));
    const auto verified = place.verify();
    CHECK(verified.status == 0);
    CHECK(has(verified.out, "its run.json the one that this run went on from"));
    CHECK(place.replay().status == 0);

    // Over other weights, or with other element types, it is said.
    const auto bf16 = run("finetune", place.with(joined(more, {"--dtype", "bf16", "--overwrite"}), place.model));
    CHECK(bf16.status == 0);
    CHECK(has(bf16.out, "its run had another base, element type or quantisation\n"));
    // Tensors of another run beside this run.json are not taken for its result.
    auto tensors = Tensors::read(place.temp / "first/adapter_model.safetensors");
    for (auto& tensor : tensors.list) { std::fill(tensor.bytes.begin(), tensor.bytes.end(), '\0'); }
    tensors.write(place.temp / "first/adapter_model.safetensors");
    check_refused(run("finetune", place.with(joined(more, {"--overwrite"}), place.model)),
                  {"does not do here what it did when it was written", "probe loss"});
    // Without run.json an adapter is foreign: nothing to compare.
    fs::remove(place.temp / "first/run.json");
    const auto foreign = run("finetune", place.with(joined(more, {"--overwrite"}), place.model));
    CHECK(foreign.status == 0);
    CHECK(!has(foreign.out, "probe loss"));
    CHECK(graft::read_manifest(place.out()).run.earlier == "");
}

TEST_CASE("finetune --replay: runs of an earlier version end in the same bytes")
{
    if (!built("finetune")) { return; }
    const auto root = data();
    if (!root || !fs::exists(*root / "runs")) { return skip("GRAFT_TEST_DATA has no runs"); }
#if defined(__clang__)
    return skip("the runs were made by g++; another compiler rounds otherwise in places");
#endif
    ::setenv("GRAFT_TARGET", "avx2", 1);  // that of the runs
    std::size_t runs = 0;
    for (const auto& entry : fs::directory_iterator(*root / "runs")) {
        if (!fs::exists(entry.path() / "run.json")) { continue; }
        CAPTURE(entry.path().filename().string());
        const TempFolder temp;
        const auto ended = run(
            "finetune", {"--replay", entry.path().filename().string(), "--output", (temp / "out").string(), "--quiet"},
            {.folder = (*root / "runs").string()});
        CAPTURE(ended.err);
        CHECK(ended.status == 0);
        runs += 1;
    }
    ::unsetenv("GRAFT_TARGET");
    CHECK(runs >= 10);
}
