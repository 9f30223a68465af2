#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "dataset_support.hpp"
#include "support.hpp"

using graft::Task;
using graft::TrainOn;
using small::error_of;
using small::load;
using small::shown;

namespace {

std::string turns(const std::string& inside) { return "{\"messages\": [" + inside + "]}\n"; }
std::string turn(const std::string& role, const std::string& content)
{
    return "{\"role\": \"" + role + "\", \"content\": \"" + content + "\"}";
}
const std::string good = turns(turn("user", "q") + "," + turn("assistant", "a"));

std::string dropped(const graft::Dataset& set, std::size_t i = 0)
{
    return i < set.report.dropped.size() ? set.report.dropped[i].reason : "";
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

const small::Setting documents{.options = {.task = Task::text}};

}  // namespace

TEST_CASE("dataset: every form becomes what it means")
{
    CHECK(shown(load(good).examples[0]) == "<|a|>user:q<|z|><|a|>assistant:[a<|z|>]");
    CHECK(shown(load(R"({"conversations": [{"from": " Human", "value": "q"}, {"from": "GPT ", "value": "a"}]})")
                    .examples[0])
          == "<|a|>user:q<|z|><|a|>assistant:[a<|z|>]");
    CHECK(shown(load(R"({"instruction": "i", "input": "x", "output": "o"})").examples[0])
          == "<|a|>user:i\nx<|z|><|a|>assistant:[o<|z|>]");
    CHECK(shown(load(R"({"instruction": "i", "output": "o"})").examples[0])
          == "<|a|>user:i<|z|><|a|>assistant:[o<|z|>]");
    CHECK(shown(load(R"({"instruction": "", "input": "x", "output": "o"})").examples[0])
          == "<|a|>user:x<|z|><|a|>assistant:[o<|z|>]");
    CHECK(shown(load(R"({"instruction": "i", "output": "o", "system": "s", "history": [["q1", "a1"], ["q2", "a2"]]})")
                    .examples[0])
          == "<|a|>system:s<|z|><|a|>user:q1<|z|><|a|>assistant:[a1<|z|>]<|a|>user:q2<|z|><|a|>assistant:[a2<|z|>]"
             "<|a|>user:i<|z|><|a|>assistant:[o<|z|>]");
    CHECK(shown(load(R"({"prompt": "p ", "completion": "c"})").examples[0]) == "<s>p [c</s>]");
    CHECK(shown(load(R"({"prompt": "p ", "completion": "c</s>"})").examples[0]) == "<s>p [c</s>]");
    CHECK(
        shown(
            load(
                R"({"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]})")
                .examples[0])
        == "<|a|>user:q<|z|><|a|>assistant:[a<|z|>]");
    CHECK(shown(load(R"({"text": "abc"})", documents).examples[0]) == "<s>[abc</s>]");
    CHECK(shown(load(R"({"text": "abc</s>"})", documents).examples[0]) == "<s>[abc</s>]");
    const auto ids = load(
        R"({"input_ids": [1, 5, 6, 7, 0, 0], "labels": [-100, -100, 6, 7, -100, 3], "attention_mask": [1, 1, 1, 1, 0, 0]})");
    CHECK(ids.examples[0].ids == std::vector<std::int32_t>{1, 5, 6, 7});
    CHECK(ids.examples[0].labels == std::vector<std::int32_t>{-100, -100, 6, 7});
}

TEST_CASE("dataset: only answers of the completion, and turns of weight 1, are learnt")
{
    CHECK(
        shown(
            load(
                R"({"prompt": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "r"}],
        "completion": [{"role": "assistant", "content": "b"}]})")
                .examples[0])
        == "<|a|>user:q<|z|><|a|>assistant:a<|z|><|a|>user:r<|z|><|a|>assistant:[b<|z|>]");
    CHECK(
        shown(load(
                  R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0},
        {"role": "user", "content": "r"}, {"role": "assistant", "content": "b", "loss_weight": 1.0}]})")
                  .examples[0])
        == "<|a|>user:q<|z|><|a|>assistant:a<|z|><|a|>user:r<|z|><|a|>assistant:[b<|z|>]");
    CHECK(
        has(error_of(turns(R"({"role": "user", "content": "q", "weight": 0.5})")), "weight must be 0 or 1, found 0.5"));
    const auto all = load(good, {.options = {.train_on = TrainOn::all}});
    CHECK(shown(all.examples[0]) == "<|a|>[user:q<|z|><|a|>assistant:a<|z|>]");
}

