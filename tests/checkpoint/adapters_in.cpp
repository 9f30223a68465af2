#include "graft/checkpoint/adapters_in.hpp"

#include "files.hpp"

using namespace graft_test;

TEST_CASE("adapters in a folder: itself first, then those directly in it by name; halves below do not count")
{
    const TempFolder temp;
    const auto adapter = [&](const std::string& name, bool config, bool weights) {
        fs::create_directories(temp / name);
        if (config) { write_text(temp / name / "adapter_config.json", "{}"); }
        if (weights) { write_text(temp / name / "adapter_model.safetensors", ""); }
    };
    CHECK(graft::adapters_in(temp.path()).empty());
    CHECK(graft::adapters_in(temp / "absent").empty());
    adapter("checkpoint-20", true, true);
    adapter("checkpoint-10", true, true);
    adapter("half", true, false);
    adapter("other half", false, true);
    adapter("deep/er", true, true);
    write_text(temp / "file", "");
    using Paths = std::vector<fs::path>;
    CHECK(graft::adapters_in(temp.path()) == Paths{temp / "checkpoint-10", temp / "checkpoint-20"});
    CHECK(graft::adapters_in(temp / "deep") == Paths{temp / "deep/er"});
    CHECK(!graft::holds_adapter(temp.path()));

    for (const char* name : {"half", "other half"}) {
        CHECK(graft::holds_adapter(temp / name));
        CHECK(graft::adapters_in(temp / name) == Paths{temp / name});
    }
    adapter(".", true, false);
    CHECK(graft::adapters_in(temp.path()) == Paths{temp.path(), temp / "checkpoint-10", temp / "checkpoint-20"});
}

TEST_CASE("adapters in a folder: one folder has many names")
{
    const TempFolder temp;
    fs::create_directories(temp / "a/b");
    fs::create_directory_symlink(temp / "a", temp / "link");
    CHECK(graft::same_folder(temp / "a/b", temp / "link/b/"));
    CHECK(graft::same_folder(temp / "a/../a", temp / "a"));
    CHECK(!graft::same_folder(temp / "a", temp / "a/b"));
    CHECK(!graft::same_folder(temp / "absent", temp / "absent"));
}
