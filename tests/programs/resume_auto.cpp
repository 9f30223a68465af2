#include "finetune_support.hpp"

#include <random>

// finetune --resume auto: one command line for the first start and for every later one.
using namespace graft_test;

namespace {

struct Auto : Place {
    Arguments settings{"--batch", "1", "--epochs",  "3",   "--lr",         "0.01",
                       "--rank",  "3", "--dropout", "0.1", "--save-every", "2"};

    Arguments to(const std::string& name, const Arguments& more = {}) const
    {
        return joined(joined({"--model", small_model(), "--data", (temp / "rows.jsonl").string(), "--output",
                              folder(name).string(), "--quiet"},
                             settings),
                      more);
    }
    Arguments again(const std::string& name, const Arguments& more = {}) const
    {
        return to(name, joined({"--resume", "auto"}, more));
    }
    fs::path folder(const std::string& name) const { return temp / name; }
    void whole() const { REQUIRE(run("finetune", to("whole")).status == 0); }
    void same(const std::string& name) const
    {
        for (const char* file : {"adapter_model.safetensors", "adapter_config.json", "run.json"}) {
            CAPTURE(file);
            CHECK(read_text(folder(name) / file) == read_text(folder("whole") / file));
        }
        CHECK(!fs::exists(folder(name).string() + ".previous"));
    }
    void refused(const Arguments& arguments, const std::vector<std::string>& words) const
    {
        const auto before = contents(temp.path());
        check_refused(run("finetune", arguments), words);
        CHECK((contents(temp.path()) == before));
    }
};

// Everything in the folder, with the time of its last change.
std::map<std::string, std::string> state_of(const fs::path& folder)
{
    auto out = contents(folder);
    for (auto& [name, bytes] : out) {
        bytes += std::to_string(fs::last_write_time(folder / name).time_since_epoch().count());
    }
    return out;
}

}  // namespace

TEST_CASE("finetune --resume auto: begins where there is nothing, says when it is finished, and changes nothing then")
{
    if (!ready()) { return; }
    const Auto runs;
    runs.whole();
    const auto first = run("finetune", runs.again("cut"));
    CAPTURE(first.err);
    REQUIRE(first.status == 0);
    runs.same("cut");
    CHECK(fs::exists(runs.folder("cut") / "checkpoint-9"));
    const auto before = state_of(runs.folder("cut"));
    for (int i = 0; i < 2; ++i) {
        const auto next = run("finetune", runs.again("cut"));
        CHECK(next.status == 0);
        CHECK(next.err.empty());
        CHECK(next.out.find("the run is finished, all 9 steps are done: nothing to do") != std::string::npos);
        CHECK((state_of(runs.folder("cut")) == before));
    }
    // A result whose run left no checkpoint is known by its run.json.
    for (const auto& entry : fs::directory_iterator(runs.folder("cut"))) {
        if (entry.is_directory()) { fs::remove_all(entry.path()); }
    }
    CHECK(run("finetune", runs.again("cut")).out.find("the run is finished, all 9 steps") != std::string::npos);
    runs.refused(runs.again("cut", {"--lr", "0.02"}), {"--lr: At Most 1"});
    auto other = runs.again("cut");
    *(std::find(other.begin(), other.end(), "--lr") + 1) = "0.02";
    runs.refused(other, {"cannot be resumed with other settings", "--lr was 0.01, now 0.02"});
    fs::create_directory(runs.folder("empty"));
    write_text(runs.folder("empty") / "notes.txt", "mine");
    CHECK(run("finetune", runs.again("empty")).status == 0);
    CHECK(read_text(runs.folder("empty") / "notes.txt") == "mine");
    runs.same("empty");
}