TEST_CASE("dataset: system column, tools and template variables")
{
    CHECK(
        shown(
            load(
                R"({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "s", "tools": "[]"})")
                .examples[0])
        == "<|a|>system:s<|z|><|a|>user:q<|z|><|a|>assistant:[a<|z|>]");
    CHECK(
        shown(
            load(
                R"({"messages": [{"role": "system", "content": "own"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "system": "s"})")
                .examples[0])
        == "<|a|>system:own<|z|><|a|>user:q<|z|><|a|>assistant:[a<|z|>]");
    CHECK(
        shown(
            load(
                R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "tools": "[{\"z\": 1, \"b\": 2}]"})")
                .examples[0])
        == "<|a|>tools:[{\"z\":1,\"b\":2}]<|z|><|a|>user:q<|z|><|a|>assistant:[a<|z|>]");
    CHECK(has(error_of(R"({"messages": [{"role": "user", "content": "q"}], "tools": "{"})"), "tools must be a list"));
    CHECK(has(error_of(R"({"messages": [{"role": "user", "content": "q"}], "chat_template_kwargs": {"messages": 1}})"),
              "must not set messages"));
}

TEST_CASE("dataset: the errors of a turn name file, line, row and key")
{
    CHECK(has(error_of("\n" + turns(turn("narrator", "x"))),
              "FILE: nothing to learn: none of 1 row has a target. 1 row: unknown role 'narrator'; known are system, "
              "developer, user (human, input, prompter), assistant (gpt, output, model, chatgpt,"));
    CHECK(has(error_of("\n" + turns(turn("narrator", "x"))), "(first FILE:2 messages[0])"));
    CHECK(has(error_of("\n" + turns(turn("narrator", "x")), {.options = {.strict = true}}),
              "FILE:2: row 1, messages[0]: unknown role 'narrator'; known are system"));
    CHECK(has(error_of(R"({"conversations": [{"from": "human", "role": "user", "value": "x"}]})"),
              "has both role and from"));
    CHECK(has(error_of(R"({"conversations": [{"from": "human", "value": "x", "content": "x"}]})"),
              "has both content and value"));
    CHECK(has(error_of(R"({"messages": [{"content": "x"}]})"), "has neither role nor from"));
    CHECK(has(error_of(R"({"messages": [{"role": "user"}]})"), "has neither content nor value"));
    CHECK(has(error_of(R"({"messages": [{"role": "user", "content": 7}]})"),
              "content must be text or a list of text parts, found number"));
    CHECK(has(error_of(R"({"messages": [{"role": "user", "content": [{"type": "image", "text": "x"}]}]})"),
              "part that is not text"));
    CHECK(has(error_of(R"({"messages": ["hi"]})"), "must be an object with role and content"));
    CHECK(has(error_of(R"({"messages": "hi"})"), "messages must be a list of turns, found string"));
    CHECK(has(error_of(turns(turn("system", "s") + "," + turn("system", "t") + "," + turn("user", "q"))),
              "system turn that is not the first"));
    CHECK(has(
        error_of(turns(turn("user", "q") + "," + turn("system", "t") + "," + turn("assistant", "a"))),
        "a system turn that is not the first turn; a conversation has one, at its start (first FILE:1 messages[1])"));
    CHECK(
        shown(
            load(
                R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "text", "value": "r"}]},
        {"role": "assistant", "content": "a"}]})")
                .examples[0])
        == "<|a|>user:qr<|z|><|a|>assistant:[a<|z|>]");
}

