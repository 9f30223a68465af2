#include "programs_support.hpp"

// Rows, templates and tokenisers as people reported them, told again with small inputs of our own, through the
// programs: each has its right value, and a sibling where the kind has one.
using namespace graft_test;

namespace {

bool has(const std::string& text, const std::string& part)
{
    if (text.find(part) != std::string::npos) { return true; }
    MESSAGE(text);
    return false;
}

// What inspect says of these rows.
Ended inspected(const std::string& rows, const Arguments& more, const std::string& model = small_model())
{
    const TempFolder temp;
    write_text(temp / "rows.jsonl", rows);
    return run("inspect", joined({model, "--data", (temp / "rows.jsonl").string()}, more));
}
std::string seen(const std::string& rows, const Arguments& more, const std::string& model = small_model())
{
    const auto ended = inspected(rows, more, model);
    CAPTURE(ended.err);
    CHECK(ended.status == 0);
    return ended.out;
}
std::string pairs(const std::string& rows) { return seen(rows, {"--task", "dpo", "--template", "zephyr"}); }

// By a template of the test's own.
std::string through(const std::string& chat, const std::string& rows)
{
    const TempFolder temp;
    write_text(temp / "own.jinja", chat);
    return seen(rows, {"--template", (temp / "own.jinja").string()});
}

std::string turn(const std::string& role, const std::string& content, const std::string& more = "")
{
    return R"({"role": ")" + role + R"(", "content": ")" + content + "\"" + more + "}";
}
std::string messages(const std::string& turns) { return R"({"messages": [)" + turns + "]}\n"; }

const std::string plain_turns =
    "{%- for m in messages %}{{ '<|' + m.role + '|>' + m.content + eos_token }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|assistant|>' }}{%- endif %}";

// A folder with a tokeniser alone.
struct Words {
    TempFolder temp;
    Words(const nlohmann::ordered_json& tokenizer, const std::string& eos)
    {
        write_text(temp / "tokenizer.json", tokenizer.dump());
        write_text(temp / "tokenizer_config.json", nlohmann::json({{"eos_token", eos}}).dump());
    }
    std::string text(const std::string& text) const
    {
        return seen(nlohmann::json({{"text", text}}).dump(), {"--task", "text"}, temp.path().string());
    }
};

nlohmann::ordered_json added(int id, const std::string& content, bool rstrip = false, bool special = true)
{
    return {{"id", id},         {"content", content},  {"single_word", false}, {"lstrip", false},
            {"rstrip", rstrip}, {"normalized", false}, {"special", special}};
}

}  // namespace

TEST_CASE("cases: the question of a pair is its prompt, from instruction and input too")
{
    if (!built("inspect")) { return; }
    const auto out = pairs(R"({"instruction": "Name a bird.", "input": "It is black.", "chosen": "A crow.", )"
                           R"("rejected": "A cat."})");
    CHECK(has(out, "1 row of preference pairs (instruction), 1 used, 0 dropped"));
    CHECK(has(out, "<|user|>\\x0aName a bird.\\x0aIt is black.</s> \\x0a<|assistant|>\\x0a«A crow.</s>»"));
    CHECK(out.find("not used") == out.npos);
    CHECK(has(pairs(R"({"question": "Name a bird.", "chosen": "A crow.", "rejected": "A cat."})"),
              "<|user|>\\x0aName a bird.</s> \\x0a<|assistant|>\\x0a«A crow.</s>»"));
    check_refused(inspected(R"({"chosen": "A crow.", "rejected": "A cat."})", {"--task", "dpo"}), {"chosen, rejected"});
}

