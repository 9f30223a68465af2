#include "guide_support.hpp"

// Guides whose every command runs as it stands and prints what is shown.
using namespace graft_test;

TEST_CASE("guide: prove a run")
{
    if (!built("finetune") || !built("inspect")) { return; }
    CHECK(run_guide("prove-a-run.md") == 4);
}
