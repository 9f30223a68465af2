#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "dataset_support.hpp"
#include "graft/text/dataset.hpp"
#include "support.hpp"

// Turns as people have them: roles, flags, calls and reasoning, and what a template makes of each.
using small::error_of;
using small::load;
using small::shown;

namespace {

namespace fs = std::filesystem;

bool has(const std::string& text, const std::string& part)
{
    CAPTURE(text);
    return text.find(part) != text.npos;
}

bool noted(const graft::Dataset& set, const std::string& part)
{
    for (const auto& line : graft::summary(set.report)) {
        if (line.find(part) != line.npos) { return true; }
    }
    return false;
}

std::string lines_of(const graft::Dataset& set)
{
    std::string all;
    for (const auto& line : graft::summary(set.report)) { all += line + "\n"; }
    return all;
}

std::string talk(const std::string& turns)
{
    return R"({"messages": [{"role": "user", "content": "q"}, )" + turns + "]}\n";
}

// Rows through the tokeniser of the tests and a template of its own.
struct Rendered {
    graft::Dataset set;
    std::string marked;  // of the first row
};

Rendered through(const std::string& chat, const std::string& rows, graft::DataOptions options = {})
{
    static const auto tokenizer = graft::Tokenizer::load(fs::path(GRAFT_TEST_DIR) / "data/tokenizer_stories260K");
    const auto tmpl = graft::ChatTemplate::from_text(chat, "test", tokenizer.special_tokens());
    const small::File file(rows);
    const std::vector<fs::path> files{file.path()};
    options.tmpl = &tmpl;
    Rendered out{.set = graft::load_dataset(files, &tokenizer, options), .marked = {}};
    out.marked = graft::marked(out.set.examples.at(0), tokenizer);
    return out;
}

// A template that writes roles and contents, and behind them what `more` writes of a message m.
std::string chat_with(const std::string& more)
{
    return "{%- for m in messages %}{{ '<' + m.role + '>' + (m.content or '') }}" + more
           + "{{ eos_token }}{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";
}

std::string call(const std::string& arguments)
{
    return talk(R"({"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "type": "function", "function": )"
                R"({"name": "f", "arguments": )"
                + arguments
                + R"(}}]}, {"role": "tool", "content": "r"}, )"
                  R"({"role": "assistant", "content": "done"})");
}

}  // namespace

TEST_CASE("turns: roles as the big collections name them")
{
    for (const char* user : {"user", "human", "Human ", "input", "prompter", "USER"}) {
        for (const char* assistant :
             {"assistant", "gpt", "model", "bot", "chatbot", "bing", "bard", "chatgpt", "AI", "output"}) {
            CAPTURE(user);
            CAPTURE(assistant);
            const auto set = load(std::string(R"({"conversations": [{"from": ")") + user
                                  + R"(", "value": "q"}, {"from": ")" + assistant + R"(", "value": "a"}]})");
            CHECK(shown(set.examples.at(0)) == "<|a|>user:q<|z|><|a|>assistant:[a<|z|>]");
        }
    }
    const std::string chat = chat_with("");
    for (const char* tool : {"tool", "observation", "function", "function_response", "function-response",
                             "tool_response", "tool_result", "ipython"}) {
        CAPTURE(tool);
        CHECK(has(through(chat, talk(std::string(R"({"role": "assistant", "content": "a"}, {"role": ")") + tool
                                     + R"(", "content": "r"}, {"role": "assistant", "content": "b"})"))
                      .marked,
                  "<tool>r</s>"));
    }
    // A call that is a turn's text is learnt as that text, which the report says.
    const auto as_text =
        load(R"({"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": "{}"}]})");
    CHECK(shown(as_text.examples.at(0)) == "<|a|>user:q<|z|><|a|>assistant:[{}<|z|>]");
    CHECK(noted(as_text, "in 1 row: a turn of a call (function_call) is learnt as the text that it holds"));
}

TEST_CASE("turns: a developer turn stays one where the template shows it, and is a system turn elsewhere")
{
    const std::string row = R"({"messages": [{"role": "developer", "content": "d"}, {"role": "user", "content": "q"}, )"
                            R"({"role": "assistant", "content": "a"}]})";
    const auto shows = through(chat_with(""), row);
    CHECK(has(shows.marked, "<developer>d</s>"));
    CHECK(!noted(shows.set, "developer"));
    const std::string hides =
        "{%- for m in messages %}{% if m.role in ['system', 'user', 'assistant'] %}{{ '<' + m.role + '>' "
        "+ m.content + eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";
    const auto hidden = through(hides, row);
    CHECK(has(hidden.marked, "<system>d</s>"));
    CHECK(noted(hidden.set, "in 1 row: a developer turn is written as a system turn"));
}

