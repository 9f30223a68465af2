#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "dataset_support.hpp"

// Names of fields in the wild, what a file's form is, and what a lone row of another one costs.
using graft::Task;
using small::error_of;
using small::load;
using small::shown;

namespace {

bool has(const std::string& text, const std::string& part)
{
    CAPTURE(text);
    return text.find(part) != text.npos;
}

std::string one(const std::string& row, const small::Setting& with = {})
{
    return shown(load(row, with).examples.at(0));
}

bool noted(const graft::Dataset& set, const std::string& part)
{
    for (const auto& line : graft::summary(set.report)) {
        if (line.find(part) != line.npos) { return true; }
    }
    return false;
}

const std::string asked = "<|a|>user:q<|z|><|a|>assistant:[a<|z|>]";

}  // namespace

TEST_CASE("forms: questions and answers under the names that published sets give them")
{
    for (const char* row :
         {R"({"question": "q", "answer": "a"})", R"({"question": "q", "response": "a", "id": 1})",
          R"({"query": "q", "response": "a"})", R"({"instruction": "q", "response": "a"})",
          R"({"input": "q", "output": "a"})", R"({"prompt": "q", "response": "a"})",
          R"({"problem": "q", "solution": "a"})", R"({"inputs": "q", "targets": "a"})",
          R"({"instruction": "q", "completion": "a"})", R"({"instruction": "q", "output": "a", "response": null})",
          R"({"instruction": "q", "output": "a", "question": ""})",
          R"({"conversation": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})",
          R"({"conversation": [{"input": "q", "output": "a"}]})",
          R"({"dialogue": [{"role": "prompter", "text": "q"}, {"role": "bot", "text": "a"}]})"}) {
        CAPTURE(row);
        CHECK(one(row) == asked);
    }
    CHECK(load(R"({"query": "q", "response": "a"})").report.form == "query/response");
    // The context goes on behind the question.
    const std::string with = "<|a|>user:q\nc<|z|><|a|>assistant:[a<|z|>]";
    CHECK(one(R"({"instruction": "q", "context": "c", "response": "a", "category": "x"})") == with);
    CHECK(one(R"({"question": "q", "context": "c", "answer": "a"})") == with);
    CHECK(one(R"({"question": "q", "input": "c", "answer": "a"})") == with);
    CHECK(one(R"({"input": "q", "context": "c", "output": "a"})") == with);
    CHECK(load(R"({"instruction": "q", "context": "c", "response": "a", "category": "x"})").report.unknown_keys
          == std::vector<std::string>{"category"});
    // Dolly by the Alpaca text: its own two fields.
    CHECK(one(R"({"instruction": "q", "context": "c", "response": "a"})", {.no_template = true})
          == "<s>Q:q I:c A:[a</s>]");
    // The whole text of an Alpaca row as its prompt (as some sets carry it) is no second reading.
    const auto whole = load(R"({"instruction": "q", "input": "", "output": "a", "prompt": "Below is … q"})");
    CHECK(shown(whole.examples[0]) == asked);
    CHECK(whole.report.unknown_keys == std::vector<std::string>{"prompt"});
}

TEST_CASE("forms: a system text is never dropped")
{
    const std::string system = "<|a|>system:s<|z|>";
    for (const char* name : {"system", "system_prompt", "system_message"}) {
        const auto with = [&](const std::string& rest) { return std::string("{\"") + name + "\": \"s\", " + rest; };
        CAPTURE(name);
        for (const char* rest :
             {R"("prompt": "q", "completion": "a"})", R"("question": "q", "answer": "a"})",
              R"("instruction": "q", "output": "a"})", R"("prompt": "q", "response": "a"})",
              R"("prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]})",
              R"("conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]})"}) {
            CAPTURE(rest);
            const auto set = load(with(rest));
            CHECK(shown(set.examples.at(0)) == system + asked);
            CHECK(set.report.unknown_keys.empty());
        }
        CHECK(
            has(error_of(with(R"("text": "t"})"), {.options = {.task = Task::text}}),
                std::string("row 1 has ") + name + " beside text, which has no place for it; write it into the text"));
    }
    // Without one, prompt and completion are joined as they are, also where the field is empty or null.
    CHECK(one(R"({"prompt": "q ", "completion": "a", "system": ""})") == "<s>q [a</s>]");
    CHECK(one(R"({"prompt": "q ", "completion": "a", "system": null, "tools": "[]", "history": []})")
          == "<s>q [a</s>]");
    const auto turned = load(R"({"system": "s", "prompt": "q", "completion": "a"})");
    CHECK(turned.report.form == "prompt/completion (text as turns)");
    CHECK(noted(turned, "prompts and answers are rendered as turns, since a system text"));
    CHECK(has(error_of(R"({"system": "s", "prompt": "q", "completion": "a"})", {.no_template = true}),
              "FILE:1: a system text, tools or a history beside a prompt needs a chat template and this tokeniser has "
              "none; name one with --template: alpaca, chatml, or write it into the prompt"));
    CHECK(one(R"({"tools": [{"z": 1}], "prompt": "q", "completion": "a"})") == "<|a|>tools:[{\"z\":1}]<|z|>" + asked);
    CHECK(one(R"({"history": [["o", "p"]], "prompt": "q", "completion": "a"})")
          == "<|a|>user:o<|z|><|a|>assistant:[p<|z|>]" + asked);

    // One of the first rows has it: all of them become turns. A late one is dropped, since the others are not.
    const std::string plain = R"({"prompt": "q", "completion": "a", "system": ""})"
                              "\n";
    const std::string said = R"({"prompt": "q", "completion": "a", "system": "s"})"
                             "\n";
    const auto mixed = load(plain + said + plain);
    REQUIRE(mixed.examples.size() == 3);
    CHECK(shown(mixed.examples[0]) == asked);
    CHECK(shown(mixed.examples[1]) == system + asked);
    std::string many;
    for (int i = 0; i < 70; ++i) { many += plain; }
    const auto late = load(many + said);
    CHECK(late.report.rows_used == 70);
    CHECK(noted(late, "dropped 1 row: a system text, tools or a history beside texts that are joined, which the first "
                      "rows of the file do not have"));
    // The conversation's own system turn wins, and it is said.
    const auto both = load(R"({"system": "s", "messages": [{"role": "system", "content": "own"}, )"
                           R"({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})");
    CHECK(shown(both.examples[0]) == "<|a|>system:own<|z|>" + asked);
    CHECK(noted(both, "in 1 row: the field of the system text says something else than the conversation's own"));
}

