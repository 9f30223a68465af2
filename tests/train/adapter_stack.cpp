#include "graft/train/adapter_stack.hpp"

#include "files.hpp"

#include "graft/io/safetensors/write.hpp"
#include "graft/train/fingerprint.hpp"

using namespace graft_test;

namespace {

using Paths = std::vector<fs::path>;

// A folder that is an adapter as far as its files go.
fs::path adapter(const fs::path& folder, const graft::Metadata& metadata = {})
{
    fs::create_directories(folder);
    write_text(folder / "adapter_config.json", "{\"of\": \"" + folder.filename().string() + "\"}");
    graft::write_safetensors(folder / "adapter_model.safetensors", std::vector<graft::TensorToWrite>{}, metadata);
    return folder;
}

std::string refusal_of(const fs::path& folder, const Paths& given)
{
    try {
        graft::require_stack(folder, given, "say so");
    } catch (const graft::Error& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("adapter stack: what an adapter was trained over stays with it, in order")
{
    const TempFolder temp;
    const auto first = adapter(temp / "first"), second = adapter(temp / "second");
    CHECK(graft::stack_metadata({}).empty());
    CHECK(graft::trained_over(first).empty());
    CHECK(graft::trained_over(temp / "absent").empty());
    const Paths both{second, first};
    const auto metadata = graft::stack_metadata(both);
    const auto a = graft::adapter_fingerprint(first), b = graft::adapter_fingerprint(second);
    CHECK(metadata == std::map<std::string, std::string>{{"graft.over", b + "," + a}});
    const auto top = adapter(temp / "top", metadata);
    CHECK(graft::trained_over(top) == std::vector<std::string>{b, a});

    // In any order, under any name, and beside others.
    CHECK(refusal_of(first, {}) == "");
    CHECK(refusal_of(top, {first, second}) == "");
    fs::rename(first, temp / "moved");
    CHECK(refusal_of(top, {top, temp / "moved", second}) == "");
}

TEST_CASE("adapter stack: those that are not given, or have changed, are named")
{
    const TempFolder temp;
    const auto first = adapter(temp / "first"), second = adapter(temp / "second");
    const auto a = "sha256 " + graft::adapter_fingerprint(first).substr(0, 8),
               b = "sha256 " + graft::adapter_fingerprint(second).substr(0, 8);
    const auto top = adapter(temp / "top", graft::stack_metadata(Paths{first, second}));
    const auto none = refusal_of(top, {}), one = refusal_of(top, {top, first});
    CHECK(none
          == top.string()
                 + ": was trained over 2 other adapters and means nothing without them; not given, or "
                   "changed since: "
                 + a + " and " + b + "; say so");
    CHECK(one.find(a) == std::string::npos);
    CHECK(one.find(b) != std::string::npos);
    write_text(first / "adapter_config.json", "{}");
    CHECK(refusal_of(top, {first, second}).find(a) != std::string::npos);
    const auto single = adapter(temp / "single", graft::stack_metadata(Paths{second}));
    CHECK(refusal_of(single, {first}).find("was trained over another adapter and means nothing without it; not given")
          != std::string::npos);
}

TEST_CASE("adapter stack: a value that is no list of hashes is refused")
{
    const TempFolder temp;
    const std::string hash(64, 'a');
    for (const std::string& value : {std::string(), std::string("x"), hash + ",", "," + hash, hash + "," + hash + "b",
                                     std::string(64, 'A'), hash + "\n" + hash}) {
        CAPTURE(value);
        const auto folder = adapter(temp / "one", {{"graft.over", value}});
        const auto text = refusal_of(folder, {});
        CHECK(text.find("graft.over") != std::string::npos);
        CHECK(text.find("expected SHA-256") != std::string::npos);
        CHECK(text.find('\n') == std::string::npos);
    }
}