TEST_CASE("cases: a system text stands before the prompt, in pairs and in SFT")
{
    if (!built("inspect")) { return; }
    const std::string system = R"({"system": "Be a crow.", )",
                      turns = "<|system|>\\x0aBe a crow.</s> \\x0a<|user|>\\x0aHi</s>";
    CHECK(has(pairs(system + R"("prompt": "Hi", "chosen": "Caw.", "rejected": "Hi."})"), turns));
    CHECK(has(pairs(system + R"("instruction": "Hi", "chosen": "Caw.", "rejected": "Hi."})"), turns));
    const Arguments zephyr{"--template", "zephyr"};
    CHECK(has(seen(system + R"("prompt": "Hi", "completion": "Caw."})", zephyr), turns));
    CHECK(has(seen(system + R"("instruction": "Hi", "output": "Caw."})", zephyr), turns));
    check_refused(inspected(system + R"("text": "Hi"})", {"--task", "text"}), {"system beside text"});
}

TEST_CASE("cases: messages that repeat the chosen answer are no prompt of a pair")
{
    if (!built("inspect")) { return; }
    const std::string ask = turn("user", "Who sings?"), good = ask + ", " + turn("assistant", "The crow."),
                      bad = ask + ", " + turn("assistant", "Nobody.");
    const auto out = pairs(R"({"prompt": "Who sings?", "chosen": [)" + good + R"(], "rejected": [)" + bad
                           + R"(], "messages": [)" + good + R"(], "score_chosen": 8.5})");
    CHECK(has(out, "1 used, 0 dropped"));
    CHECK(has(out, "<|user|>\\x0aWho sings?</s> \\x0a<|assistant|>\\x0a«The crow.</s>»"));
    CHECK(has(out, "fields not used: score_chosen\n"));
}

