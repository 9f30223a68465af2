#include "finetune_support.hpp"

// Merged is base + adapter, for every kind of adapter that is trained here: 64 greedy tokens.
using namespace graft_test;

TEST_CASE("merge: for every kind of adapter, the merged checkpoint says what base and adapter say")
{
    if (!ready() || !built("merge") || !built("generate") || !built("inspect")) { return; }
    const Place place;
    const std::string below = (place.temp / "below").string(), examples = std::string(GRAFT_EXAMPLES_DIR) + "/data/";
    const std::string pairs = examples + "story-pairs.jsonl", text = examples + "stories.jsonl";
    const auto finetune = [&](const Arguments& more, const std::string& out) {
        const auto ended = run("finetune", joined({"--model", small_model(), "--output", out, "--quiet", "--rank", "4",
                                                   "--steps", "4", "--overwrite"},
                                                  more.back() == "0.001" ? more : joined(more, {"--lr", "0.01"})));
        CAPTURE(ended.err);
        REQUIRE(ended.status == 0);
    };
    const Arguments rows{"--data", (place.temp / "rows.jsonl").string()};
    finetune(rows, below);
    struct Kind {
        Arguments more;
        std::string with;  // adapters below it
    };
    const std::vector<Kind> kinds{
        {rows, ""},
        {joined(rows, {"--rslora", "--target", "q_proj,down_proj", "--alpha", "3"}), ""},
        {joined(rows, {"--dtype", "bf16"}), ""},
        {joined(rows, {"--stack", below}), below + ","},
        {joined(rows, {"--modules-to-save", "embed_tokens,lm_head"}), ""},
        {joined(rows, {"--modules-to-save", "embed_tokens", "--untie"}), ""},
        {joined(rows, {"--modules-to-save", "lm_head,norm", "--untie", "--embedding-lr", "0.02"}), ""},
        {joined(rows, {"--train-tokens", "403,261,7", "--embedding-lr", "0.05"}), ""},
        {joined(rows, {"--target", "all-linear,embed_tokens", "--untie"}), ""},
        {joined(rows, {"--target", "q_proj,lm_head,embed_tokens", "--untie", "--dropout", "0.1"}), ""},
        {joined(rows, {"--target", "attention,lm_head", "--untie", "--dtype", "bf16"}), ""},
        {{"--data", text, "--task", "text"}, ""},
        {{"--data", pairs, "--task", "dpo", "--lr", "0.001"}, ""},
    };
    for (const auto& kind : kinds) {
        std::string words;
        for (const auto& word : kind.more) { words += " " + word; }
        CAPTURE(words);
        const std::string out = place.out(), merged = (place.temp / "merged").string();
        finetune(kind.more, out);
        const auto ended = run("merge", {"--model", small_model(), "--adapter", kind.with + out, "--output", merged,
                                         "--overwrite", "--prompt", "Once upon a time", "--prompt", "Tom said"});
        CAPTURE(ended.out);
        CAPTURE(ended.err);
        REQUIRE(ended.status == 0);
        std::size_t equal = 0;
        for (auto at = ended.out.find("64 of 64 greedy tokens equal"); at != ended.out.npos;
             at = ended.out.find("64 of 64 greedy tokens equal", at + 1)) {
            ++equal;
        }
        CHECK(equal == 2);
        // The same by the other programs, which know nothing of the merge.
        const auto say = [&](const Arguments& more) {
            const auto said = run("generate", joined({"--prompt", "Once upon a time", "--max-tokens", "64"}, more));
            CAPTURE(said.err);
            CHECK(said.status == 0);
            return said.out;
        };
        const auto together = say({"--model", small_model(), "--adapter", kind.with + out});
        CHECK(say({"--model", merged}) == together);
        CHECK(say({"--model", small_model()}) != together);
        CHECK(run("inspect", {merged, "--verify"}).status == 0);
    }
}
