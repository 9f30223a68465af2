#include "graft/io/checkpoint_folders.hpp"

#include "../programs/programs_support.hpp"

// The folders checkpoint-N: whole or not there, whatever happens.
using namespace graft_test;

namespace {

std::vector<std::int64_t> steps(const fs::path& run)
{
    std::vector<std::int64_t> out;
    for (const auto& checkpoint : graft::checkpoints_of(run)) { out.push_back(checkpoint.step); }
    return out;
}

void save(const fs::path& run, std::int64_t step, const std::string& text)
{
    graft::NewCheckpoint checkpoint(run, step);
    graft::write_file(checkpoint.path() / "a", text);
    graft::write_file(checkpoint.path() / "b", text);
    checkpoint.commit();
}

std::size_t entries(const fs::path& folder)
{
    return std::size_t(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

using Steps = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("checkpoint folders: which names are meant")
{
    CHECK(graft::checkpoint_step("checkpoint-0") == 0);
    CHECK(graft::checkpoint_step("checkpoint-120") == 120);
    for (const char* name :
         {"checkpoint", "checkpoint-", "checkpoint--1", "checkpoint-01", "checkpoint-1x", "checkpoint-1.partial-7",
          "checkpoint-+1", "Checkpoint-1", "checkpoint-9223372036854775808"}) {
        CAPTURE(name);
        CHECK(!graft::checkpoint_step(name));
    }
    for (const char* name :
         {"checkpoint-1", "checkpoint-1.partial-7", "checkpoint-1.removed-7", "checkpoint-1.damaged"}) {
        CHECK(graft::checkpoint_part(name));
    }
    for (const char* name : {"checkpoint-1.mine", "checkpoint-x.partial-7", "my-checkpoint-1"}) {
        CHECK(!graft::checkpoint_part(name));
    }
}

TEST_CASE("checkpoint folders: whole or gone, newest first, the oldest removed, one of the same step replaced")
{
    const TempFolder temp;
    const fs::path run = temp.path();
    save(run, 9, "nine");
    save(run, 10, "ten");
    save(run, 100, "hundred");
    write_text(run / "checkpoint-50", "a file, not a folder");
    CHECK(steps(run) == Steps{100, 10, 9});
    {
        graft::NewCheckpoint left(run, 11);
        graft::write_file(left.path() / "a", "half");
    }
    CHECK(steps(run) == Steps{100, 10, 9});
    save(run, 10, "ten again");
    CHECK(read_text(run / "checkpoint-10/a") == "ten again");
    CHECK(entries(run) == 4);

    // Those of later steps, which a run went back behind, neither count nor go.
    graft::keep_checkpoints(run, 10, 1);
    CHECK(steps(run) == Steps{100, 10});
    graft::set_aside(run / "checkpoint-100");
    CHECK(steps(run) == Steps{10});
    save(run, 100, "new");
    CHECK(!fs::exists(run / "checkpoint-100.damaged"));
    graft::keep_checkpoints(run, 100, 2);
    CHECK(steps(run) == Steps{100, 10});

    fs::create_directories(run / "checkpoint-7.partial-12/x");
    fs::create_directories(run / "checkpoint-8.removed-12");
    fs::create_directories(run / "checkpoint-8.damaged");
    fs::create_directories(run / "checkpoint-8.mine");
    graft::clean_checkpoints(run);
    CHECK(!fs::exists(run / "checkpoint-7.partial-12"));
    CHECK(!fs::exists(run / "checkpoint-8.removed-12"));
    CHECK(fs::exists(run / "checkpoint-8.damaged"));
    CHECK(fs::exists(run / "checkpoint-8.mine"));
}

TEST_CASE("checkpoint folders: killed at many instants, the folders that are there are whole")
{
    const TempFolder temp;
    const fs::path run = temp.path();
    save(run, 1, "1");
    for (int round = 0; round < 60; ++round) {
        const pid_t child = ::fork();
        if (child == 0) {
            for (std::int64_t step = 2; step < 50; ++step) {
                save(run, step, std::to_string(step));
                graft::keep_checkpoints(run, step, 2);
            }
            ::_exit(0);
        }
        ::usleep(static_cast<useconds_t>(round) * 200);
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        CHECK(!steps(run).empty());
        for (const auto& checkpoint : graft::checkpoints_of(run)) {
            CHECK(read_text(checkpoint.path / "a") == std::to_string(checkpoint.step));
            CHECK(read_text(checkpoint.path / "b") == std::to_string(checkpoint.step));
        }
        graft::clean_checkpoints(run);
        CHECK(entries(run) == steps(run).size());
    }
}