TEST_CASE("dataset: rows that cannot be learnt from are dropped, counted and named")
{
    const auto with = [](const std::string& row) { return load(row + "\n" + good); };
    CHECK(dropped(with(R"({"messages": []})")) == "the conversation is empty");
    CHECK(dropped(with(turns(turn("user", "q")))) == "no assistant turn");
    CHECK(dropped(with(turns(turn("user", "q") + "," + turn("assistant", "a") + "," + turn("user", "r"))))
          == "the last turn is the user's");
    CHECK(dropped(with(turns(turn("user", "q") + R"(,{"role": "assistant", "content": null})")))
          == "the answer is null");
    CHECK(dropped(with(turns(turn("user", "q") + "," + turn("user", "r") + "," + turn("assistant", "a"))))
          == "the template refuses: roles must alternate");
    CHECK(dropped(with(turns(turn("user", "q") + "," + turn("observation", "r") + "," + turn("assistant", "a"))))
          == "the template refuses: no tools here");
    CHECK(dropped(with(R"({"messages": null})")) == "messages is null");
    CHECK(dropped(load("{\"instruction\": \"i\", \"output\": null}\n{\"instruction\": \"i\", \"output\": \"o\"}"))
          == "the answer is null");
    CHECK(dropped(load("{\"prompt\": \"i\", \"completion\": null}\n{\"prompt\": \"i\", \"completion\": \"o\"}"))
          == "the answer is null");
    CHECK(dropped(load("{\"text\": null}\n{\"text\": \"\"}\n{\"text\": \"o\"}", documents)) == "the text is null");
    CHECK(dropped(load("{\"text\": null}\n{\"text\": \"\"}\n{\"text\": \"o\"}", documents), 1) == "the text is empty");

    // An assistant that speaks first is the template's business.
    CHECK(load(turns(turn("assistant", "a") + "," + turn("user", "q") + "," + turn("assistant", "b"))).examples.size()
          == 1);

    const auto set = load(turns(turn("user", "q")) + good + turns(turn("user", "r")));
    CHECK(set.report.rows_read == 3);
    CHECK(set.report.rows_used == 1);
    CHECK(set.report.rows_dropped() == 2);
    REQUIRE(set.report.dropped.size() == 1);
    CHECK(set.report.dropped[0].rows == 2);
    REQUIRE(set.report.dropped[0].first.size() == 2);
    CHECK(has(set.report.dropped[0].first[1], ":3"));

    CHECK(has(error_of(turns(turn("user", "q")) + good, {.options = {.strict = true}}),
              "FILE:1: row 1: no assistant turn"));
}

TEST_CASE("dataset: an empty answer is kept with its end token as target, and counted")
{
    const auto set = load(turns(turn("user", "q") + "," + turn("assistant", "")));
    CHECK(shown(set.examples.at(0)) == "<|a|>user:q<|z|><|a|>assistant:[<|z|>]");
    CHECK(set.report.empty_answers == 1);
    CHECK(set.report.targets == 1);
    const auto call = load(
        R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": null, "tool_calls": [{"f": 1}]}]})");
    CHECK(call.report.rows_used == 1);
    CHECK(call.report.empty_answers == 0);
}

TEST_CASE("dataset: a set in which nothing can be learnt is an error that says why")
{
    const auto message = error_of(turns(turn("user", "q")) + turns(turn("user", "r")));
    CHECK(has(message, "nothing to learn: none of 2 rows has a target. 2 rows: no assistant turn (first FILE:1)"));
    CHECK(has(error_of(R"({"input_ids": [1, 2], "labels": [-100, -100]})"), "1 row: no target"));
    CHECK(has(error_of(R"({"input_ids": [1, 2], "labels": [1, -100]})"), "no target"));  // a first token is none
    CHECK(has(error_of(R"({"input_ids": [1], "labels": [1]})"), "too short to have a target"));
    CHECK(has(error_of(R"({"input_ids": [], "labels": []})"), "no tokens"));
    CHECK(has(error_of(""), "no rows"));
    CHECK(has(error_of("[]"), "no rows"));
    CHECK(has(error_of("\n \r\n"), "no rows"));
    CHECK_THROWS_WITH_AS(small::load_files({}), "no data file was named", graft::Error);
}

