#include "graft/io/output_folder.hpp"

#include "files.hpp"
#include "support.hpp"

#include <csignal>
#include <cstdio>
#include <fstream>

#include <sys/resource.h>
#include <sys/wait.h>

namespace {

namespace fs = std::filesystem;

void put(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }
std::string get(const fs::path& path) { return graft::read_file(path, 1 << 20); }

std::string refusal(const graft::OutputFolder::Options& options)
{
    try {
        graft::OutputFolder folder(options);
        folder.begin();
    } catch (const graft::Error& error) {
        CHECK(std::string(error.what()).find('\n') == std::string::npos);
        return error.what();
    }
    return "";
}

void make_run(const fs::path& folder, const std::string& text)
{
    fs::create_directories(folder);
    put(folder / "metrics.jsonl", text);
    put(folder / "adapter_model.safetensors", text);
    put(folder / "adapter_config.json", text);
}

// One run: metrics as it happens, then the tensors, the settings last.
void run(const fs::path& folder, const std::string& text)
{
    graft::OutputFolder output({.folder = folder, .overwrite = true});
    output.begin();
    put(output.file("metrics.jsonl"), text);
    graft::write_file(output.file("adapter_model.safetensors"), text);
    graft::write_file(output.file("adapter_config.json"), text);
    output.commit();
}

}  // namespace

TEST_CASE("a new folder, its parents, and a folder with other files")
{
    const graft_test::TempFolder scratch;
    const fs::path folder = scratch.path() / "a" / "b";
    {
        graft::OutputFolder output({.folder = folder});
        CHECK(!fs::exists(scratch.path() / "a"));  // nothing before begin
        output.begin();
        put(output.file("metrics.jsonl"), "1");
        CHECK(fs::exists(folder / "metrics.jsonl"));
        CHECK_THROWS_AS(output.commit(), graft::Error);  // no adapter_config.json
    }
    CHECK(!fs::exists(scratch.path() / "a"));  // nothing of a run that failed

    run(folder, "new");
    CHECK(get(folder / "adapter_config.json") == "new");

    const fs::path mixed = scratch.path() / "mixed";
    fs::create_directory(mixed);
    put(mixed / "train.log", "log");
    {
        graft::OutputFolder output({.folder = mixed});
        output.begin();
        put(output.file("metrics.jsonl"), "1");
    }
    CHECK(get(mixed / "train.log") == "log");
    CHECK(!fs::exists(mixed / "metrics.jsonl"));
}

TEST_CASE("a run is refused, or moved aside and deleted only when the new one is whole")
{
    const graft_test::TempFolder scratch;
    const fs::path folder = scratch.path() / "out", previous = scratch.path() / "out.previous";
    make_run(folder, "old");
    CHECK(refusal({.folder = folder})
              .find("already holds a run (adapter_config.json); name another folder, or use --overwrite")
          != std::string::npos);
    CHECK(get(folder / "metrics.jsonl") == "old");
    {
        graft::OutputFolder output({.folder = folder, .overwrite = true});
        CHECK(!fs::exists(previous));
        output.begin();
        CHECK(get(previous / "adapter_config.json") == "old");
        CHECK(fs::is_empty(folder));
        put(output.file("metrics.jsonl"), "new");
        put(output.file("something.else"), "new");
    }  // fails before it is whole
    CHECK(get(folder / "adapter_config.json") == "old");
    CHECK(get(folder / "metrics.jsonl") == "old");
    CHECK(std::distance(fs::directory_iterator(folder), fs::directory_iterator()) == 3);
    CHECK(!fs::exists(previous));

    run(folder, "new");
    CHECK(get(folder / "adapter_config.json") == "new");
    CHECK(!fs::exists(previous));

    fs::create_directory(previous);
    put(previous / "mine", "mine");  // not made by us
    CHECK(refusal({.folder = folder, .overwrite = true}).find("is in the way") != std::string::npos);
    CHECK(get(previous / "mine") == "mine");
    fs::remove_all(previous);

    fs::create_directory(folder / "Pictures");
    CHECK(refusal({.folder = folder, .overwrite = true}).find("holds folders that no run made (Pictures)")
          != std::string::npos);
    CHECK(get(folder / "adapter_config.json") == "new");
}

