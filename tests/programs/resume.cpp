#include "finetune_support.hpp"

#include <random>

// finetune --resume: a run cut anywhere and gone on with is the run that was never cut.
using namespace graft_test;

namespace {

// Ten rows of 12 to 30 tokens, some without a target in most of them.
std::string rows(int changed = -1)
{
    std::mt19937 random(3);
    std::string out;
    for (int row = 0; row < 10; ++row) {
        std::vector<int> ids, labels;
        for (unsigned t = 0, n = 12 + random() % 19; t < n; ++t) {
            ids.push_back(int(3 + random() % 500));
            labels.push_back(t < 2 || random() % 3 == 0 ? -100 : ids.back());
        }
        if (row == changed) { ids[1] = (ids[1] + 1) % 500; }
        out += nlohmann::json({{"input_ids", ids}, {"labels", labels}}).dump() + "\n";
    }
    return out;
}

// 9 steps over 3 epochs, the last of each short; dropout, accumulation, warm-up, decay, evaluation.
struct Runs : Place {
    Arguments settings;

    explicit Runs(Arguments more = {})
        : settings(joined({"--batch",        "2",   "--accumulate", "2",
                           "--epochs",       "3",   "--lr",         "0.01",
                           "--warmup",       "2",   "--schedule",   "cosine",
                           "--weight-decay", "0.1", "--eval",       (temp / "rows.jsonl").string(),
                           "--eval-every",   "4",   "--save-every", "2"},
                          more))
    {
        write_text(temp / "rows.jsonl", rows());
    }
    explicit Runs(const char* lora) : Runs(Arguments{"--rank", lora, "--dropout", "0.1"}) {}