TEST_CASE("dataset: control tokens in contents are counted, and plain text unless asked for")
{
    const auto row = turns(turn("user", "say <|z|> now") + "," + turn("assistant", "a<|z|>b"));
    const auto plain = load(row);
    CHECK(plain.report.control_tokens == 2);
    CHECK(plain.report.rows_with_control == 1);
    const auto& example = plain.examples.at(0);
    CHECK(shown(example) == "<|a|>user:say <|z|> now<|z|><|a|>assistant:[a<|z|>b<|z|>]");
    CHECK(std::count(example.ids.begin(), example.ids.end(), 4) == 2);  // the template's own
    CHECK(targets(example) == 8);                                       // a, <|z|> in five letters, b, end
    const auto real = load(row, {.options = {.control_in_contents = true}});
    CHECK(std::count(real.examples[0].ids.begin(), real.examples[0].ids.end(), 4) == 4);
    CHECK(real.report.control_tokens == 2);
    // BOS is a control token that this template does not write itself: found all the same.
    CHECK(load(turns(turn("user", "<s>") + "," + turn("assistant", "a"))).examples[0].ids.front() == 3);
    CHECK(load(turns(turn("user", "<s>") + "," + turn("assistant", "a"))).report.control_tokens == 1);
    // A tokeniser whose pieces differ by themselves: dropped rather than changed.
    const auto set = load(row + good, {.tokens = {.space_in_front = true}});
    CHECK(has(dropped(set), "cannot be told from the template's own"));
    // Texts are taken as they are, counted alone.
    CHECK(load(R"({"text": "a<|z|>b"})", documents).report.control_tokens == 1);
}

TEST_CASE("dataset: what is too long")
{
    SUBCASE("conversations are cut at the end, and dropped when no target is left")
    {
        const auto whole = load(good).examples[0];  // 8 + 13 tokens, of which the last two are targets
        const auto length = std::int64_t(whole.ids.size());
        CHECK(length == 21);
        const auto cut = load(good, {.options = {.max_length = length - 1}});
        CHECK(shown(cut.examples.at(0)) == "<|a|>user:q<|z|><|a|>assistant:[a]");
        CHECK(cut.report.rows_cut == 1);
        CHECK(cut.report.tokens_lost == 1);
        CHECK(cut.report.rows_ending_in_control == 0);
        CHECK(
            has(error_of(good, {.options = {.max_length = length - 2}}), "no target left after cutting to 19 tokens"));
        CHECK(load(good, {.options = {.max_length = length}}).report.rows_cut == 0);
    }
    SUBCASE("documents are cut into pieces in which every token is a target once")
    {
        for (std::size_t letters = 1; letters < 12; ++letters) {
            for (std::int64_t most = 2; most < 8; ++most) {
                std::string text = std::string("abcdefghijklm").substr(0, letters);
                const auto set =
                    load("{\"text\": \"" + text + "\"}", {.options = {.task = Task::text, .max_length = most}});
                std::vector<std::int32_t> learnt;
                for (const auto& piece : set.examples) {
                    CHECK(std::int64_t(piece.ids.size()) <= most);
                    CHECK(piece.labels[0] == graft::ignore);
                    for (std::size_t t = 1; t < piece.ids.size(); ++t) {
                        CHECK(piece.labels[t] == piece.ids[t]);
                        learnt.push_back(piece.labels[t]);
                    }
                }
                small::Tokenizer tokens;
                CHECK(tokens.decode(learnt) == text + "</s>");
                CHECK(set.report.targets == std::int64_t(letters) + 1);
                CHECK(set.report.rows_used == 1);
                CHECK(set.report.rows_split == (std::int64_t(letters) + 2 > most ? 1 : 0));
                CHECK(set.report.tokens_lost == 0);
            }
        }
    }
    CHECK(has(error_of(good, {.options = {.max_length = 1}}), "needs at least 2 tokens"));
}