TEST_CASE("forms: a form that two readings fit is refused with both")
{
    const auto refused = [](const std::string& row, const std::string& a, const std::string& b) {
        CAPTURE(row);
        CHECK(has(error_of(row), "FILE:1: row 1 can be read as " + a + " and as " + b + "; keep the fields of one"));
    };
    refused(R"({"question": "q", "answer": "a", "response": "b"})", "question/response", "question/answer");
    refused(R"({"instruction": "q", "question": "r", "answer": "a"})", "instruction/answer", "question/answer");
    refused(R"({"prompt": "q", "completion": "a", "instruction": "q2", "output": "b"})", "prompt/completion (text)",
            "instruction/output");
    refused(R"({"messages": [], "question": "r", "answer": "a"})", "messages", "question/answer");
    refused(R"({"messages": [1], "conversations": [2]})", "messages", "conversations");
    CHECK(has(error_of(R"({"instruction": "q", "input": "x", "context": "y", "output": "a"})"),
              "FILE:1: row 1 has input and context, which say different things; keep one"));
    CHECK(has(error_of(R"({"question": "q", "answer": "a", "text": "q a"})"),
              "can be read as question/answer and as text; say --task sft or --task text"));
    // The same text twice is one reading.
    CHECK(one(R"({"question": "q", "query": "q", "answer": "a"})") == asked);
    // In a later row it costs that row.
    const auto set = load(R"({"question": "q", "answer": "a"})"
                          "\n"
                          R"({"question": "q", "answer": "a", "response": "b"})");
    CHECK(set.report.rows_used == 1);
    CHECK(noted(set, "dropped 1 row: can be read as question/response and as question/answer"));
}

TEST_CASE("forms: rows that cannot be used are dropped wherever they stand, and a file without any other is an error")
{
    const std::string good =
        R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})"
        "\n";
    for (const char* bad :
         {R"({"foo": 1})", R"({"messages": "hi"})", R"({"messages": [3]})", R"({"messages": null})",
          R"({"messages": [{"role": "narrator", "content": "x"}]})", R"({"id": 3, "messages": 7})",
          R"({"messages": [{"role": "user", "content": {"a": 1}}]})", R"({"messages": [], "tools": {"a": 1}})", "{}"}) {
        CAPTURE(bad);
        for (const bool first : {true, false}) {
            CAPTURE(first);
            const auto set = load(first ? bad + ("\n" + good) : good + bad + "\n");
            CHECK(set.report.rows_used == 1);
            REQUIRE(set.report.dropped.size() == 1);
            CHECK(set.report.dropped[0].rows == 1);
            CHECK(has(set.report.dropped[0].first.at(0), first ? ":1" : ":2"));
        }
        CHECK(!error_of(bad).empty());
        CHECK(!error_of(good + bad, {.options = {.strict = true}}).empty());
    }
    const auto nothing = error_of("{\"messages\": 1}\n{\"messages\": []}\n{\"messages\": 2}");
    CHECK(has(nothing, "FILE: nothing to learn: none of 3 rows has a target. 2 rows: messages must be a list of turns, "
                       "found number (first FILE:1); 1 row: the conversation is empty (first FILE:2)"));
    // Of several files, too: the one without any is named, with its own reasons.
    const small::File a(good + "{\"messages\": 1}\n"), b("{\"messages\": 1}\n{\"messages\": 2}\n");
    try {
        small::load_files({a.path(), b.path()});
        FAIL("a file without a usable row was taken");
    } catch (const graft::Error& error) {
        CHECK(has(error.what(), b.path().string()
                                    + ": nothing to learn: none of 2 rows has a target. 2 rows: messages "
                                      "must be a list"));
    }
    // More than half: said in a line of its own.
    CHECK(noted(load(good + "{\"foo\": 1}\n{\"foo\": 1}\n"), "more than half of the rows are dropped: 2 of 3"));
    CHECK(!noted(load(good + good + "{\"foo\": 1}\n"), "more than half"));
}

TEST_CASE("forms: hostile rows cost no more than themselves")
{
    const std::string good =
        R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})"
        "\n";
    std::string turns = R"({"messages": [)";
    for (int i = 0; i < 200000; ++i) { turns += i == 0 ? "{}" : ",{}"; }
    CHECK(load(good + turns + "]}").report.rows_used == 1);
    std::string wide = R"({"messages": [)";
    for (int i = 0; i < 3000; ++i) {
        wide += std::string(i == 0 ? "" : ",") + R"({"role": "r)" + std::to_string(i) + "\"}";
    }
    CHECK(load(good + wide + "]}").report.rows_used == 1);
    // First rows that have no form and are large are not all held back.
    std::string large;
    for (int i = 0; i < 80; ++i) { large += R"({"foo": ")" + std::string(500000, 'x') + "\"}\n"; }
    CHECK(has(error_of(large + good), "row 1 has fields foo; expected messages, conversations"));
}
