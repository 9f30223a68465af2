#include "guide_support.hpp"

// Guides whose every command runs as it stands and prints what is shown.
using namespace graft_test;

namespace {

bool programs()
{
    const bool there = built("finetune") && built("generate") && built("inspect") && built("merge");
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

TEST_CASE("guide: preference training")
{
    if (programs()) { CHECK(run_guide("preference-training.md", {}, {"step ", "before  ", "after  "}) >= 2); }
}

TEST_CASE("guide: train embeddings and head")
{
    if (programs()) { CHECK(run_guide("train-embeddings.md", {}, {"step "}) >= 2); }
}

TEST_CASE("guide: merge")
{
    if (!programs()) { return; }
    const auto trained = [](const char* output, const char* rank) {
        return std::string("build/release/bin/finetune --model examples/data/stories260K --data "
                           "examples/data/conversations.jsonl --template zephyr --epochs 2 --batch 8 --lr 5e-3 --quiet "
                           "--output build/") + output + " --rank " + rank + " >log";
    };
    const auto before = trained("my-run", "8") + " && " + trained("other", "4 --alpha 16");
    CHECK(run_guide("merge.md", {}, {"KL mean", "/5 ", "/1 ", "/10 "}, before) >= 4);
}

TEST_CASE("guide: grow the vocabulary")
{
    if (programs() && built("grow")) { CHECK(run_guide("grow-the-vocabulary.md", {}, {"step "}) == 5); }
}
