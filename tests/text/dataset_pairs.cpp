#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "dataset_support.hpp"
#include "graft/text/dataset.hpp"
#include "graft/text/dataset/load_pairs.hpp"
#include "support.hpp"

// Preference pairs: forms, the seam of prompt and answer, lengths and the ledger.
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

bool has(const std::string& text, const std::string& part)
{
    CAPTURE(text);
    return text.find(part) != std::string::npos;
}

graft::DataOptions pairs(graft::DataOptions options = {})
{
    options.task = graft::Task::dpo;
    return options;
}

graft::Dataset load(const std::string& text, small::Setting with = {})
{
    const small::File file(text);
    with.options.task = graft::Task::dpo;
    const std::vector<fs::path> files{file.path()};
    return graft::detail::dataset::load_pair_rows(
        std::span(files), with.no_tokenizer ? nullptr : &with.tokens, with.no_template ? nullptr : &with.tmpl,
        with.options, [] { return small::Template{.called = "alpaca"}; }, "chatml");
}

std::string error_of(const std::string& text, const small::Setting& with = {})
{
    try {
        load(text, with);
    } catch (const graft::Error& error) {
        return error.what();
    }
    return {};
}

// Both sides, what is learnt in [].
std::string both(const graft::Dataset& set, std::size_t pair = 0)
{
    return small::shown(set.examples.at(2 * pair)) + " | " + small::shown(set.examples.at(2 * pair + 1));
}

bool noted(const graft::Dataset& set, const std::string& part)
{
    for (const auto& line : graft::summary(set.report)) {
        if (line.find(part) != std::string::npos) { return true; }
    }
    return false;
}

const std::string talk = R"([{"role": "user", "content": "q"}])";

}  // namespace

TEST_CASE("pairs: every form gives the same two answers over one prompt")
{
    const std::string chat = "<|a|>user:q<|z|><|a|>assistant:[A<|z|>] | <|a|>user:q<|z|><|a|>assistant:[B<|z|>]";
    const std::string a = R"({"role": "assistant", "content": "A"})", b = R"({"from": "gpt", "value": "B"})";
    const std::string user = R"({"role": "user", "content": "q"})";
    for (const std::string& row :
         {R"({"prompt": )" + talk + R"(, "chosen": [)" + a + R"(], "rejected": [)" + b + "]}",
          R"({"prompt": )" + talk + R"(, "chosen": )" + a + R"(, "rejected": )" + b + "}",
          R"({"prompt": )" + talk + R"(, "chosen": "A", "rejected": "B"})",
          R"({"prompt": )" + talk + R"(, "chosen": [)" + user + "," + a + R"(], "rejected": [)" + user + "," + b + "]}",
          R"({"chosen": [)" + user + "," + a + R"(], "rejected": [)" + user + "," + b + "]}",
          R"({"prompt": "q", "chosen": [)" + user + "," + a + R"(], "rejected": [)" + user + "," + b + "]}",
          R"({"prompt": "q", "chosen": [)" + a + R"(], "rejected": [)" + b + "]}",
          R"({"conversations": [{"from": "human", "value": "q"}], "chosen": )" + a + R"(, "rejected": )" + b + "}",
          R"({"messages": )" + talk + R"(, "chosen": )" + a + R"(, "rejected": )" + b + "}"}) {
        CAPTURE(row);
        const auto set = load(row);
        CHECK(both(set) == chat);
        CHECK(set.prompts == std::vector<std::int64_t>{1 + 6 + 1 + 1 + 10});
    }
    CHECK(both(load(R"({"prompt": "Is it", "chosen": " A", "rejected": " B"})"))
          == "<s>Is it[ A</s>] | <s>Is it[ B</s>]");
    const auto ids = load(R"({"prompt_ids": [1, 75], "chosen_ids": [76, 2], "rejected_ids": [77, 78, 2]})");
    CHECK(both(ids) == "<s>A[B</s>] | <s>A[CD</s>]");
    CHECK(ids.prompts == std::vector<std::int64_t>{2});
    CHECK(both(load(R"({"prompt_ids": [1, 75], "chosen_ids": [76, 2], "rejected_ids": [77, 78, 2]})",
                    {.no_template = true, .no_tokenizer = true}))
          == both(ids));
}

