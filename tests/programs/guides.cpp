#include "guide_support.hpp"

// Guides whose every command runs as it stands and prints what is shown.
using namespace graft_test;

namespace {

bool programs()
{
    const bool there = built("finetune") && built("generate") && built("inspect");
    if (there && !fs::exists(small_model() + "/model.safetensors")) {
        skip("there is no examples/data/stories260K");
        return false;
    }
    return there;
}

}  // namespace

TEST_CASE("guide: prove a run")
{
    if (programs()) { CHECK(run_guide("prove-a-run.md") == 4); }
}

TEST_CASE("guide: long documents")
{
    if (!programs()) { return; }
    CHECK(run_guide("long-context.md", {{"--steps 10", "--steps 1"}}, {"step "}) == 3);
}

TEST_CASE("guide: train everything, then an adapter")
{
    if (!programs()) { return; }
    CHECK(run_guide("full-then-lora.md", {{"--epochs 10", "--epochs 1"}, {"--epochs 2", "--epochs 1"}},
                    {"step ", "logits from", "Tom found"}) == 4);
}