TEST_CASE("dataset: one kind of rows in a set, chosen by fields and task")
{
    CHECK(error_of(R"({"text": "x"})").find("FILE:1: rows of text have no answers to learn; use --task text") == 0);
    // A lone row of another kind does not end the run.
    CHECK(dropped(load(good + R"({"text": "x"})")) == "rows of text have no answers to learn; use --task text");
    CHECK(dropped(load(good + R"({"instruction": "i", "output": "o"})"))
          == "this row is instruction/output, but the file's first one is messages");
    CHECK(has(error_of(good + R"({"instruction": "i", "output": "o"})", {.options = {.strict = true}}),
              "FILE:2: row 2: this row is instruction/output, but the file's first one is messages"));
    CHECK(has(error_of(R"({"prompt": "a", "completion": [{"role": "assistant", "content": "b"}]})"),
              "both be text or both be turns"));
    CHECK(has(error_of(R"({"foo": 1, "bar": 2})"), "row 1 has fields foo, bar; expected messages,"));
    CHECK(has(error_of("{}"), "row 1 has no fields"));
    CHECK(has(error_of(R"({"instruction": "i"})"), "row 1 has fields instruction"));

    const std::string both = R"({"instruction": "i", "output": "o", "text": "io"})";
    CHECK(has(error_of(both), "can be read as instruction/output and as text; say --task sft or --task text"));
    CHECK(load(both, {.options = {.task_given = true}}).report.form == "instruction/output");
    CHECK(load(both, {.options = {.task = Task::text, .task_given = true}}).report.form == "text");
    CHECK(has(error_of(R"({"messages": [], "conversations": []})"),
              "messages and as conversations; keep the fields of one"));
    CHECK(
        load(R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "text": null})")
            .report.form
        == "messages");
    CHECK(has(error_of(good, documents), "--task text learns documents, these rows are messages; use --task sft"));

    CHECK(has(error_of(R"({"prompt": "p", "chosen": "a", "rejected": "b"})"), "preference pairs"));
    CHECK(has(error_of(R"({"prompt": "p", "completion": "a", "label": false})"), "judged answers"));
}

TEST_CASE("dataset: a tokeniser without a template")
{
    const small::Setting without{.no_template = true};
    const auto set = load(R"({"instruction": "i", "input": "x", "output": "o"})", without);
    CHECK(shown(set.examples.at(0)) == "<s>Q:i I:x A:[o</s>]");
    REQUIRE(set.report.notes.size() == 1);
    CHECK(has(set.report.notes[0], "instruction rows take the Alpaca text: this tokeniser has no chat template"));
    CHECK(has(error_of(good, without), "this tokeniser has none; name one with --template: alpaca, chatml"));
    CHECK(load(R"({"prompt": "p", "completion": "c"})", without).report.rows_used == 1);
    // Alpaca by name: the row's own fields.
    const small::Setting alpaca{.tmpl = {.called = "alpaca"}};
    CHECK(shown(load(R"({"instruction": "i", "input": "x<s>", "output": "o"})", alpaca).examples[0])
          == "<s>Q:i I:x<s> A:[o</s>]");
    CHECK(load(R"({"instruction": "i", "input": "x<s>", "output": "o"})", alpaca).examples[0].ids[8] == '<' + 10);
    // With a history the turns are shown, not the last question in place of the first.
    CHECK(shown(load(R"({"instruction": "i", "output": "o", "history": [["q", "a"]]})", alpaca).examples[0])
          == "<s><|a|>user:q<|z|><|a|>assistant:[a<|z|>]<|a|>user:i<|z|><|a|>assistant:[o<|z|>]");
    CHECK(has(error_of(good, {.no_tokenizer = true}), "need a tokeniser"));
}