TEST_CASE("pairs: a question in any of its fields is the prompt of both answers")
{
    const auto chat = [](const std::string& before) {
        return before + "<|a|>assistant:[A<|z|>] | " + before + "<|a|>assistant:[B<|z|>]";
    };
    const std::string asked = "<|a|>user:q<|z|>", answers = R"(, "chosen": "A", "rejected": "B"})";
    CHECK(both(load(R"({"instruction": "q", "input": "")" + answers)) == chat(asked));
    CHECK(both(load(R"({"instruction": "q", "input": "x")" + answers)) == chat("<|a|>user:q\nx<|z|>"));
    CHECK(both(load(R"({"instruction": "q", "context": "x")" + answers)) == chat("<|a|>user:q\nx<|z|>"));
    for (const char* name : {"question", "query", "problem", "inputs", "input"}) {
        CAPTURE(name);
        const auto set = load(std::string("{\"") + name + "\": \"q\"" + answers);
        CHECK(both(set) == chat(asked));
        CHECK(set.report.unknown_keys.empty());
        CHECK(set.report.form == std::string("preference pairs (") + name + ")");
    }
    const std::string system = "<|a|>system:s<|z|>";
    for (const char* name : {"system", "system_prompt", "system_message"}) {
        CAPTURE(name);
        const auto with = [&](const std::string& rest) { return std::string("{\"") + name + "\": \"s\", " + rest; };
        CHECK(both(load(with(R"("question": "q")" + answers))) == chat(system + asked));
        CHECK(both(load(with(R"("instruction": "q", "history": [["o", "p"]])" + answers)))
              == chat(system + "<|a|>user:o<|z|><|a|>assistant:p<|z|>" + asked));
        // Beside a prompt that is text the system text makes turns of it.
        CHECK(both(load(with(R"("prompt": "q")" + answers))) == chat(system + asked));
        CHECK(both(load(with(R"("prompt": )" + talk + answers))) == chat(system + asked));
        CHECK(both(load(with(R"("messages": )" + talk + answers))) == chat(system + asked));
        CHECK(both(load(
                  with(R"("chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "A"}],)"
                       R"("rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "B"}]})")))
              == chat(system + asked));
    }
    // A question's answers may be turns, and repeat it.
    CHECK(both(load(R"({"question": "q", "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", )"
                    R"("content": "A"}], "rejected": {"from": "gpt", "value": "B"}})"))
          == chat(asked));
    CHECK(
        both(load(R"({"chosen_messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "A"}],)"
                  R"("rejected_messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "B"}]})"))
        == chat(asked));
    // Without a template, as in SFT: the Alpaca text. Where a system text makes turns of texts, one must be named.
    const auto alpaca = load(R"({"instruction": "q", "input": "x")" + answers, {.no_template = true});
    CHECK(both(alpaca) == "<s>Q:q I:x A:[A</s>] | <s>Q:q I:x A:[B</s>]");
    CHECK(noted(alpaca, "instruction rows take the Alpaca text"));
    CHECK(has(error_of(R"({"system": "s", "prompt": "q")" + answers, {.no_template = true}),
              "a system text, tools or a history beside a prompt needs a chat template and this tokeniser has none; "
              "name one with --template: chatml"));
}