TEST_CASE("finetune --resume auto: after a kill at any step, also before the first checkpoint")
{
    if (!ready()) { return; }
    const Auto runs;
    runs.whole();
    for (std::size_t lines = 0; lines < 9; lines += 2) {
        CAPTURE(lines);
        const std::string name = "cut" + std::to_string(lines);
        Process process("finetune", runs.again(name));
        while (process.running()) {
            const auto text = read_text(runs.folder(name) / "metrics.jsonl");
            const auto done = std::size_t(std::count(text.begin(), text.end(), '\n'));
            if (fs::exists(runs.folder(name)) && done >= lines) { break; }
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
        process.signal(SIGKILL);
        process.wait();
        const auto ended = run("finetune", runs.again(name));
        CAPTURE(ended.err);
        CHECK(ended.status == 0);
        CHECK(run("finetune", runs.again(name)).out.find("is finished") != std::string::npos);
        runs.same(name);
    }
}

TEST_CASE("finetune --resume auto: killed at random until it is done, with one command line")
{
    if (!ready()) { return; }
    const Auto runs;
    const auto began = std::chrono::steady_clock::now();
    runs.whole();
    const auto took = std::chrono::steady_clock::now() - began;
    std::mt19937 random(5);
    int kills = 0;
    for (int round = 0; round < 4; ++round) {
        const std::string name = "cut" + std::to_string(round);
        bool done = false;
        for (int attempt = 0; attempt < 40 && !done; ++attempt) {
            Process process("finetune", runs.again(name));
            if (attempt < 8) {
                std::this_thread::sleep_for(took * int(random() % 100) / 100);
            } else {
                process.wait();
            }
            process.signal(attempt % 5 == 4 ? SIGTERM : SIGKILL);
            const auto ended = process.wait();
            CAPTURE(ended.err);
            kills += ended.status < 0;
            CHECK((ended.status <= 0));
            CHECK(ended.out.find("passed over") == std::string::npos);
            done = ended.out.find("is finished") != std::string::npos;
        }
        CHECK(done);
        runs.same(name);
    }
    CHECK(kills > 4);
}

TEST_CASE("finetune --resume auto: what a kill before the first checkpoint can leave is cleared away, and nothing else")
{
    if (!ready()) { return; }
    const Auto runs;
    runs.whole();
    const auto left = runs.folder("cut");
    fs::create_directories(left / "checkpoint-2.partial-77");
    write_text(left / "checkpoint-2.partial-77/optimizer.safetensors", "half");
    write_text(left / "metrics.jsonl", "{\"step\": 0, \"lo");
    write_text(left / "metrics.jsonl.partial-77", "half");
    write_text(left / ".write-test.partial-77", "half");
    write_text(left / ".write-test", "half");
    write_text(left / "notes.txt", "mine");
    CHECK(run("finetune", runs.again("cut")).status == 0);
    runs.same("cut");
    CHECK(read_text(left / "notes.txt") == "mine");
    for (const auto& [name, bytes] : contents(left)) { CHECK(name.find("partial") == std::string::npos); }

    // Files that a run writes only beside checkpoints, or that somebody else has put there.
    for (const char* name :
         {"adapter_model.safetensors", "model.safetensors", "tokenizer.json", "report.html", "checkpoint-2.damaged"}) {
        CAPTURE(name);
        fs::remove_all(left);
        fs::create_directory(left);
        write_text(left / name, "precious");
        runs.refused(runs.again("cut"), {"cut", name, "no checkpoint to go on from"});
    }
    // Checkpoints of which none is whole are for a person to look at.
    fs::remove_all(left);
    fs::create_directories(left / "checkpoint-2");
    write_text(left / "checkpoint-2/run_state.json", "{");
    runs.refused(runs.again("cut"), {"no checkpoint is whole"});
}

TEST_CASE("finetune --resume auto: another run's folder, another result, --overwrite beside it")
{
    if (!ready()) { return; }
    const Auto runs;
    runs.whole();
    const auto with = [&](const char* option, const char* value, const Arguments& more = {}) {
        auto arguments = runs.again("whole", more);
        *(std::find(arguments.begin(), arguments.end(), option) + 1) = value;
        return arguments;
    };
    runs.refused(with("--lr", "0.02"), {"cannot be resumed with other settings", "--lr was 0.01, now 0.02"});
    runs.refused(with("--rank", "4"), {"--rank was 3, now 4"});
    runs.refused(with("--epochs", "2", {"--allow-changed", "epochs"}), {"nothing to resume", "finished"});
    runs.refused(runs.again("whole", {"--overwrite"}), {"--resume auto", "--overwrite", "leave one out"});
    runs.refused(runs.to("whole", {"--resume"}), {"nothing to resume: the run is finished"});
    runs.refused(runs.to("nowhere", {"--resume"}), {"no such folder"});
    runs.refused(runs.to("whole", {"--resume", "always"}), {"--resume: always is not auto"});
    const auto more = run("finetune", with("--epochs", "4", {"--allow-changed", "epochs"}));
    CAPTURE(more.err);
    CHECK(more.status == 0);
    CHECK(more.out.find("from checkpoint-9: 9 of 12") != std::string::npos);

    copy_folder(small_model(), runs.temp / "model");
    runs.refused(runs.again("model"), {"nothing to resume", "neither a checkpoint nor a run.json"});
    // A run that ended early without a checkpoint: its adapter is all there is.
    Auto stopped;
    stopped.settings.resize(stopped.settings.size() - 2);  // no --save-every
    Process process("finetune", stopped.to("short", {"--steps", "3000000", "--schedule", "constant"}));
    while (process.running() && read_text(stopped.folder("short") / "metrics.jsonl").empty()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    process.signal(SIGINT);
    CHECK(process.wait().status == 0);
    stopped.refused(stopped.again("short", {"--steps", "3000000", "--schedule", "constant"}),
                    {"nothing to resume", "ended after", "of 3000000 steps and has no checkpoint", "--adapter"});
}

TEST_CASE("finetune --resume auto: in the file of --config; true and false stay what they were")
{
    if (!ready()) { return; }
    const Auto runs;
    runs.whole();
    const auto config = [&](const std::string& word) {
        write_text(runs.temp / "run.toml", "resume = " + word + "\n");
        return run("finetune", runs.to("cut", {"--config", (runs.temp / "run.toml").string()}));
    };
    check_refused(config("true"), {"nothing to resume", "no such folder"});
    CHECK(config("\"auto\"").status == 0);
    runs.same("cut");
    CHECK(config("\"auto\"").out.find("is finished") != std::string::npos);
    check_refused(config("false"), {"already holds a run"});
    check_refused(config("true"), {"the run is finished"});
}

TEST_CASE("two runs into one folder at once: one goes on undisturbed, the other is refused")
{
    if (!ready()) { return; }
    const Auto runs;
    runs.whole();
    for (const bool automatic : {false, true}) {
        for (int round = 0; round < 6; ++round) {
            const std::string name = (automatic ? "auto" : "new") + std::to_string(round);
            const auto command = automatic ? runs.again(name) : runs.to(name);
            Process first("finetune", command);
            std::this_thread::sleep_for(std::chrono::milliseconds(round * 3));
            Process second("finetune", command);
            const auto a = first.wait(), b = second.wait();
            CAPTURE(a.err);
            CAPTURE(b.err);
            // Where the second came after the first had ended, it found a finished run.
            CHECK((a.status == 0 || b.status == 0));
            for (const auto& ended : {a, b}) {
                if (ended.status == 0) { continue; }
                CHECK(ended.status == 2);
                const bool said = ended.err.find("another run") != std::string::npos
                                  || ended.err.find("already holds a run") != std::string::npos
                                  || ended.err.find("interrupted run") != std::string::npos;
                CHECK(said);
            }
            runs.same(name);
        }
    }
}