TEST_CASE("folders that are read, files, and places where nothing can be written are refused")
{
    const graft_test::TempFolder scratch;
    const fs::path model = scratch.path() / "model";
    make_run(model, "model");
    CHECK(refusal({.folder = model, .overwrite = true, .inputs = {model / ""}}).find("is read by this run")
          != std::string::npos);
    CHECK(refusal({.folder = model / "." / "x" / "..", .overwrite = true, .inputs = {model}}).find("is read")
          != std::string::npos);
    fs::create_symlink(model, scratch.path() / "link");
    CHECK(refusal({.folder = scratch.path() / "link", .overwrite = true, .inputs = {model}}).find("is read")
          != std::string::npos);

    const fs::path outer = scratch.path() / "outer";
    make_run(outer, "outer");
    make_run(outer / "checkpoint-1", "inner");
    CHECK(refusal({.folder = outer, .overwrite = true, .inputs = {outer / "checkpoint-1"}}).find("holds")
          != std::string::npos);
    CHECK(get(outer / "checkpoint-1" / "metrics.jsonl") == "inner");

    put(scratch.path() / "file", "");
    CHECK(refusal({.folder = scratch.path() / "file"}).find("is a file") != std::string::npos);
    CHECK(refusal({.folder = scratch.path() / "file" / "out"}) != "");
    CHECK(refusal({.folder = "/proc/graft-cannot-write-here"}).find("cannot") != std::string::npos);
    CHECK(refusal({.folder = ""}) != "");
    CHECK(refusal({.folder = "/"}) != "");

    graft::OutputFolder first({.folder = scratch.path() / "busy"});
    first.begin();
    CHECK(refusal({.folder = scratch.path() / "busy", .overwrite = true}).find("another run is writing")
          != std::string::npos);
}

TEST_CASE("a full disk is found before step 1 and changes nothing")
{
    const graft_test::TempFolder scratch;
    const fs::path folder = scratch.path() / "out";
    make_run(folder, "old");
    CHECK(graft_test::with_full_disk(1000,
                                     [&] {
                                         graft::OutputFolder output({.folder = folder, .overwrite = true});
                                         output.begin();
                                     })
          == 2);
    CHECK(get(folder / "adapter_config.json") == "old");
    CHECK(!fs::exists(scratch.path() / "out.previous"));
    CHECK(std::distance(fs::directory_iterator(folder), fs::directory_iterator()) == 3);
}

TEST_CASE("every state that a kill can leave is made whole at the next start")
{
    const graft_test::TempFolder scratch;
    const fs::path folder = scratch.path() / "out", previous = scratch.path() / "out.previous";
    const auto reset = [&] {
        fs::remove_all(folder);
        fs::remove_all(previous);
    };

    SUBCASE("between the two steps of moving aside")
    {
        make_run(previous, "old");
        put(previous / ".superseded", "");
        CHECK(refusal({.folder = folder}).find("already holds a run") != std::string::npos);
        CHECK(get(folder / "adapter_config.json") == "old");
    }
    SUBCASE("before the move")
    {
        make_run(folder, "old");
        put(folder / ".superseded", "");
        CHECK(refusal({.folder = folder}).find("already holds a run") != std::string::npos);
        CHECK(!fs::exists(folder / ".superseded"));
    }
    SUBCASE("while the new run went on")
    {
        make_run(previous, "old");
        put(previous / ".superseded", "");
        fs::create_directory(folder);
        put(folder / "metrics.jsonl", "new");
        put(folder / "adapter_model.safetensors.partial-12", "ne");
        run(folder, "newer");
        CHECK(get(folder / "adapter_config.json") == "newer");
    }
    SUBCASE("after the new result was whole")
    {
        make_run(folder, "new");
        fs::create_directory(previous);
        put(previous / "metrics.jsonl", "old");
        put(previous / ".superseded", "");
        CHECK(refusal({.folder = folder}).find("already holds a run") != std::string::npos);
        CHECK(get(folder / "adapter_config.json") == "new");
    }
    SUBCASE("an interrupted run without a predecessor")
    {
        fs::create_directory(folder);
        put(folder / "metrics.jsonl", "new");
        CHECK(refusal({.folder = folder}).find("holds an interrupted run (metrics.jsonl)") != std::string::npos);
        run(folder, "newer");
        CHECK(get(folder / "metrics.jsonl") == "newer");
    }
    CHECK(!fs::exists(previous));
    reset();
}

TEST_CASE("killed at many instants: the old result or the new one, never both or half")
{
    const graft_test::TempFolder scratch;
    const fs::path folder = scratch.path() / "out";
    make_run(folder, "old");
    int finished = 0;
    for (int round = 0; round < 60; ++round) {
        const std::string text = "run " + std::to_string(round);
        const pid_t child = ::fork();
        if (child == 0) {
            try {
                run(folder, text);
            } catch (...) {
                ::_exit(2);
            }
            ::_exit(0);
        }
        ::usleep(static_cast<useconds_t>(round) * 150);
        ::kill(child, SIGKILL);
        int status = 0;
        ::waitpid(child, &status, 0);
        CHECK(!(WIFEXITED(status) && WEXITSTATUS(status) != 0));
        finished += WIFEXITED(status) ? 1 : 0;
        CHECK(refusal({.folder = folder}).find("already holds a run") != std::string::npos);  // recovers
        const std::string now = get(folder / "adapter_config.json");
        CHECK(get(folder / "adapter_model.safetensors") == now);
        CHECK(get(folder / "metrics.jsonl") == now);
        CHECK(!fs::exists(scratch.path() / "out.previous"));
    }
    MESSAGE(finished << " of 60 runs finished");
}