TEST_CASE("pairs: a prompt that is said twice is used once")
{
    const std::string chat = "<|a|>user:q<|z|><|a|>assistant:[A<|z|>] | <|a|>user:q<|z|><|a|>assistant:[B<|z|>]";
    const std::string user = R"({"role": "user", "content": "q"})";
    const std::string a = R"({"role": "assistant", "content": "A"})", b = R"({"role": "assistant", "content": "B"})";
    const std::string whole_a = "[" + user + "," + a + "]", whole_b = "[" + user + "," + b + "]";
    const std::string wholes = R"(, "chosen": )" + whole_a + R"(, "rejected": )" + whole_b + "}";
    const std::string texts = R"(, "chosen": "A", "rejected": "B"})";
    for (const std::string& row :
         {R"({"prompt": "q", "prompt_id": "k1", "messages": )" + whole_a + wholes,  // ultrafeedback_binarized
          R"({"prompt": "q", "messages": )" + whole_b + wholes, R"({"messages": )" + whole_a + wholes,
          R"({"prompt": " q\n", "messages": )" + talk + wholes, R"({"messages": )" + talk + wholes,
          R"({"prompt": "q", "messages": )" + talk + texts, R"({"prompt": "q", "messages": )" + whole_a + texts,
          R"({"messages": )" + whole_b + texts, R"({"prompt": )" + talk + R"(, "messages": )" + whole_a + texts,
          R"({"prompt": )" + talk + R"(, "messages": )" + talk + texts,
          R"({"prompt": "<|user|>q<|assistant|>")" + wholes, R"({"question": "q")" + wholes,
          R"({"question": "q", "prompt": "q")" + texts}) {
        CAPTURE(row);
        CHECK(both(load(row)) == chat);
    }
    // A system turn alone is no prompt: the text is the user's turn behind it.
    const std::string s = R"({"role": "system", "content": "s"})";
    CHECK(both(load(R"({"prompt": "q", "chosen": [)" + s + "," + a + R"(], "rejected": [)" + s + "," + b + "]}"))
          == "<|a|>system:s<|z|><|a|>user:q<|z|><|a|>assistant:[A<|z|>] | "
             "<|a|>system:s<|z|><|a|>user:q<|z|><|a|>assistant:[B<|z|>]");
    // The prompt's turns, repeated with the system turn that it lacks.
    CHECK(has(both(load(R"({"prompt": )" + talk + R"(, "chosen": [)" + s + "," + user + "," + a + R"(], "rejected": [)"
                        + s + "," + user + "," + b + "]}")),
              "<|a|>system:s<|z|><|a|>user:q<|z|><|a|>assistant:[A<|z|>] | <|a|>system:s"));
}