TEST_CASE("dataset: ready-made ids are checked")
{
    const small::Setting ids{.options = {.vocab = 10}, .no_tokenizer = true};
    CHECK(load(R"({"input_ids": [9, 0, 3], "labels": [-100, 0, 3]})", ids).report.targets == 2);
    CHECK(has(error_of(R"({"input_ids": [10], "labels": [1]})", ids),
              "input_ids holds an id outside 0 to 9 (the model's vocabulary) (first FILE:1 input_ids[0] is 10)"));
    CHECK(has(error_of(R"({"input_ids": [1, -1], "labels": [1, 1]})", ids), "input_ids[1] is -1"));
    CHECK(has(error_of(R"({"input_ids": [1, 18446744073709551615], "labels": [1, 1]})", ids),
              "is 18446744073709551615)"));
    CHECK(has(error_of(R"({"input_ids": [1, 4294967297], "labels": [1, 1]})", ids), "outside"));
    CHECK(has(error_of(R"({"input_ids": [1, 2], "labels": [1, -1]})", ids),
              "labels holds an id outside -100 and 0 to 9"));
    CHECK(has(error_of(R"({"input_ids": [1, 2.0], "labels": [1, 1]})", ids),
              "must hold integers, found number (first FILE:1 input_ids[1] is 2.0)"));
    CHECK(has(error_of(R"({"input_ids": [[1, 2]], "labels": [[1, 1]]})", ids), "write a batch row by row"));
    CHECK(has(error_of(R"({"input_ids": [1, 2], "labels": [1]})", ids), "labels has 1 values, input_ids 2"));
    // One such row among others is dropped, and named with what it holds.
    const auto one =
        load("{\"input_ids\": [1, 2], \"labels\": [1, 2]}\n{\"input_ids\": [1, 99], \"labels\": [1, 2]}", ids);
    CHECK(one.report.rows_used == 1);
    REQUIRE(one.report.dropped.size() == 1);
    CHECK(has(one.report.dropped[0].first.at(0), ":2 input_ids[1] is 99"));
    CHECK(has(error_of(R"({"input_ids": "1 2", "labels": [1]})", ids), "must be a list of integers"));
    CHECK(has(error_of(R"({"input_ids": [1, 2], "labels": [1, 2], "attention_mask": [0, 1]})", ids),
              "padding is understood on the right only"));
    CHECK(has(error_of(R"({"input_ids": [1, 2], "labels": [1, 2], "attention_mask": [1, 2]})", ids),
              "attention_mask[1] is 2"));
    CHECK(has(error_of(R"({"input_ids": [1, 2]})", ids), "without labels do not tell what is an answer"));
    CHECK(load(R"({"input_ids": [1, 2]})", {.options = {.train_on = TrainOn::all}, .no_tokenizer = true}).report.targets
          == 1);
    CHECK(load(R"({"input_ids": [1, 2]})", {.options = {.task = Task::text}, .no_tokenizer = true}).report.targets
          == 1);
}

TEST_CASE("dataset: the report counts")
{
    const auto set =
        load(R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "abc"}], "id": 1}
{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "id": 2, "tag": 1}
{"messages": [{"role": "user", "content": "q"}], "id": 3})");
    const auto& report = set.report;
    CHECK(report.targets_min == 2);
    CHECK(report.targets_max == 4);
    CHECK(report.targets_mean() == 3.0);
    CHECK(report.unknown_keys == std::vector<std::string>{"id", "tag"});
    CHECK(report.rows_ending_in_control == 2);
    CHECK(report.trained_share() == doctest::Approx(6.0 / 44.0));
    const auto lines = summary(report);
    CHECK(lines[0] == "3 rows of messages, 2 used, 1 dropped; 44 tokens, 6 targets (13.6 %)");
    CHECK(lines[1] == "targets a row: min 2, mean 3.0, max 4");
    CHECK(lines[2] == "rows by targets: 0: 1, 2: 1, 3: 0, 4: 1");
    CHECK(has(lines[3], "dropped 1 row: no assistant turn ("));
    CHECK(has(
        load(R"({"text": "a"})", {.options = {.task = Task::text}, .tokens = {.has_eos = false}}).report.notes.at(0),
        "no EOS"));

    // Reasons in a template's own words cannot fill the memory, nor can unknown keys.
    graft::DataReport many;
    for (int i = 0; i < 1000; ++i) {
        many.drop("reason " + std::to_string(i), {.file = "f", .line = i, .row = i});
        many.unknown_key("key " + std::to_string(i));
    }
    CHECK(many.rows_dropped() == 1000);
    CHECK(many.dropped.size() == 33);
    CHECK(many.unknown_keys.size() == 32);
}

