#include "finetune_support.hpp"

// finetune: what is measured and saved between steps changes no byte of the adapter.
using namespace graft_test;

namespace {

std::string adapter_bytes(const Place& place, const Arguments& options)
{
    const auto ended = run(
        "finetune",
        place.with(joined({"--steps", "5", "--batch", "2", "--rank", "4", "--lr", "0.01", "--overwrite"}, options)));
    CAPTURE(ended.err);
    REQUIRE(ended.status == 0);
    const bool full = fs::exists(place.out() + "/model.safetensors");
    return read_text(place.out() + (full ? "/model.safetensors" : "/adapter_model.safetensors"));
}

}  // namespace

TEST_CASE("finetune: --eval, --eval-every and --save-every leave the adapter the same, byte for byte")
{
    if (!ready()) { return; }
    const Place place;
    const std::string rows = (place.temp / "rows.jsonl").string();
    const std::vector<Arguments> kinds{{},
                                       {"--dtype", "bf16"},
                                       {"--method", "qlora"},
                                       {"--method", "qlora", "--double-quant", "--dropout", "0.2", "--dtype", "bf16"},
                                       {"--dropout", "0.3", "--recompute"},
                                       {"--modules-to-save", "embed_tokens,norm"},
                                       {"--method", "full"}};
    for (const auto& kind : kinds) {
        CAPTURE(kind.size());
        const auto plain = adapter_bytes(place, kind);
        CHECK(!plain.empty());
        for (const char* every : {"1", "2"}) {
            CHECK(adapter_bytes(place, joined(kind, {"--eval", rows, "--eval-every", every})) == plain);
        }
        CHECK(adapter_bytes(place, joined(kind, {"--eval", rows, "--eval-every", "1", "--save-every", "1"})) == plain);
    }
    // Rows without text, as these, are not continued before and after; conversations are.
    CHECK(adapter_bytes(place, {"--seed", "43"}) != adapter_bytes(place, {}));
}