TEST_CASE("pairs: a pair without a prompt is refused with its fields, two prompts with both")
{
    for (const char* row :
         {R"({"chosen": "It is blue", "rejected": "It is red", "score": 1})",
          R"({"chosen": "\n\nHuman: q\n\nAssistant: A", "rejected": "\n\nHuman: q\n\nAssistant: B", "score": 1})"}) {
        CHECK(has(error_of(row), ":1: row 1 has fields chosen, rejected, score and no prompt for its answers; give one "
                                 "(instruction, question, query, prompt,"));
    }
    CHECK(has(error_of(R"({"prompt": null, "chosen": "a", "rejected": "b"})"), "the prompt is null"));
    CHECK(has(error_of(R"({"instruction": "", "chosen": "a", "rejected": "b"})"), "the prompt is empty"));
    CHECK(has(error_of(R"({"chosen": [{"role": "assistant", "content": "A"}], "rejected": "B"})"),
              "no prompt: nothing says what the answers answer (fields chosen, rejected)"));
    CHECK(has(error_of(R"({"prompt": "p", "question": "q", "chosen": "a", "rejected": "b"})"),
              "row 1 can be read as preference pairs of prompt and as of question; keep the fields of one of them"));
    CHECK(has(error_of(R"({"instruction": "p", "question": "q", "chosen": "a", "rejected": "b"})"), "can be read as"));
    CHECK(has(error_of(R"({"prompt": "p", "chosen": "a", "chosen_response": "c", "rejected": "b"})"),
              "row 1 has chosen and chosen_response, which say different things; keep one"));
    CHECK(has(error_of(R"({"system": "s", "system_prompt": "t", "prompt": "p", "chosen": "a", "rejected": "b"})"),
              "has system and system_prompt, which say different things"));
    // Of single rows: dropped with their reason.
    const std::string good = R"({"prompt": )" + talk
                             + R"(, "chosen": "A", "rejected": "B"})"
                               "\n";
    const auto reason = [&](const std::string& row) {
        const auto set = load(good + row);
        REQUIRE(set.report.dropped.size() == 1);
        return set.report.dropped[0].reason;
    };
    const std::string other = R"([{"role": "user", "content": "r"}])";
    CHECK(reason(R"({"prompt": )" + talk + R"(, "messages": )" + other + R"(, "chosen": "A", "rejected": "B"})")
          == "prompt and messages are two prompts; keep one of them");
    CHECK(reason(R"({"prompt": "r", "messages": )" + talk + R"(, "chosen": "A", "rejected": "B"})")
          == "the prompt is none of the turns before the answers; keep one of the two");
    CHECK(reason(R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "C"}], )"
                 R"("chosen": "A", "rejected": "B"})")
          == "the prompt ends with an answer");
    CHECK(reason(R"({"chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "A"}], )"
                 R"("rejected": [{"role": "user", "content": "r"}, {"role": "assistant", "content": "B"}]})")
          == "chosen and rejected do not answer the same turns");
    CHECK(reason(R"({"chosen": )" + talk + R"(, "rejected": )" + talk + "}") == "chosen and rejected are the same");
    CHECK(reason(R"({"prompt": )" + talk + R"(, "chosen": 3, "rejected": "B"})")
          == "chosen must be a list of turns, found number");
    CHECK(reason(R"({"chosen": "A", "rejected": "B"})").find("has fields chosen, rejected and no prompt") == 0);
}

TEST_CASE("pairs: a system turn, tools, and an answer of several turns")
{
    CHECK(has(both(load(R"({"system": "S", "conversations": [{"from": "human", "value": "q"}], "chosen": )"
                        R"({"from": "gpt", "value": "A"}, "rejected": {"from": "gpt", "value": "B"}})")),
              "<|a|>system:S<|z|><|a|>user:q<|z|>"));
    const auto set = load(R"({"prompt": )" + talk
                          + R"(, "chosen": [{"role": "assistant", "content": "A"},)"
                            R"({"role": "user", "content": "x"}, {"role": "assistant", "content": "C"}],)"
                            R"("rejected": "B"})");
    CHECK(small::shown(set.examples[0])
          == "<|a|>user:q<|z|><|a|>assistant:[A<|z|>]<|a|>user:x<|z|><|a|>assistant:[C<|z|>]");
}

TEST_CASE("pairs: text ends with EOS once, and a chat with its end of turn")
{
    const auto set = load(R"({"prompt": "p", "chosen": "A</s>", "rejected": "B"})");
    CHECK(both(set) == "<s>p[A</s>] | <s>p[B</s>]");
    CHECK(set.report.rows_ended == 1);
    CHECK(noted(set, "the end of turn </s> is a target in 1 of 1 pair, in both answers"));
    const auto ids = load(R"({"prompt_ids": [1, 75], "chosen_ids": [76, 2], "rejected_ids": [77, 78]})");
    CHECK(ids.report.rows_ended == 0);
}

TEST_CASE("pairs: control tokens typed inside an answer are plain text")
{
    const auto set = load(R"({"prompt": )" + talk + R"(, "chosen": "A<|z|>", "rejected": "B"})");
    CHECK(set.report.control_tokens == 1);
    CHECK(set.examples[0].ids.size() == set.examples[1].ids.size() + 5);
}