    fs::path folder(const std::string& name) const { return temp / name; }
    Arguments to(const std::string& name, const Arguments& more = {}) const
    {
        return joined(joined({"--model", small_model(), "--data", (temp / "rows.jsonl").string(), "--output",
                              folder(name).string(), "--quiet"},
                             settings),
                      more);
    }
    void whole(const std::string& name = "whole") const
    {
        const auto ended = run("finetune", to(name));
        CAPTURE(ended.err);
        REQUIRE(ended.status == 0);
    }
    // Starts a run and kills it once it has written so many lines of metrics.
    void killed_after(std::size_t lines, const std::string& name, const Arguments& more = {},
                      int number = SIGKILL) const
    {
        const fs::path previous = folder(name).string() + ".previous";
        const bool aside = fs::exists(folder(name));  // an old run, whose metrics are not meant
        Process process("finetune", to(name, more));
        while (process.running()) {
            if (aside && !fs::exists(previous)) { continue; }
            const auto text = read_text(folder(name) / "metrics.jsonl");
            if (std::size_t(std::count(text.begin(), text.end(), '\n')) >= lines) { break; }
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
        process.signal(number);
        process.wait();
    }
    Ended resume(const std::string& name, const Arguments& more = {}, const ProcessOptions& options = {}) const
    {
        return run("finetune", to(name, joined({"--resume"}, more)), options);
    }
    void resumed(const std::string& name, const Arguments& more = {}) const
    {
        const auto ended = resume(name, more);
        CAPTURE(ended.err);
        const bool was_too_fast = ended.err.find("the run is finished") != std::string::npos;
        CHECK((ended.status == 0 || was_too_fast));
    }
    // The run "all", whose checkpoints all stay.
    void keep_all() const { REQUIRE(run("finetune", to("all", {"--keep", "99"})).status == 0); }
    // What a kill after some steps leaves, put together from it.
    void cut_at(std::size_t step, const std::string& name) const
    {
        fs::remove_all(folder(name));
        fs::create_directories(folder(name));
        for (std::size_t saved = step - step % 2, kept = 0; saved > 0 && kept < 2; saved -= 2, ++kept) {
            const std::string checkpoint = "checkpoint-" + std::to_string(saved);
            fs::copy(folder("all") / checkpoint, folder(name) / checkpoint);
        }
        std::istringstream lines(read_text(folder("all") / "metrics.jsonl"));
        std::string text, line;
        for (std::size_t i = 0; i < step && std::getline(lines, line); ++i) { text += line + "\n"; }
        write_text(folder(name) / "metrics.jsonl", text);
    }
    // Everything that a run leaves, but for times and the report that shows them.
    std::map<std::string, std::string> result(const std::string& name) const
    {
        std::map<std::string, std::string> out;
        for (const auto& entry : fs::directory_iterator(folder(name))) {
            const auto file = entry.path().filename().string();
            if (file == "report.html" || entry.is_directory()) { continue; }
            out[file] = read_text(entry.path());
        }
        std::string metrics;
        for (auto line : json_lines(folder(name) / "metrics.jsonl")) {
            line.erase("seconds"), line.erase("peak_bytes");
            metrics += line.dump() + "\n";
        }
        out["metrics.jsonl"] = metrics;
        return out;
    }
    void same(const std::string& name) const
    {
        const auto a = result("whole"), b = result(name);
        CHECK(a.at("metrics.jsonl") == b.at("metrics.jsonl"));
        CHECK((a == b));
        CHECK(!fs::exists(folder(name).string() + ".previous"));
    }
    // Refused in one line, with every file as it was.
    void refused(const Arguments& arguments, const std::vector<std::string>& words) const
    {
        const auto before = contents(temp.path());
        check_refused(run("finetune", arguments), words);
        CHECK((contents(temp.path()) == before));
    }
};

void cut_in_the_middle(const Arguments& settings)
{
    if (!ready()) { return; }
    const Runs runs(settings);
    runs.whole();
    for (const std::size_t lines : {3, 6}) {
        CAPTURE(lines);
        fs::remove_all(runs.folder("cut"));
        runs.killed_after(lines, "cut", {"--threads", "2"});
        runs.resumed("cut", {"--threads", lines == 3 ? "1" : "3"});
        runs.same("cut");
    }
}

}  // namespace

TEST_CASE("finetune --resume: killed after each step, the result is the uninterrupted one")
{
    if (!ready()) { return; }
    const Runs runs("3");
    runs.whole();
    CHECK(json_lines(runs.folder("whole") / "metrics.jsonl").size() == 9);
    CHECK(fs::exists(runs.folder("whole") / "checkpoint-9"));
    CHECK(!fs::exists(runs.folder("whole") / "checkpoint-6"));
    for (std::size_t step = 0; step <= 9; ++step) {
        CAPTURE(step);
        const std::string name = "cut" + std::to_string(step);
        runs.killed_after(step, name);
        const bool saved = !graft_test::contents(runs.folder(name)).empty() && fs::exists(runs.folder(name)) && [&] {
            for (const auto& entry : fs::directory_iterator(runs.folder(name))) {
                const auto file = entry.path().filename().string();
                if (file.starts_with("checkpoint-") && file.find('.') == std::string::npos) { return true; }
            }
            return false;
        }();
        if (!saved) {
            check_refused(runs.resume(name), {"nothing to resume"});
            continue;
        }
        const auto ended = runs.resume(name);
        CAPTURE(ended.err);
        const bool finished = ended.err.find("the run is finished") != std::string::npos;
        CHECK((ended.status == 0 || finished));
        CHECK(ended.out.find("passed over") == std::string::npos);
        runs.same(name);
    }
}

TEST_CASE("finetune --resume: QLoRA, at other numbers of threads")
{
    cut_in_the_middle({"--method", "qlora", "--double-quant", "--rank", "2", "--dropout", "0.1"});
}
TEST_CASE("finetune --resume: full fine-tuning") { cut_in_the_middle({"--method", "full"}); }
TEST_CASE("finetune --resume: full fine-tuning in bf16") { cut_in_the_middle({"--method", "full", "--dtype", "bf16"}); }
TEST_CASE("finetune --resume: LoRA in bf16, activations recomputed")
{
    cut_in_the_middle({"--dtype", "bf16", "--rank", "2", "--dropout", "0.1", "--recompute"});
}

TEST_CASE("finetune --resume: killed at random again and again until it is done")
{
    if (!ready()) { return; }
    const Runs runs("3");
    const auto began = std::chrono::steady_clock::now();
    runs.whole();
    const auto took = std::chrono::steady_clock::now() - began;
    std::mt19937 random(11);
    int kills = 0, resumes = 0;
    for (int round = 0; kills < 10 && round < 60; ++round) {
        const std::string name = "cut" + std::to_string(round);
        bool resume = false;
        for (int attempt = 0; attempt < 60; ++attempt) {
            Process process("finetune", runs.to(name, resume ? Arguments{"--resume"} : Arguments{"--overwrite"}));
            if (attempt < 6) {
                std::this_thread::sleep_for(took * int(random() % 100) / 100);
            } else {
                process.wait();
            }
            process.signal(SIGKILL);
            const auto ended = process.wait();
            CAPTURE(ended.err);
            kills += ended.status == -SIGKILL;
            resumes += resume && ended.status == 0;
            CHECK(ended.out.find("passed over") == std::string::npos);
            if (fs::exists(runs.folder(name) / "adapter_config.json")) { break; }
            // Nothing to resume before the first checkpoint: start over.
            if (ended.status == 2) { CHECK(ended.err.find("nothing to resume") != std::string::npos); }
            resume = ended.status != 2;
        }
        runs.same(name);
    }
    CHECK(kills >= 10);
    MESSAGE(kills << " kills, " << resumes << " runs that went on ended");
}

TEST_CASE("finetune --resume: Ctrl-C saves the result and a checkpoint; the run that goes on is the whole one")
{
    if (!ready()) { return; }
    const Runs runs("3");
    runs.whole();
    for (const std::size_t lines : {1, 5}) {
        fs::remove_all(runs.folder("cut"));
        runs.killed_after(lines, "cut", {}, SIGINT);
        CHECK(fs::exists(runs.folder("cut") / "adapter_config.json"));
        const auto done = json_lines(runs.folder("cut") / "metrics.jsonl").size();
        CHECK(done >= lines);
        CHECK(fs::exists(runs.folder("cut") / ("checkpoint-" + std::to_string(done))));
        if (done < 9) { runs.resumed("cut"); }
        runs.same("cut");
    }
}

TEST_CASE("finetune --resume: stopped, resumed and killed before the new result is there, it goes on")
{
    if (!ready()) { return; }
    const Runs runs("3");
    runs.whole();
    runs.keep_all();
    runs.cut_at(9, "cut");
    fs::copy(runs.folder("all") / "checkpoint-9", runs.folder("cut") / "checkpoint-9");
    for (const char* file : {"adapter_config.json", "adapter_model.safetensors"}) {  // the result of an earlier stop
        fs::copy(runs.folder("all") / "checkpoint-4" / file, runs.folder("cut") / file);
    }
    write_text(runs.folder("cut") / ".resumed", "");
    CHECK(runs.resume("cut").status == 0);
    runs.same("cut");
    check_refused(runs.resume("cut"), {"the run is finished"});
}

TEST_CASE("finetune --resume refuses other settings, names them with both values, and takes those that are allowed")
{
    if (!ready()) { return; }
    const Runs runs("3");
    runs.whole();
    runs.keep_all();
    runs.cut_at(5, "cut");
    const auto other = [&](std::string option, const std::string& value) {
        auto arguments = runs.to("cut", {"--resume"});
        const auto at = std::find(arguments.begin(), arguments.end(), option);
        if (at == arguments.end()) { return joined(arguments, {option, value}); }
        at[1] = value;
        return arguments;
    };
    runs.refused(other("--lr", "0.02"), {"--lr was 0.01, now 0.02", "--allow-changed"});
    runs.refused(other("--batch", "3"), {"--batch was 2, now 3"});
    runs.refused(other("--accumulate", "1"), {"--accumulate was 2, now 1"});
    runs.refused(other("--rank", "4"), {"--rank was 3, now 4"});
    runs.refused(other("--target", "attention"), {"--target was all-linear, now attention"});
    runs.refused(other("--epochs", "4"), {"--epochs was 3, now 4"});
    runs.refused(other("--steps", "9"), {"--steps was not given, now 9", "--epochs was 3, now not given"});
    runs.refused(other("--warmup", "1"), {"--warmup was 2, now 1"});
    runs.refused(other("--schedule", "linear"), {"--schedule was cosine, now linear"});
    runs.refused(other("--seed", "43"), {"--seed was 42, now 43"});
    runs.refused(other("--dtype", "bf16"), {"--dtype was f32, now bf16"});
    runs.refused(other("--max-length", "20"), {"--max-length was 512, now 20", "--data was sha256"});
    runs.refused(other("--task", "text"), {""});
    runs.refused(joined(runs.to("cut"), {"--resume", "--method", "qlora"}), {"--method was lora, now qlora"});
    runs.refused(joined(runs.to("cut"), {"--resume", "--no-shuffle"}), {"--no-shuffle was false, now true"});
    runs.refused(joined(runs.to("cut"), {"--resume", "--allow-changed", "colour"}), {"colour", "--", "batch"});
    runs.refused(joined(runs.to("cut"), {"--allow-changed", "lr"}), {"--resume"});
    // A rank that is allowed meets tensors that do not fit.
    check_refused(run("finetune", joined(other("--rank", "4"), {"--allow-changed", "rank"})),
                  {"checkpoint-4", "[3, 64]", "[4, 64]"});

    // Eight are listed.
    auto many = runs.to("cut", {"--resume"});
    for (const auto& [option, value] : std::map<std::string, std::string>{{"--lr", "0.5"},
                                                                          {"--batch", "1"},
                                                                          {"--accumulate", "3"},
                                                                          {"--epochs", "9"},
                                                                          {"--warmup", "0"},
                                                                          {"--schedule", "constant"},
                                                                          {"--weight-decay", "0"},
                                                                          {"--rank", "9"},
                                                                          {"--dropout", "0.3"}}) {
        *(std::find(many.begin(), many.end(), option) + 1) = value;
    }
    runs.refused(many, {"; and 1 more"});

    // Data and base are known by what they hold, not by their names.
    write_text(runs.temp / "rows.jsonl", rows(9));
    runs.refused(runs.to("cut", {"--resume"}), {"--data was sha256", "10 examples of", "--eval was sha256"});
    write_text(runs.temp / "rows.jsonl", rows());
    copy_folder(small_model(), runs.temp / "model");
    auto moved = runs.to("cut", {"--resume"});
    moved[1] = (runs.temp / "model").string();
    auto tensors = Tensors::read(runs.temp / "model/model.safetensors");
    tensors.list[7].bytes[5] = char(tensors.list[7].bytes[5] ^ 1);
    tensors.write(runs.temp / "model/model.safetensors");
    runs.refused(moved, {"--model was sha256", small_model()});

    // What is free to change.
    const auto ended =
        runs.resume("cut", {"--threads", "2", "--keep", "5", "--metrics", (runs.temp / "elsewhere.jsonl").string()});
    CHECK(ended.status == 0);
    CHECK(json_lines(runs.temp / "elsewhere.jsonl").size() == 9);
    CHECK(read_text(runs.folder("cut") / "adapter_model.safetensors")
          == read_text(runs.folder("whole") / "adapter_model.safetensors"));
}

TEST_CASE("finetune --resume --allow-changed: a finished run goes on with more steps")
{
    if (!ready()) { return; }
    Runs runs(Arguments{"--rank", "2"});
    runs.settings = {"--rank", "2", "--batch", "2", "--lr", "0.01", "--schedule", "constant", "--save-every", "3"};
    const auto steps = [&](const std::string& name, const char* n, const Arguments& more = {}) {
        return run("finetune", runs.to(name, joined({"--steps", n}, more)));
    };
    REQUIRE(steps("whole", "8").status == 0);
    REQUIRE(steps("cut", "4").status == 0);
    check_refused(steps("cut", "4", {"--resume"}), {"nothing to resume", "finished", "--allow-changed steps"});
    check_refused(steps("cut", "8", {"--resume"}), {"--steps was 4, now 8"});
    check_refused(steps("cut", "3", {"--resume", "--allow-changed", "--steps"}), {"finished"});
    const auto ended = steps("cut", "8", {"--resume", "--allow-changed", "steps"});
    CAPTURE(ended.err);
    CHECK(ended.status == 0);
    CHECK(ended.out.find("changed: --steps was 4, now 8") != std::string::npos);
    // The proof says that it was changed on the way; all else is the same.
    auto json = nlohmann::json::parse(read_text(runs.folder("cut") / "run.json"));
    CHECK(json.at("changed") == nlohmann::json({"steps after step 4"}));
    for (const char* name : {"cut", "whole"}) { fs::remove(runs.folder(name) / "run.json"); }
    runs.same("cut");
}

TEST_CASE("finetune --resume: a damaged checkpoint is passed over aloud; with none left it is an error")
{
    if (!ready()) { return; }
    const Runs runs("3");
    runs.whole();
    runs.keep_all();
    for (const char* file : {"adapter_model.safetensors", "optimizer.safetensors", "run_state.json", "metrics.jsonl"}) {
        CAPTURE(file);
        runs.cut_at(5, "cut");
        const auto path = runs.folder("cut") / "checkpoint-4" / file;
        std::string bytes = read_text(path);
        bytes[bytes.size() / 2] = char(bytes[bytes.size() / 2] ^ 4);
        write_text(path, bytes);
        const auto ended = runs.resume("cut");
        CAPTURE(ended.err);
        CHECK(ended.status == 0);
        CHECK(ended.out.find("passed over: ") != std::string::npos);
        CHECK(ended.out.find(path.string() + ": damaged") != std::string::npos);
        CHECK(ended.out.find("from checkpoint-2") != std::string::npos);
        runs.same("cut");

        runs.cut_at(5, "cut");
        write_text(path, "");
        fs::remove(runs.folder("cut/checkpoint-2") / file);
        runs.refused(runs.to("cut", {"--resume"}), {"no checkpoint is whole", path.string(), "checkpoint-2"});
    }
}

TEST_CASE("finetune --resume: metrics.jsonl cut at any byte, gone, or full of other things is put right")
{
    if (!ready()) { return; }
    const Runs runs("3");
    runs.whole();
    runs.keep_all();
    runs.cut_at(5, "cut");
    const auto text = read_text(runs.folder("cut") / "metrics.jsonl");
    for (std::size_t cut = 0; cut <= text.size(); cut += 1 + text.size() / 6) {
        CAPTURE(cut);
        runs.cut_at(5, "cut");
        write_text(runs.folder("cut") / "metrics.jsonl", text.substr(0, cut));
        if (cut == 0) { fs::remove(runs.folder("cut") / "metrics.jsonl"); }
        runs.resumed("cut");
        runs.same("cut");
    }
}

TEST_CASE("finetune --resume: a full disk while a checkpoint is saved keeps the last good one, exit 2")
{
    if (!ready()) { return; }
    // The probe of the output folder writes 64 KiB: the moments are to be larger, so that only they do not fit.
    for (const Arguments& method : {Arguments{"--rank", "8"}, Arguments{"--method", "full"}}) {
        const Runs runs(method);
        runs.whole();
        runs.keep_all();
        runs.cut_at(3, "cut");
        const auto before = contents(runs.folder("cut"));
        const auto ended = runs.resume("cut", {}, {.most_file_bytes = 300'000});
        check_refused(ended, {"checkpoint-4", "cannot write"});
        for (const auto& [name, bytes] : contents(runs.folder("cut"))) {
            if (name.starts_with("checkpoint-")) { CHECK((before.contains(name) && before.at(name) == bytes)); }
        }
        runs.resumed("cut");
        runs.same("cut");
        // A run that never had a good state changes nothing.
        check_refused(run("finetune", runs.to("new"), {.most_file_bytes = 300'000}), {"checkpoint-2"});
        CHECK(!fs::exists(runs.folder("new")));
    }
}

TEST_CASE("finetune --resume: with an old run aside, which stays until the new one is whole")
{
    if (!ready()) { return; }
    const Runs runs("3");
    runs.whole();
    REQUIRE(run("finetune", runs.to("cut", {"--seed", "7"})).status == 0);
    const auto old = contents(runs.folder("cut"));
    fs::rename(runs.folder("cut"), runs.folder("cut.previous"));  // as --overwrite does
    write_text(runs.folder("cut.previous") / ".superseded", "");
    runs.keep_all();
    runs.cut_at(4, "cut");
    runs.refused(runs.to("cut"), {"--resume", "cut.previous"});
    auto aside = contents(runs.folder("cut.previous"));
    aside.erase(".superseded");
    CHECK((aside == old));
    runs.resumed("cut", {"--overwrite"});
    runs.same("cut");
}

TEST_CASE("finetune --resume: where there is nothing to resume")
{
    if (!ready()) { return; }
    const Runs runs("3");
    runs.refused(runs.to("cut", {"--resume"}), {"cut", "nothing to resume", "no such folder"});
    REQUIRE(run("finetune", runs.with({"--steps", "1"})).status == 0);
    runs.refused(runs.with({"--steps", "1", "--resume"}), {"nothing to resume", "finished", "no checkpoint"});
    runs.refused(runs.with({"--save-every", "0"}), {"--save-every"});
    runs.refused(runs.with({"--keep", "0"}), {"--keep"});
}