namespace {

void make_checkpoint(const fs::path& folder, std::int64_t step)
{
    fs::create_directories(folder);
    graft::NewCheckpoint checkpoint(folder, step);
    graft::write_file(checkpoint.path() / "state", "state");
    checkpoint.commit();
}

void resume(const fs::path& folder, const std::string& text, bool overwrite = false)
{
    graft::OutputFolder output({.folder = folder, .overwrite = overwrite, .resume = true});
    output.begin();
    CHECK(fs::exists(folder / "checkpoint-5/state"));
    graft::write_file(output.file("adapter_model.safetensors"), text);
    graft::write_file(output.file("adapter_config.json"), text);
    output.commit();
}

}  // namespace

TEST_CASE("a run is resumed in place, wherever it was cut")
{
    const graft_test::TempFolder scratch;
    const fs::path folder = scratch.path() / "out", previous = scratch.path() / "out.previous";

    SUBCASE("nothing there, or nothing to go on from")
    {
        CHECK(refusal({.folder = folder, .resume = true}).find("there is no such folder") != std::string::npos);
        fs::create_directory(folder);
        put(folder / "metrics.jsonl", "new");
        CHECK(refusal({.folder = folder, .resume = true}).find("there is no checkpoint in it") != std::string::npos);
        CHECK(get(folder / "metrics.jsonl") == "new");
        make_run(folder, "old");
        CHECK(refusal({.folder = folder, .resume = true}).find("finished and has no checkpoint") != std::string::npos);
        CHECK(get(folder / "adapter_config.json") == "old");
    }
    SUBCASE("interrupted")
    {
        make_checkpoint(folder, 5);
        put(folder / "metrics.jsonl", "lines");
        put(folder / "adapter_model.safetensors.partial-12", "half");
        put(folder / "checkpoint-7.partial-12", "half");
        put(folder / "notes.txt.partial-1", "not ours");
        CHECK(refusal({.folder = folder}).find("continue it with --resume") != std::string::npos);
        resume(folder, "done");
        CHECK(get(folder / "adapter_config.json") == "done");
        CHECK(get(folder / "metrics.jsonl") == "lines");
        CHECK(!fs::exists(folder / "adapter_model.safetensors.partial-12"));
        CHECK(!fs::exists(folder / "checkpoint-7.partial-12"));
        CHECK(fs::exists(folder / "notes.txt.partial-1"));
    }
    SUBCASE("interrupted while an old run was aside: that goes with commit, not before")
    {
        make_run(previous, "old");
        put(previous / ".superseded", "");
        make_checkpoint(folder, 5);
        const std::string said = refusal({.folder = folder});
        CHECK(said.find("--resume") != std::string::npos);
        CHECK(said.find("out.previous") != std::string::npos);
        CHECK(fs::exists(folder / "checkpoint-5"));
        {
            graft::OutputFolder failing({.folder = folder, .resume = true});
            failing.begin();
        }
        CHECK(fs::exists(folder / "checkpoint-5"));
        CHECK(get(previous / "adapter_config.json") == "old");
        resume(folder, "done", /*overwrite*/ true);
        CHECK(get(folder / "adapter_config.json") == "done");
        CHECK(!fs::exists(previous));
    }
    SUBCASE("the same, started over: the checkpoints go, the old run comes back until the new one is whole")
    {
        make_run(previous, "old");
        put(previous / ".superseded", "");
        make_checkpoint(folder, 5);
        {
            graft::OutputFolder failing({.folder = folder, .overwrite = true});
            failing.begin();
        }
        CHECK(get(folder / "adapter_config.json") == "old");
        CHECK(!fs::exists(folder / "checkpoint-5"));
        run(folder, "newer");
        CHECK(get(folder / "adapter_config.json") == "newer");
        CHECK(!fs::exists(previous));
    }
    SUBCASE("stopped early: the result stays until the new one replaces it")
    {
        make_run(folder, "stopped");
        make_checkpoint(folder, 5);
        {
            graft::OutputFolder failing({.folder = folder, .resume = true});
            failing.begin();
        }
        CHECK(get(folder / "adapter_config.json") == "stopped");
        CHECK(graft::OutputFolder::is_whole(folder));
        CHECK(!graft::OutputFolder::is_finished(folder));
        {
            graft::OutputFolder failing({.folder = folder, .resume = true});
            failing.begin();
            failing.retire();
        }
        CHECK(!graft::OutputFolder::is_whole(folder));
        CHECK(fs::exists(folder / "checkpoint-5/state"));
        resume(folder, "done");
        CHECK(graft::OutputFolder::is_finished(folder));
        CHECK(!fs::exists(folder / ".resumed"));
        CHECK(get(folder / "adapter_config.json") == "done");
    }
    SUBCASE("a checkpoint belongs to the run: it moves aside with it, and goes with it")
    {
        make_run(folder, "old");
        make_checkpoint(folder, 5);
        {
            graft::OutputFolder output({.folder = folder, .overwrite = true});
            output.begin();
            CHECK(fs::exists(previous / "checkpoint-5/state"));
            CHECK(!fs::exists(folder / "checkpoint-5"));
        }
        CHECK(fs::exists(folder / "checkpoint-5/state"));
        run(folder, "new");
        CHECK(!fs::exists(folder / "checkpoint-5"));
    }
    SUBCASE("held: a failure leaves what a kill would")
    {
        make_run(folder, "old");
        {
            graft::OutputFolder output({.folder = folder, .overwrite = true});
            output.begin();
            make_checkpoint(folder, 5);
            output.hold();
        }
        CHECK(fs::exists(folder / "checkpoint-5/state"));
        CHECK(get(previous / "adapter_config.json") == "old");
        resume(folder, "done");
        CHECK(!fs::exists(previous));
    }
    SUBCASE("locked while it runs")
    {
        make_checkpoint(folder, 5);
        const graft::OutputFolder one({.folder = folder, .resume = true});
        CHECK(refusal({.folder = folder, .resume = true}).find("another run is writing") != std::string::npos);
    }
    SUBCASE("what it reads cannot lie inside")
    {
        make_checkpoint(folder, 5);
        CHECK(refusal({.folder = folder, .resume = true, .inputs = {folder / "checkpoint-5"}}).find("continued")
              != std::string::npos);
    }
}

