#include "finetune_support.hpp"

// finetune after its last step: whether what the model says ends, and if not, why.
using namespace graft_test;

namespace {

const std::string conversations = std::string(GRAFT_EXAMPLES_DIR) + "/data/conversations.jsonl";

// What a run on the conversations of the examples says of its samples; empty where it says nothing.
std::string said(const Arguments& more, const std::string& rows = conversations)
{
    const TempFolder temp;
    const auto out = (temp / "out").string();
    const auto ended = run("finetune", joined({"--model", small_model(), "--data", rows, "--output", out, "--quiet",
                                               "--batch", "8", "--lr", "5e-3"},
                                              more));
    CAPTURE(ended.err);
    CHECK(ended.status == 0);
    const auto at = ended.out.find(" samples did not end: ");
    if (at == ended.out.npos) { return ""; }
    const auto begin = ended.out.rfind('\n', at) + 1;
    const auto line = ended.out.substr(begin, ended.out.find('\n', at) - begin);
    CHECK(read_text(temp / "out/report.html").find("samples did not end: ") != std::string::npos);
    return line;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

}  // namespace

TEST_CASE("finetune: answers that do not end are reported with the reason, and its cure works")
{
    if (!ready()) { return; }
    const Arguments zephyr{"--template", "zephyr", "--epochs", "10"};
    const auto untrained = said(zephyr);
    CAPTURE(untrained);
    CHECK(untrained.starts_with("2 of 2 samples did not end: </s> (2) is a target in 48 of 48 examples, but its row of "
                                "the head looks untrained: "));
    CHECK(has(untrained, " other tokens have the same one"));
    CHECK(untrained.ends_with("train the row: --train-tokens 2"));
    CHECK(said(joined(zephyr, {"--train-tokens", "2"})).empty());
    // The template of the demo ends a turn with a token that the base knows.
    CHECK(said({"--template", std::string(GRAFT_EXAMPLES_DIR) + "/data/story-chat.jinja", "--epochs", "10"}).empty());
}

TEST_CASE("finetune: an end that is trained and not learnt yet, with any method, is not the row's fault")
{
    if (!ready()) { return; }
    for (const Arguments& method : {Arguments{"--train-tokens", "2"}, Arguments{"--method", "full"},
                                    Arguments{"--modules-to-save", "embed_tokens,lm_head"}}) {
        const auto line = said(joined({"--template", "zephyr", "--steps", "1"}, method));
        CAPTURE(line);
        CHECK(
            has(line, "it is not learnt yet (of 8 places of the data where it is due it is the likeliest token at 0"));
        CHECK(line.ends_with("train longer (--epochs) or at a higher --lr"));
    }
}

TEST_CASE("finetune: data without an end is the reason; answers longer than a sample are none")
{
    if (!ready()) { return; }
    const TempFolder temp;
    write_text(temp / "rows.jsonl", few_rows);
    const auto line = said({"--steps", "1"}, (temp / "rows.jsonl").string());
    CHECK(line
          == "2 of 2 samples did not end: none of the 3 examples has a token that ends a text (</s> (2)) among its "
             "targets, so nothing teaches the model to stop");
    std::string text = R"({"text": ")";
    for (int i = 0; i < 30; ++i) { text += "One day Tom saw a cat. "; }
    write_text(temp / "long.jsonl", text + "\"}\n");
    CHECK(said({"--steps", "1", "--task", "text"}, (temp / "long.jsonl").string()).empty());
}
