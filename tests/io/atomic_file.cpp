#include "graft/io/atomic_file.hpp"

#include "files.hpp"
#include "support.hpp"

#include <sys/wait.h>

namespace fs = std::filesystem;

TEST_CASE("a file appears whole at commit, or not at all")
{
    const graft_test::TempFolder temp;
    const fs::path folder = temp.path(), path = folder / "file";
    const auto entries = [&] { return std::distance(fs::directory_iterator(folder), fs::directory_iterator()); };
    {
        graft::AtomicFile file(path);
        file.write("half");
        CHECK(!fs::exists(path));
        CHECK(entries() == 1);
    }
    CHECK(entries() == 0);
    {
        graft::AtomicFile one(path), two(path);  // their temporaries do not meet
        one.write("one");
        two.write(std::string(5 << 20, 't'));
        one.commit();
        CHECK(graft::read_file(path, 100) == "one");
        two.commit();
        CHECK_THROWS_AS(two.commit(), graft::Error);
        CHECK_THROWS_AS(two.write(std::string(5 << 20, 't')), graft::Error);
    }
    CHECK(graft::read_file(path, 10 << 20) == std::string(5 << 20, 't'));
    CHECK_THROWS_AS(graft::read_file(path, 100), graft::Error);
    CHECK_THROWS_AS(graft::read_file(folder, 100), graft::Error);
    CHECK_THROWS_AS(graft::read_file("/dev/zero", 100), graft::Error);
    CHECK_THROWS_WITH_AS(graft::write_file(folder / "no" / "file", ""), doctest::Contains("no/file: cannot write"),
                         graft::Error);
    CHECK_THROWS_AS(graft::write_file(folder / "", ""), graft::Error);

    fs::create_directory(folder / "taken");
    CHECK_THROWS_WITH_AS(graft::write_file(folder / "taken", "x"), doctest::Contains("rename into place"),
                         graft::Error);

    // Killed before commit: the old file stays.
    graft::write_file(path, "old");
    const pid_t child = ::fork();
    if (child == 0) {
        graft::AtomicFile file(path);
        file.write(std::string(3 << 20, 'n'));
        ::_exit(0);  // no destructors, as in a kill
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(graft::read_file(path, 100) == "old");
}
