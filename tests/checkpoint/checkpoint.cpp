#include "graft/checkpoint/checkpoint.hpp"

#include "checkpoint_support.hpp"
#include "graft/cpu.hpp"

using namespace graft_test;

namespace {

struct Somewhere {
    TempFolder temp;
};

// Two shards and their index.
struct Sharded : Somewhere, Shards {
    Sharded() : Shards(tiny_checkpoint(temp.path())) {}
    std::string refused() const
    {
        return refusal_of([&] { graft::Checkpoint::open(folder); });
    }
};

}  // namespace

TEST_CASE("checkpoint: one file, and the same tensors from shards")
{
    const TempFolder temp;
    const auto folder = tiny_checkpoint(temp.path());
    const auto one = graft::Checkpoint::open(folder);
    const Sharded sharded;
    const auto two = graft::Checkpoint::open(sharded.folder);
    REQUIRE(one.tensors().size() == two.tensors().size());
    for (const auto& [stored_name, tensor] : one.tensors()) {
        const auto& name = stored_name;  // clang 14 captures no structured binding
        CAPTURE(name);
        const auto* other = two.find(name);
        REQUIRE(other != nullptr);
        CHECK(other->shape == tensor->shape);
        CHECK(std::equal(tensor->bytes.begin(), tensor->bytes.end(), other->bytes.begin(), other->bytes.end()));
    }
    CHECK(one.find("lm_head") == nullptr);
    CHECK(one.folder() == folder);
}

TEST_CASE("checkpoint: an index that names the wrong shard, leaves the folder, or is not one is refused")
{
    const Sharded s;
    const std::string name = s.first.list[0].name;
    const auto with = [&](const nlohmann::json& file) {
        auto other = s.map;
        other[name] = file;
        s.index(other);
        return s.refused();
    };
    CHECK(says(with("b.safetensors"), {name}));
    for (const char* outside : {"../checkpoint/a.safetensors", "/etc/passwd", "..", ".", ""}) {
        CAPTURE(outside);
        CHECK(says(with(outside), {"index.json", "not a file of this folder"}));
    }
    CHECK(says(with(7), {name}));
    auto absent = s.map;
    absent["model.extra.weight"] = "b.safetensors";
    s.index(absent);
    CHECK(says(s.refused(), {"b.safetensors", "model.extra.weight"}));
    auto fewer = s.map;
    fewer.erase(name);
    s.index(fewer);
    CHECK(says(s.refused(), {"a.safetensors", name}));
    s.index(nlohmann::json::array());
    CHECK(says(s.refused(), {"weight_map"}));
    write_text(s.folder / "model.safetensors.index.json", "[]");
    CHECK(says(s.refused(), {"weight_map"}));
    s.index(s.map);
    CHECK(s.refused() == "");
    fs::remove(s.folder / "b.safetensors");
    CHECK(says(s.refused(), {"b.safetensors", "missing", s.second.list[0].name}));
}

TEST_CASE("checkpoint: a folder without weights is refused, and a pickle is named")
{
    const TempFolder temp;
    CHECK(says(refusal_of([&] { graft::Checkpoint::open(temp.path()); }), {"model.safetensors"}));
    write_text(temp / "pytorch_model.bin", "x");
    CHECK(says(refusal_of([&] { graft::Checkpoint::open(temp.path()); }), {"pickle", "safetensors"}));
}