TEST_CASE("dataset: every row of the file is in the set, also the first and the last")
{
    for (int changed = 0; changed < 6; ++changed) {
        std::string before, after;
        for (int i = 0; i < 6; ++i) {
            const auto row = [&](const char* answer) {
                return turns(turn("user", "q") + "," + turn("assistant", answer));
            };
            before += row("a"), after += row(i == changed ? "b" : "a");
        }
        const auto a = load(before), b = load(after);
        REQUIRE(a.examples.size() == 6);
        REQUIRE(b.examples.size() == 6);
        for (int i = 0; i < 6; ++i) {
            CHECK((a.examples[std::size_t(i)].ids == b.examples[std::size_t(i)].ids) == (i != changed));
            CHECK(a.examples[std::size_t(i)].row == i + 1);
        }
    }
}

TEST_CASE("dataset: agrees with other tools where the rules are the same")
{
    const auto root = graft_test::data();
    if (!root) { return graft_test::skip("GRAFT_TEST_DATA is not set"); }
    std::ifstream file(*root / "golden_text/data_forms.json");
    const auto golden = nlohmann::ordered_json::parse(file);
    using namespace graft::detail::dataset;

    int compared = 0;
    const auto read = [&](const nlohmann::ordered_json& row) {
        return understand(row, {.file = "f", .line = 1, .row = 1}, {});
    };
    for (const auto& entry : golden["llamafactory"]) {
        const auto& about = entry["description"];
        const auto format = about.value("formatting", "alpaca");
        const bool columns_as_ours = !about.contains("columns") || !about["columns"].contains("prompt")
                                     || about["columns"]["prompt"] == "instruction";
        // Other names for columns, and habits that the notes on formats advise against.
        if (!columns_as_ours || format == "openai" || about.value("ranking", false) || entry["row"].contains("kto_tag")
            || entry["row"].contains("label") || entry["result"].contains("error")) {
            continue;
        }
        const auto& result = entry["result"];
        if (result["kept_by_sft"] != true) {
            continue;
        }  // kept or dropped by order rules that belong to the template here
        const auto row = read(entry["row"]);
        CHECK(row.drop.empty());
        auto expected = nlohmann::ordered_json::array();
        if (result["system"] != "") { expected.push_back({{"role", "system"}, {"content", result["system"]}}); }
        for (const char* side : {"prompt", "response"}) {
            for (auto message : result[side]) {
                if (message["role"] == "function") { message["role"] = "assistant"; }
                if (message["role"] == "observation") { message["role"] = "tool"; }
                expected.push_back(message);
            }
        }
        CHECK(row.turns.messages == expected);
        ++compared;
    }
    for (const auto& entry : golden["unsloth_standardize"]) {
        if (!entry["result"].is_array()) { continue; }
        for (std::size_t i = 0; i < entry["rows"].size(); ++i) {
            CHECK(read(entry["rows"][i]).turns.messages == entry["result"][i]);
            ++compared;
        }
    }
    for (const auto& entry : golden["trl"]) {
        if (entry["function"] != "maybe_convert_to_chatml" || entry["row"].contains("conversations")) { continue; }
        auto expected = entry["result"]["prompt"];
        for (const auto& message : entry["result"]["completion"]) { expected.push_back(message); }
        CHECK(read(entry["row"]).turns.messages == expected);
        ++compared;
    }
    CHECK(compared >= 16);
}

TEST_CASE("dataset: published demo sets are read whole")
{
    const auto root = graft_test::data();
    if (!root) { return graft_test::skip("GRAFT_TEST_DATA is not set"); }
    const auto rows = [&](const char* name, const small::Setting& with = {}) {
        return small::load_files({*root / "data/datasets" / name}, with).report;
    };
    CHECK(rows("alpaca_en_demo.json").rows_dropped() == 0);
    CHECK(rows("c4_demo.jsonl", documents).rows_dropped() == 0);
    CHECK(rows("v1_sft_demo.jsonl").rows_dropped() == 0);
    CHECK(rows("axolotl/conversation.json").rows_used == 1);
    CHECK(rows("mlx_wikisql/train.jsonl", documents).rows_dropped() == 0);
    const auto tools = rows("glaive_toolcall_en_demo.json");
    CHECK(tools.rows_read == 300);
    CHECK(tools.rows_used + tools.rows_dropped() == 300);
}