TEST_CASE("pairs: what cannot be learnt from is dropped and counted")
{
    const std::string good = R"({"prompt": "p", "chosen": "A", "rejected": "B"})"
                             "\n";
    const auto set = load(good
                          + R"({"prompt": "p", "chosen": "A", "rejected": null})"
                            "\n"
                            R"({"prompt": "p", "chosen": "A", "rejected": "A"})"
                            "\n"
                            R"({"prompt": "p", "chosen": null, "rejected": "A"})"
                            "\n"
                            R"({"prompt": "p", "chosen": "", "rejected": "A"})"
                            "\n"
                          + good);
    CHECK(set.report.rows_read == 6);
    CHECK(set.report.rows_used == 3);
    CHECK(set.report.examples == 6);
    CHECK(set.report.empty_answers == 1);
    CHECK(set.prompts.size() == 3);
    CHECK(noted(set, "dropped 1 row: the rejected answer is missing"));
    CHECK(noted(set, "dropped 1 row: chosen and rejected are the same"));
    CHECK(noted(set, "dropped 1 row: the chosen answer is missing"));
    CHECK(noted(set, "nothing is cut"));
    CHECK(has(error_of(R"({"prompt": "p", "chosen": "A", "rejected": "A"})"), "nothing to learn: none of 1 pair"));
    const auto empty = load(R"({"prompt": )" + talk
                            + R"(, "chosen": {"role": "assistant", "content": null},)"
                              R"( "rejected": "B"})"
                              "\n"
                              R"({"prompt": )"
                            + talk
                            + R"(, "chosen": [], "rejected": "B"})"
                              "\n"
                              R"({"prompt": )"
                            + talk + R"(, "chosen": "A", "rejected": "B"})");
    CHECK(empty.report.rows_used == 1);
}

TEST_CASE("pairs: what is refused, with file, line and what to do")
{
    CHECK(has(error_of(R"({"messages": []})"), ":1: row 1 has fields messages; --task dpo expects chosen and"));
    CHECK(has(error_of(R"({"prompt": "p", "chosen": 3, "rejected": "B"})"), "chosen must be text, found number"));
    CHECK(has(error_of(R"({"prompt": )" + talk + R"(, "chosen": 3, "rejected": "B"})"), "chosen must be a list of"));
    CHECK(has(error_of(R"({"prompt_ids": [1], "chosen_ids": [2]})"), "need prompt_ids, chosen_ids and rejected_ids"));
    CHECK(has(error_of(R"({"prompt_ids": [1], "chosen_ids": [9], "rejected_ids": [3]})", {.options = {.vocab = 9}}),
              "chosen_ids holds an id outside 0 to 8 (the model's vocabulary) (first"));
    CHECK(has(error_of(R"({"prompt": "p", "chosen": "A", "rejected": "B"})", {.no_tokenizer = true}),
              "need a tokeniser"));
    CHECK(has(error_of(R"({"prompt": )" + talk + R"(, "chosen": "A", "rejected": "B"})", {.no_template = true}),
              "need a chat template and this tokeniser has none"));
    CHECK(noted(
        load(R"({"prompt": "p", "chosen": "A", "rejected": "B"})"
             "\n"
             R"({"prompt_ids": [1], "chosen_ids": [2], "rejected_ids": [3]})"),
        "dropped 1 row: this row is preference pairs (ids), but the file's first one is preference pairs (text)"));
    CHECK(has(error_of(R"({"prompt": )" + talk
                       + R"(, "chosen": [{"role": "system", "content": "s"},)"
                         R"({"role": "assistant", "content": "A"}], "rejected": "B"})"),
              "chosen begins with a system turn that the prompt does not have"));
    CHECK(has(error_of(R"({"prompt": "p", "chosen": "A", "rejected": null})", {.options = {.strict = true}}),
              "row 1: the rejected answer is missing"));
}