TEST_CASE("turns: flags of every name are understood, or cost the row with a sentence")
{
    const std::string learnt = "<|a|>user:q<|z|><|a|>assistant:[a<|z|>]<|a|>user:r<|z|><|a|>assistant:[b<|z|>]";
    const std::string second = "<|a|>user:q<|z|><|a|>assistant:a<|z|><|a|>user:r<|z|><|a|>assistant:[b<|z|>]";
    const auto with = [](const std::string& flag) {
        return talk(R"({"role": "assistant", "content": "a", )" + flag
                    + R"(}, {"role": "user", "content": "r"}, )"
                      R"({"role": "assistant", "content": "b"})");
    };
    for (const char* flag : {R"("weight": 0)", R"("weight": 0.0)", R"("loss_weight": 0)", R"("loss_scale": 0)",
                             R"("train": false)", R"("training": false)", R"("loss": false)", R"("loss": 0)",
                             R"("masked": true)", R"("mask": true)", R"("weight": 0, "train": false)"}) {
        CAPTURE(flag);
        CHECK(shown(load(with(flag)).examples.at(0)) == second);
    }
    for (const char* flag : {R"("weight": 1)", R"("weight": null)", R"("train": true)", R"("loss": true)",
                             R"("masked": false)", R"("train_detail": [])", R"("train_detail": null)"}) {
        CAPTURE(flag);
        CHECK(shown(load(with(flag)).examples.at(0)) == learnt);
    }
    CHECK(
        has(error_of(with(R"("weight": 0.5)")), "1 row: weight must be 0 or 1, found 0.5 (first FILE:1 messages[1])"));
    CHECK(has(error_of(with(R"("loss": "no")")), "loss must be 0 or 1, found no"));
    CHECK(has(error_of(with(R"("weight": 1, "train": false)")), "weight and train contradict each other; keep one"));
    CHECK(has(error_of(with(R"("train_detail": [{"begin_offset": 0, "end_offset": 1, "train": false}])")),
              "train_detail marks parts of a turn, which is not understood"));
    CHECK(noted(
        load(
            R"({"messages": [{"role": "user", "content": "q", "train": true}, {"role": "assistant", "content": "a"}]})"),
        "in 1 row: a flag wants a turn learnt that is no answer; only answers are"));
}