TEST_CASE("base/ is a run's where merge.json is in it: it goes with the run, and a folder without is nobody's to take")
{
    const graft_test::TempFolder scratch;
    const fs::path folder = scratch.path() / "out";
    const auto make_base = [&](const std::string& name, bool ours) {
        fs::create_directories(folder / name);
        put(folder / name / "model.safetensors", "base");
        if (ours) { put(folder / name / "merge.json", "{}"); }
    };
    {
        graft::OutputFolder output({.folder = folder});
        output.begin();
        make_base("base", true);
    }
    CHECK(!fs::exists(folder));  // the run failed

    make_run(folder, "old");
    make_base("base", true);
    make_base("base.partial-1", false);
    CHECK(refusal({.folder = folder}).find("already holds a run") != std::string::npos);
    run(folder, "new");
    CHECK(get(folder / "metrics.jsonl") == "new");
    CHECK(!fs::exists(folder / "base"));
    CHECK(!fs::exists(folder / "base.partial-1"));

    make_base("base", false);
    CHECK(refusal({.folder = folder, .overwrite = true}).find("no run made (base)") != std::string::npos);
    CHECK(get(folder / "base" / "model.safetensors") == "base");

    // What a kill leaves before the first checkpoint counts as a run.
    const fs::path other = scratch.path() / "other";
    fs::create_directories(other / "base");
    put(other / "base" / "merge.json", "{}");
    CHECK(refusal({.folder = other}).find("interrupted run (base)") != std::string::npos);
    fs::remove(other / "base" / "merge.json");
    CHECK(refusal({.folder = other}).empty());
    CHECK(fs::exists(other / "base"));
}

TEST_CASE("output folder: the chat templates of a saved checkpoint are part of it")
{
    const graft_test::TempFolder scratch;
    const fs::path folder = scratch.path() / "model", templates = folder / "additional_chat_templates";
    fs::create_directories(templates);
    put(folder / "config.json", "{}");
    put(templates / "tool_use.jinja", "old");
    CHECK(graft::OutputFolder::result_files(folder)
          == std::vector<std::string>{"additional_chat_templates/tool_use.jinja", "config.json"});
    {
        graft::OutputFolder output({.folder = folder, .overwrite = true});
        output.begin();
        CHECK(!fs::exists(templates));
        put(output.file("config.json"), "new");
        output.commit();
    }
    CHECK(get(folder / "config.json") == "new");
    CHECK(!fs::exists(templates));
    // A folder of that name without templates is somebody else's.
    fs::create_directory(templates);
    put(templates / "holiday.jpg", "x");
    CHECK(refusal({.folder = folder, .overwrite = true}).find("no run made (additional_chat_templates)")
          != std::string::npos);
}