TEST_CASE("pairs: what does not fit is an error that names row, length and option")
{
    const std::string row = R"({"prompt": "prompt", "chosen": "A", "rejected": "long answer"})";
    CHECK(has(error_of(row, {.options = {.max_length = 18}}),
              "row 1: the prompt and the rejected answer have 19 tokens, --max-length is 18"));
    CHECK(load(row, {.options = {.max_length = 19}}).report.pairs->answers_cut == 0);
    CHECK(
        has(error_of(row, {.options = {.max_prompt_length = 6}}), "the prompt has 7 tokens, --max-prompt-length is 6"));
    CHECK(error_of(row, {.options = {.max_prompt_length = 7}}).empty());
}

TEST_CASE("pairs: truncation keeps the prompt's end and the answers' start, the same prompt on both sides; the ledger "
          "counts")
{
    const std::string rows = R"({"prompt": "prompt", "chosen": "A", "rejected": "long answer"})"
                             "\n"
                             R"({"prompt": "p", "chosen": "A", "rejected": "B"})"
                             "\n"
                             R"({"prompt": "a very long prompt", "chosen": "same start, x", )"
                             R"("rejected": "same start, y"})";
    const auto cut = load(rows, {.options = {.max_length = 10, .max_prompt_length = 4, .truncate = true}});
    REQUIRE(cut.report.rows_used == 2);
    CHECK(both(cut, 0) == "ompt[A</s>] | ompt[long a]");
    CHECK(both(cut, 1) == "<s>p[A</s>] | <s>p[B</s>]");
    CHECK(cut.prompts == std::vector<std::int64_t>{4, 2});
    const auto& ledger = *cut.report.pairs;
    CHECK(ledger.prompts_cut == 2);
    CHECK(ledger.prompt_tokens_lost == 3 + 15);
    CHECK(ledger.answers_cut == 3);
    CHECK(ledger.ends_lost == 3);
    CHECK(cut.report.rows_ended == 1);
    CHECK(noted(cut, "ledger: 2 prompts cut (18 tokens lost), 3 answers cut (22 tokens lost), 3 answers lost the end "
                     "of turn, 0 pairs dropped for length"));
    CHECK(noted(cut, "dropped 1 row: chosen and rejected are the same"));  // cut to "same s" on both sides

    const auto short_ones = load(rows, {.options = {.max_length = 7, .truncate = true}});
    CHECK(short_ones.report.rows_used == 1);
    CHECK(short_ones.report.pairs->dropped_for_length == 2);
    CHECK(noted(short_ones, "dropped 2 rows: the prompt alone fills --max-length 7"));
}

TEST_CASE("pairs: where a token crosses the seam the prompt loses it on both sides, and both answers learn it")
{
    const auto folder = fs::path(GRAFT_EXAMPLES_DIR) / "data/stories260K";
    if (!fs::exists(folder / "tokenizer.json")) { return graft_test::skip("there is no examples/data/stories260K"); }
    const auto tokenizer = graft::Tokenizer::load(folder);
    const small::File file("{\"prompt\": \"Gr\u00fc\u00dfe\", \"chosen\": \", Max\", \"rejected\": \"n\"}\n"
                           "{\"prompt\": \"The cat\", \"chosen\": \" sat.\", \"rejected\": \" ran.\"}\n");
    const std::vector<fs::path> files{file.path()};
    const auto set = graft::load_dataset(files, &tokenizer, pairs());
    CHECK(set.report.pairs->seams == 1);
    CHECK(noted(set, "in 1 pair a token crosses the seam of prompt and answer"));
    for (std::size_t i = 0; i < 2; ++i) {
        const auto& chosen = set.examples[2 * i];
        const auto& rejected = set.examples[2 * i + 1];
        for (std::size_t t = 0; t < chosen.ids.size(); ++t) {
            CHECK((chosen.labels[t] == graft::ignore) == (std::int64_t(t) < set.prompts[i]));
            if (std::int64_t(t) < set.prompts[i]) { CHECK(chosen.ids[t] == rejected.ids[t]); }
        }
        CHECK(tokenizer.decode(chosen.ids).find(i == 0 ? "Gr\u00fc\u00dfe, Max" : "The cat sat.") != std::string::npos);
    }
    const auto alone = tokenizer.encode("Gr\u00fc\u00dfe", {.add_special = true, .control_tokens = true});
    CHECK(set.prompts[0] == std::int64_t(alone.size()) - 1);
}