TEST_CASE("turns: arguments of calls are an object or text, as the template wants them")
{
    const std::string object = R"({"owner": "Ann"})", text = R"("{\"owner\": \"Ann\"}")";
    SUBCASE("a template that writes JSON wants an object")
    {
        const auto chat =
            chat_with("{% for c in m.tool_calls or [] %}{{ c.function.name }} {{ c.function.arguments | tojson "
                      "}}{% endfor %}");
        const auto right = through(chat, call(object)).marked;
        CHECK(has(right, R"(f {"owner": "Ann"})"));
        CHECK(through(chat, call(text)).marked == right);
        CHECK(through(chat, call(R"("  {\"owner\":\"Ann\"} ")")).marked == right);
        CHECK(has(through(chat, call(R"("")")).marked, "f {}"));
        for (const char* bad : {R"("no JSON")", R"("[1]")", R"("3")"}) {
            CAPTURE(bad);
            const auto set = through(chat, call(object) + call(bad)).set;
            CHECK(set.report.rows_used == 1);
            CHECK(noted(set, "dropped 1 row: the arguments of a call are text that is no JSON object, and the template "
                             "wants an object"));
        }
        const std::string deep(100000, '[');
        CHECK(through(chat, call(object) + call("\"" + deep + "\"")).set.report.rows_used == 1);
    }
    SUBCASE("a template that goes over the items wants an object")
    {
        const auto chat = chat_with("{% for c in m.tool_calls or [] %}{{ c.function.name }}{% for k, v in "
                                    "c.function.arguments | items %} {{ k }}={{ v }}{% endfor %}{% endfor %}");
        CHECK(has(through(chat, call(text)).marked, "f owner=Ann"));
    }
    SUBCASE("a template that joins text wants text")
    {
        const auto chat =
            chat_with("{% for c in m.tool_calls or [] %}{{ c.function.name + ' ' + c.function.arguments }}"
                      "{% endfor %}");
        CHECK(has(through(chat, call(text)).marked, R"(f {"owner": "Ann"})"));
        CHECK(through(chat, call(object)).marked == through(chat, call(text)).marked);
    }
    SUBCASE("a template that prints what it is given would print an object as Python does: it gets text")
    {
        const auto chat = chat_with("{% for c in m.tool_calls or [] %}{{ c.function.name }} {{ c.function.arguments }}"
                                    "{% endfor %}");
        CHECK(has(through(chat, call(object)).marked, R"(f {"owner": "Ann"})"));
        CHECK(has(through(chat, call(R"({"a": [1, 2.5, null, true], "b": {"c": "\u00e9\n"}})")).marked,
                  "f {\"a\": [1, 2.5, null, true], \"b\": {\"c\": \"\u00e9\\n\"}}"));
    }
    SUBCASE("a template that asks which of the two it is gets what the row has")
    {
        const auto chat =
            chat_with("{% for c in m.tool_calls or [] %}{{ c.function.name }} {% if c.function.arguments is "
                      "string %}{{ c.function.arguments }}{% else %}{{ c.function.arguments | tojson }}"
                      "{% endif %}{% endfor %}");
        CHECK(has(through(chat, call(R"("{\"owner\":\"Ann\"}")")).marked, R"(f {"owner":"Ann"})"));
        CHECK(has(through(chat, call(object)).marked, R"(f {"owner": "Ann"})"));
    }
}

TEST_CASE("turns: calls in their other forms")
{
    const auto chat =
        chat_with("{% for c in m.tool_calls or [] %}{{ c.function.name }} {{ c.function.arguments | tojson "
                  "}}{% endfor %}");
    const auto right = through(chat, talk(R"({"role": "assistant", "content": "", "tool_calls": [{"type": "function", )"
                                          R"("function": {"name": "f", "arguments": {"x": 1}}}]})"))
                           .marked;
    CHECK(has(right, R"(f {"x": 1})"));
    for (
        const char* turn :
        {R"({"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{\"x\": 1}"}})",
         R"({"role": "assistant", "function_call": {"name": "f", "arguments": {"x": 1}}, "tool_calls": null})",
         R"({"role": "assistant", "content": "", "tool_calls": "[{\"function\": {\"name\": \"f\", \"arguments\": {\"x\": 1}}}]"})",
         R"({"role": "assistant", "tool_calls": ["{\"function\": {\"name\": \"f\", \"arguments\": \"{\\\"x\\\": 1}\"}}"]})"}) {
        CAPTURE(turn);
        CHECK(through(chat, talk(turn)).marked == right);
    }
    CHECK(has(error_of(talk(R"({"role": "assistant", "tool_calls": "no list"})")),
              "tool_calls must be a list of objects"));
    CHECK(has(error_of(talk(R"({"role": "assistant", "tool_calls": [3]})")), "tool_calls must be a list of objects"));
    CHECK(has(error_of(talk(R"({"role": "assistant", "function_call": "f"})")), "function_call must be an object"));
}

TEST_CASE("turns: reasoning under each of its names is one field, as transformers 5.23 fills it")
{
    const auto chat = [](const char* name) {
        return "{%- for m in messages %}{{ '<' + m.role + '>' }}{% if m." + std::string(name)
               + " is string %}{{ '(' + m." + name + " + ')' }}{% endif %}{{ m.content + eos_token }}{% endfor %}"
               + "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";
    };
    for (const char* read : {"reasoning_content", "thinking"}) {
        for (const char* turn : {R"("reasoning_content": "why")", R"("reasoning": "why")", R"("thinking": "why")",
                                 R"("reasoning": "why", "reasoning_content": null)"}) {
            CAPTURE(read);
            CAPTURE(turn);
            const auto row =
                through(chat(read), talk(R"({"role": "assistant", "content": "a", )" + std::string(turn) + "}"));
            CHECK(has(row.marked, "(why)a"));
            CHECK(!noted(row.set, "change no text"));
            CHECK(!noted(row.set, "leaves out"));
        }
    }
    // The first of the three wins for reasoning_content; thinking keeps its own.
    const std::string two = talk(R"({"role": "assistant", "content": "a", "thinking": "t", "reasoning_content": "r"})");
    CHECK(has(through(chat("reasoning_content"), two).marked, "(r)a"));
    CHECK(has(through(chat("thinking"), two).marked, "(t)a"));
    // Parts of reasoning in the content (LLaMA-Factory v1, Anthropic).
    CHECK(has(through(chat("reasoning_content"),
                      talk(R"({"role": "assistant", "content": [{"type": "reasoning", "value": "why"}, )"
                           R"({"type": "text", "value": "a"}]})"))
                  .marked,
              "(why)a"));
    CHECK(has(through(chat("reasoning_content"),
                      talk(R"({"role": "assistant", "content": [{"type": "thinking", "thinking": "why"}, )"
                           R"({"type": "text", "text": "a"}]})"))
                  .marked,
              "(why)a"));
}

TEST_CASE("turns: what a template leaves out of the answers is counted, in characters")
{
    // As Qwen 3: reasoning of the last turn alone, and <think> blocks taken out of the content of earlier ones.
    const std::string chat =
        "{%- for m in messages %}{{ '<' + m.role + '>' }}{% if loop.last and m.reasoning_content %}{{ '(' + "
        "m.reasoning_content + ')' }}{% endif %}{{ m.content if loop.last else m.content.split('</think>')[-1] }}"
        "{{ eos_token }}{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";
    const auto set =
        through(chat, talk(R"({"role": "assistant", "content": "a", "reasoning": "sixty"}, {"role": "user", )"
                           R"("content": "r"}, {"role": "assistant", "content": "bcd", "reasoning": "z"})"))
            .set;
    CHECK(set.report.said_chars == 10);
    CHECK(set.report.hidden_chars == 5);
    CHECK(noted(set, "the template leaves out 50.0 % of what the answers say (5 of 10 characters), in 1 row (first "));
    const auto blocks =
        through(chat, talk(R"({"role": "assistant", "content": "<think>\nthö\n</think>\n\na"}, {"role": "user", )"
                           R"("content": "r"}, {"role": "assistant", "content": "<think>w</think>b"})"))
            .set;
    CHECK(blocks.report.hidden_chars == 3);
    CHECK(blocks.report.said_chars == 6);
    // Nothing is left out, nothing is said.
    CHECK(!noted(through(chat, talk(R"({"role": "assistant", "content": "a", "reasoning": "r"})")).set, "leaves out"));
    // A turn that is not learnt does not count.
    CHECK(through(chat, talk(R"({"role": "assistant", "content": "a", "reasoning": "sixty", "train": false}, )"
                             R"({"role": "user", "content": "r"}, {"role": "assistant", "content": "b"})"))
              .set.report.hidden_chars
          == 0);
    // One letter, very often: bounded.
    const std::string same(300000, 'a');
    CHECK(through(chat,
                  talk(R"({"role": "assistant", "content": "b", "reasoning": ")" + same
                       + R"(b"}, {"role": "user", )"
                         R"("content": ")"
                       + same + R"("}, {"role": "assistant", "content": "c"})"),
                  {.max_length = 1000000})
              .set.report.rows_used
          == 1);
}