TEST_CASE("cases: arguments of a call are learnt as an object, however the row holds them")
{
    if (!built("inspect")) { return; }
    const std::string chat =
        "{%- for m in messages %}{{ '<|' + m.role + '|>' + (m.content or '') }}{% if m.tool_calls %}"
        "{% for c in m.tool_calls %}{{ '{\"name\": \"' + c.function.name + '\", \"arguments\": ' }}"
        "{{ c.function.arguments | tojson }}{{ '}' }}{% endfor %}{% endif %}{{ eos_token }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";
    const auto call = [&](const std::string& arguments) {
        return messages(turn("user", "Where?")
                        + R"(, {"role": "assistant", "content": null, "tool_calls": [{"type": )"
                          R"("function", "function": {"name": "find", "arguments": )"
                        + arguments + "}}]}");
    };
    for (const char* arguments : {R"({"who": "Ann"})", R"("{\"who\": \"Ann\"}")"}) {
        CHECK(has(through(chat, call(arguments)), R"(«{"name": "find", "arguments": {"who": "Ann"}}</s>»)"));
    }
}

TEST_CASE("cases: reasoning is learnt under each of its names")
{
    if (!built("inspect")) { return; }
    const std::string chat =
        "{%- for m in messages %}{{ '<|' + m.role + '|>' }}{% if m.role == 'assistant' %}{{ '<think>' "
        "+ (m.reasoning_content if m.reasoning_content is string else '') + '</think>' }}{% endif %}"
        "{{ m.content + eos_token }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}"
        "{% endif %}";
    for (const std::string name : {"reasoning_content", "reasoning", "thinking"}) {
        const auto row =
            messages(turn("user", "1+1?") + ", " + turn("assistant", "2", ", \"" + name + "\": \"One more.\""));
        CHECK(has(through(chat, row), "«<think>One more.</think>2</s>»"));
    }
}

TEST_CASE("cases: an assistant that speaks first is learnt, by a template that looks at the first turn")
{
    if (!built("inspect")) { return; }
    const std::string chat =
        "{%- if messages[0]['role'] != 'system' %}{{ '<|system|>Help.' + eos_token }}{% endif %}" + plain_turns;
    const auto out = through(chat, R"({"conversations": [{"from": "gpt", "value": "Caw!"}, {"from": "human", "value": )"
                                   R"("Who?"}, {"from": "gpt", "value": "Me."}]})");
    CHECK(has(out, "1 used, 0 dropped"));
    CHECK(has(out, "<|assistant|>«Caw!</s>» <|user|>Who?</s> <|assistant|>«Me.</s>»"));
}

TEST_CASE("cases: names that begin with an underscore")
{
    if (!built("inspect")) { return; }
    const std::string chat = "{%- macro _said(_text) %}{{ _text }}{% endmacro %}{%- set _n = namespace(last='') %}"
                             "{%- for _m in messages %}{%- set _n.last = _m.role %}{{ '<|' + _n.last + '|>' }}"
                             "{{ _said(_m.content) + eos_token }}{%- endfor %}{%- if add_generation_prompt %}"
                             "{{ '<|assistant|>' }}{%- endif %}";
    CHECK(has(through(chat, messages(turn("user", "Who?") + ", " + turn("assistant", "Me."))),
              "<|user|>Who?</s> <|assistant|>«Me.</s>»"));
}

TEST_CASE("cases: a template that leaves the last turn open is refused with the one that does not")
{
    if (!built("inspect")) { return; }
    const TempFolder temp;
    write_text(temp / "open.jinja",
               "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}{% if not loop.last or "
               "add_generation_prompt %}{{ '<|im_end|>\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}"
               "{{ '<|im_start|>assistant\n' }}{% endif %}");
    const auto row = messages(turn("user", "Who?") + ", " + turn("assistant", "Me."));
    check_refused(
        inspected(row, {"--template", (temp / "open.jinja").string()}),
        {"would not learn to stop", "it writes <|im_end|> only once another turn follows: --template chatml"});
    CHECK(has(seen(row, {"--template", "chatml"}), "<|im_start|>assistant\\x0a«Me.<|im_end|>»"));
}

TEST_CASE("cases: what a tool says inside the assistant's turn is no target")
{
    if (!built("inspect")) { return; }
    const std::string chat =
        "{%- for m in messages %}{%- if m.role == 'assistant' %}{{ '<|model|>' }}{%- if m.tool_calls %}"
        "{{ '<call>' + m.tool_calls[0].function.name + '</call>' }}{%- for later in "
        "messages[loop.index:] %}{%- if later.role == 'tool' and loop.first %}{{ '<result>' + "
        "later.content + '</result>' }}{%- endif %}{%- endfor %}{%- endif %}{{ (m.content or '') + "
        "'<turn>' }}{%- elif m.role == 'user' %}{{ '<|user|>' + m.content + '<turn>' }}{%- endif %}"
        "{%- endfor %}{%- if add_generation_prompt %}{{ '<|model|>' }}{%- endif %}";
    const auto out = through(chat, messages(turn("user", "Where?") + ", "
                                            + turn("assistant", "I looked.",
                                                   R"(, "tool_calls": [{"type": "function", "function": )"
                                                   R"({"name": "find", "arguments": {}}}])")
                                            + ", " + turn("tool", "BRANCH SIX") + ", " + turn("assistant", "On six.")));
    CHECK(has(out, "«<call>find</call>»<result>BRANCH SIX</result>«I looked.<turn>»<|model|>«On six.<turn>»"));
}

// tokenizers 0.23.3: ["1", "000", "000", "Ġ", "k"], and "1|00|00|00" where the empty matches are passed over.
TEST_CASE("cases: a pattern that matches the empty text cuts there")
{
    if (!built("inspect")) { return; }
    const nlohmann::ordered_json split{{"type", "Split"},
                                       {"pattern", {{"Regex", "(?=(\\d{3})+(?!\\d))"}}},
                                       {"behavior", "Isolated"},
                                       {"invert", false}};
    const nlohmann::ordered_json bytes{
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
    const auto with = [&](const nlohmann::ordered_json& steps) {
        return Words({{"added_tokens", {added(6, "<end>")}},
                      {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", steps}}},
                      {"decoder", {{"type", "ByteLevel"}}},
                      {"model",
                       {{"type", "BPE"},
                        {"vocab", {{"0", 0}, {"1", 1}, {"Ġ", 2}, {"k", 3}, {"00", 4}, {"000", 5}}},
                        {"merges", {"0 0", "00 0"}}}}},
                     "<end>")
            .text("1000000 k");
    };
    CHECK(has(with(nlohmann::ordered_json::array({split, bytes})), "1 used, 0 dropped; 6 tokens"));
    CHECK(has(with(nlohmann::ordered_json::array({bytes})), "1 used, 0 dropped; 7 tokens"));
}

// tokenizers 0.23.3: ["▁the", "▁kite"]; "kit" has no token of its own: "▁", "k", "i", "t".
TEST_CASE("cases: a Unigram tokeniser takes the best sum of scores")
{
    if (!built("inspect")) { return; }
    const nlohmann::ordered_json space{
        {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "first"}, {"split", false}};
    auto pieces = nlohmann::ordered_json::array();
    for (const auto& [text, score] : std::vector<std::pair<std::string, double>>{{"<unk>", 0},
                                                                                 {"</s>", 0},
                                                                                 {"▁the", -2},
                                                                                 {"▁kite", -3},
                                                                                 {"▁", -4},
                                                                                 {"k", -5},
                                                                                 {"i", -5},
                                                                                 {"t", -5},
                                                                                 {"e", -5}}) {
        pieces.push_back(nlohmann::ordered_json::array({text, score}));
    }
    const Words words({{"added_tokens", {added(0, "<unk>"), added(1, "</s>")}},
                       {"pre_tokenizer", space},
                       {"decoder", space},
                       {"model", {{"type", "Unigram"}, {"unk_id", 0}, {"byte_fallback", false}, {"vocab", pieces}}}},
                      "</s>");
    CHECK(has(words.text("the kite"), "1 used, 0 dropped; 3 tokens"));
    CHECK(has(words.text("the kite"), "the« kite</s>»"));
    CHECK(has(words.text("the kit"), "1 used, 0 dropped; 6 tokens"));
}

// tokenizers 0.23.3: "a<end>\nb" is ["a", "<end>\n", "\n", "b"].
TEST_CASE("cases: white space that a token takes along comes again where it is a token")
{
    if (!built("inspect")) { return; }
    const auto with = [](bool rstrip) {
        return Words(
                   {{"added_tokens", {added(2, "<end>", rstrip), added(3, "\n", false, false)}},
                    {"decoder", {{"type", "ByteLevel"}}},
                    {"model", {{"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}}}, {"merges", nlohmann::json::array()}}}},
                   "<end>")
            .text("a<end>\nb<end>");
    };
    CHECK(has(with(true), "1 used, 0 dropped; 5 tokens"));
    CHECK(has(with(false), "1 used, 0 dropped; 5 tokens"));
    CHECK(has(with(true), "a«<end>\\x0a"));
}

TEST_CASE("cases: an adapter whose keys carry its name says what it says without")
{
    if (!built("generate") || !built("finetune")) { return; }
    const TempFolder temp;
    const std::string plain = (temp / "plain").string(), named = (temp / "named").string();
    const auto trained =
        run("finetune",
            {"--model", small_model(), "--data", std::string(GRAFT_EXAMPLES_DIR) + "/data/conversations.jsonl",
             "--template", "zephyr", "--output", plain, "--rank", "2", "--steps", "2", "--lr", "0.05", "--quiet"});
    CAPTURE(trained.err);
    REQUIRE(trained.status == 0);
    for (const std::string name : {"default", "my_adapter"}) {
        copy_folder(plain, named);
        auto file = Tensors::read(fs::path(named) / "adapter_model.safetensors");
        for (auto& tensor : file.list) { tensor.name.insert(tensor.name.rfind(".weight"), "." + name); }
        file.write(fs::path(named) / "adapter_model.safetensors");
        const auto asked = [&](const std::string& adapter) {
            Arguments arguments{"--model", small_model(), "--prompt", "Once upon a time", "--max-tokens", "16"};
            if (!adapter.empty()) { arguments.insert(arguments.end(), {"--adapter", adapter}); }
            const auto ended = run("generate", arguments);
            CHECK(ended.status == 0);
            return ended.out;
        };
        CHECK(asked(named) == asked(plain));
        CHECK(asked(named) != asked(""));
    }
}