TEST_CASE("pairs: prompt and answers as TRL splits them, seven tokenisers, text and chats")
{
    const auto root = graft_test::data();
    if (!root) { return graft_test::skip("GRAFT_TEST_DATA is not set"); }
    std::ifstream file(*root / "golden_text/dpo_trl.json");
    const auto golden = Json::parse(file);
    std::map<std::string, graft::Tokenizer> tokenizers;
    int compared = 0, shortened = 0, absent = 0;
    for (const auto& one : golden.at("tokenisation")) {
        const std::string name = one.at("tokenizer");
        CAPTURE(name);
        if (!tokenizers.contains(name)) {
            const auto folder = name == "stories260K" ? *root / "data/models" / name : *root / "data/tokenizers" / name;
            if (!fs::exists(folder / "tokenizer.json")) {
                ++absent;
                continue;
            }
            tokenizers.emplace(name, graft::Tokenizer::load(folder));
        }
        const auto& tokenizer = tokenizers.at(name);
        std::optional<graft::ChatTemplate> chat;
        if (one.contains("template") && !one["template"].is_null()) {
            chat = graft::ChatTemplate::file(*root / "data/chat_templates"
                                                 / (one["template"].get<std::string>() + ".jinja"),
                                             tokenizer.special_tokens());
        }
        const std::string text = one.at("row").dump();
        CAPTURE(text);
        const small::File rows(text);
        const std::vector<fs::path> files{rows.path()};
        const auto options = pairs({.tmpl = chat ? &*chat : nullptr, .strict = true});
        // TRL takes what two texts begin with for their prompt; here such a pair is refused.
        const bool no_prompt = !one["row"].contains("prompt") && one["row"]["chosen"].is_string();
        if (one.value("error", false) || no_prompt) {
            CHECK_THROWS_AS(graft::load_dataset(files, &tokenizer, options), graft::Error);
            continue;
        }
        const auto set = graft::load_dataset(files, &tokenizer, options);
        const auto prompt = std::size_t(set.prompts.at(0));
        const auto want = one.at("prompt_ids").get<std::vector<std::int32_t>>();
        for (const std::size_t k : {0, 1}) {
            auto expected = want;
            const auto answer = one.at(k == 0 ? "chosen_ids" : "rejected_ids").get<std::vector<std::int32_t>>();
            expected.insert(expected.end(), answer.begin(), answer.end());
            const auto& example = set.examples.at(k);
            CHECK(example.ids == expected);
            CHECK(prompt == want.size());
            // Every token of the answer is a target up to its end of turn; TRL scores the white space behind it too.
            std::size_t last = example.labels.size();
            while (last > 0 && example.labels[last - 1] == graft::ignore) { --last; }
            CHECK(last + 1 >= example.ids.size());
            for (std::size_t t = std::max<std::size_t>(prompt, 1); t < last; ++t) {
                CHECK(example.labels[t] == example.ids[t]);
            }
            for (std::size_t t = 0; t < prompt; ++t) { CHECK(example.labels[t] == graft::ignore); }
        }
        ++compared, shortened += one.contains("prompt_was_shortened") && one["prompt_was_shortened"] == true;
    }
    if (absent > 0) { graft_test::skip(std::to_string(absent) + " pairs: their tokeniser is not there"); }
    CHECK(compared >= 70);
    CHECK(shortened >= 1);
}