TEST_CASE("turns: fields that change no text are listed, those that do are not")
{
    const auto chat = chat_with("{% if m.name %}{{ ' by ' + m.name }}{% endif %}");
    const auto set =
        through(chat, R"({"messages": [{"role": "user", "content": "q", "name": "Ann", "id": 1}, {"role": )"
                      R"("assistant", "content": "a", "score": 3, "thinking": "why"}]})")
            .set;
    CHECK(set.report.unused_turn_fields
          == std::vector<std::string>{"assistant.reasoning", "assistant.score", "user.id"});
    CHECK(noted(set, "fields of turns that change no text: assistant.reasoning, assistant.score, user.id"));
    // One row in which it matters is enough, wherever it stands.
    const std::string small_talk =
        R"({"messages": [{"role": "user", "content": "q", "name": ""}, {"role": "assistant", "content": "a"}]})"
        "\n";
    std::string rows;
    for (int i = 0; i < 7; ++i) { rows += small_talk; }
    CHECK(noted(through(chat, rows).set, "user.name"));
    rows += R"({"messages": [{"role": "user", "content": "q", "name": "Ann"}, {"role": "assistant", "content": "a"}]})"
            "\n";
    CHECK(!noted(through(chat, rows).set, "user.name"));
    // Many names do not make many renderings, nor a long list.
    std::string many;
    for (int i = 0; i < 300; ++i) { many += ", \"k" + std::to_string(i) + "\": 1"; }
    CHECK(lines_of(through(chat, R"({"messages": [{"role": "user", "content": "q")" + many
                                     + R"(}, {"role": "assistant", "content": "a"}]})")
                       .set)
              .size()
          < 3000);
}

TEST_CASE("turns: a row that the template refuses costs itself alone; all of them, and the file says it")
{
    const std::string chat =
        "{%- for m in messages %}{% if m.content == 'bad' %}{{ raise_exception('no bad words') }}{% endif %}"
        "{{ '<' + m.role + '>' + m.content + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";
    const std::string good = talk(R"({"role": "assistant", "content": "a"})"),
                      bad = talk(R"({"role": "assistant", "content": "bad"})");
    for (const auto& rows : {bad + good, good + bad}) {
        const auto set = through(chat, rows).set;
        CHECK(set.report.rows_used == 1);
        CHECK(noted(set, "dropped 1 row: the template refuses: "));
        CHECK(noted(set, "no bad words"));
    }
    CHECK_THROWS_WITH_AS(through(chat, bad + bad),
                         doctest::Contains("none of 2 rows has a target. 2 rows: the template refuses"), graft::Error);
    // Any other failure of a template, too.
    const auto fails =
        through(
            "{%- for m in messages %}{{ m.content.missing.field if m.content == 'bad' else '' }}{{ '<' + m.role + "
            "'>' + m.content + eos_token }}{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}",
            good + bad)
            .set;
    CHECK(fails.report.rows_used == 1);
}
