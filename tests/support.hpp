#pragma once
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

// What several tests need: where test data lies, and how a test says that it was skipped.
namespace graft_test {

// The tests/ folder of the repository, whose data/ ships with it.
inline std::filesystem::path repo() { return std::filesystem::path(GRAFT_TEST_DIR); }

// The folder named by GRAFT_TEST_DATA, which holds the larger reference data; empty where it is not set.
inline std::optional<std::filesystem::path> data()
{
    const char* folder = std::getenv("GRAFT_TEST_DATA");
    if (folder == nullptr || *folder == '\0') { return std::nullopt; }
    return std::filesystem::path(folder);
}

// Says that a test did not run, and why: the runner counts it as skipped, never as passed.
inline void skip(const std::string& reason) { MESSAGE("skipped: " << reason); }

}  // namespace graft_test
