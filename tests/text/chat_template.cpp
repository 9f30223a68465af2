#include "graft/text/chat_template.hpp"
#include "files.hpp"
#include "graft/text/named_templates.hpp"
#include "support.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <fstream>

namespace {

using Json = nlohmann::ordered_json;
using graft::ChatTemplate;

Json read(const std::filesystem::path& path)
{
    std::ifstream in(path);
    REQUIRE_MESSAGE(in.good(), path.string());
    return Json::parse(in);
}

ChatTemplate::SpecialTokens tokens_of(const Json& golden)
{
    ChatTemplate::SpecialTokens out;
    for (const char* name : {"bos_token", "eos_token"}) {
        if (golden.contains(name) && golden[name].is_string()) { out[name] = golden[name].get<std::string>(); }
    }
    return out;
}

// Renders every case of golden.json with the templates beside it; the numbers of texts, refusals and marked texts.
struct Counts {
    int texts = 0, refusals = 0, marked = 0;
};

Counts check_golden(const std::filesystem::path& folder)
{
    using namespace std::chrono;
    const Json golden = read(folder / "golden.json"), conversations = read(folder / "conversations.json");
    Counts counts;
    for (const auto& [template_name, cases] : golden["templates"].items()) {
        const auto& name = template_name;  // clang 14 captures no structured binding
        ChatTemplate chat = ChatTemplate::file(folder / (name + ".jinja"), tokens_of(cases));
        chat.options.now = sys_days{2024y / 7 / 26};
        for (const auto& row : cases["cases"]) {
            const Json& conversation = conversations[row["conversation"].get<std::string>()];
            Json extra = Json::object();
            if (conversation.contains("tools")) { extra["tools"] = conversation["tools"]; }
            if (row.contains("enable_thinking")) { extra["enable_thinking"] = row["enable_thinking"]; }
            const bool prompt = row["add_generation_prompt"];
            INFO(name << " " << row["conversation"] << " " << prompt);
            if (row.contains("error")) {
                CHECK_THROWS_AS(chat.render(conversation["messages"], prompt, extra), graft::Error);
                ++counts.refusals;
                continue;
            }
            const auto rendered = chat.render_marked(conversation["messages"], prompt, extra);
            CHECK(rendered.text == row["text"].get<std::string>());
            ++counts.texts;
            if (!row.contains("generation_byte_spans")) { continue; }
            ++counts.marked;
            Json spans = Json::array();
            for (const auto& span : rendered.generation) { spans.push_back({span.begin, span.end}); }
            CHECK(spans == row["generation_byte_spans"]);
        }
    }
    return counts;
}

const ChatTemplate::SpecialTokens llama2{{"bos_token", "<s>"}, {"eos_token", "</s>"}};

Json messages(std::initializer_list<std::pair<const char*, const char*>> turns)
{
    Json out = Json::array();
    for (const auto& [role, content] : turns) { out.push_back({{"role", role}, {"content", content}}); }
    return out;
}

}  // namespace

TEST_CASE("published templates render as Jinja2 does: the three in the repository")
{
    const Counts counts = check_golden(graft_test::repo() / "data" / "chat_templates");
    CHECK(counts.texts > 60);
    CHECK(counts.refusals > 5);
    CHECK(counts.marked > 10);
}

TEST_CASE("published templates render as Jinja2 does: all 26")
{
    const auto data = graft_test::data();
    if (!data) { return graft_test::skip("GRAFT_TEST_DATA is not set"); }
    const Counts counts = check_golden(*data / "data" / "chat_templates");
    CHECK(counts.texts + counts.refusals == 812);
    CHECK(counts.marked == 262);  // with and without generation prompt
}

TEST_CASE("named templates render as the recorded ones do")
{
    const auto data = graft_test::data();
    if (!data) { return graft_test::skip("GRAFT_TEST_DATA is not set"); }
    const auto folder = *data / "data" / "chat_templates";
    const Json golden = read(folder / "named_golden.json"), conversations = read(folder / "conversations.json");
    for (const auto& [our_name, theirs] : {std::pair{"chatml", "chatml"},
                                           {"llama3", "llama-3"},
                                           {"mistral", "mistral"},
                                           {"zephyr", "zephyr"},
                                           {"gemma", "gemma"}}) {
        const auto& ours = our_name;
        const Json& cases = golden["unsloth"][theirs];
        const auto chat = ChatTemplate::named(ours, tokens_of(cases));
        CHECK(cases["cases"].size() == 24);
        for (const auto& row : cases["cases"]) {
            INFO(ours << " " << row["conversation"]);
            CHECK(chat.render(conversations[row["conversation"].get<std::string>()]["messages"],
                              row["add_generation_prompt"])
                  == row["text"].get<std::string>());
        }
    }

    const Json& alpaca = golden["alpaca_single_turn"];
    const auto chat = ChatTemplate::named("alpaca", llama2);
    for (std::size_t i = 0; i < alpaca["rows"].size(); ++i) {
        const Json &row = alpaca["rows"][i], &form = alpaca["forms"]["stanford"][i];
        const Json extra = {{"instruction", row["instruction"]}, {"input", row["input"]}};
        Json turns = {{{"role", "user"}, {"content", "whatever the data layer puts here"}}};
        const std::string prompt = form["prompt"].get<std::string>();
        CHECK(chat.render(turns, true, extra) == prompt);
        turns.push_back({{"role", "assistant"}, {"content", row["output"]}});
        CHECK(chat.render(turns, false, extra) == prompt + form["answer"].get<std::string>());
    }
}

TEST_CASE("alpaca: one turn, with input, several turns, a system text")
{
    const auto chat = ChatTemplate::named("alpaca", llama2);
    const std::string start = "Below is an instruction that describes a task. Write a response that appropriately "
                              "completes the request.\n\n### Instruction:\n";
    CHECK(chat.render(messages({{"user", "U"}}), true) == start + "U\n\n### Response:");
    CHECK(chat.render(messages({{"user", "U"}}), true, {{"instruction", "I"}, {"input", ""}})
          == start + "I\n\n### Response:");
    CHECK(chat.render(messages({{"user", "U"}}), true, {{"instruction", "I"}, {"input", nullptr}})
          == start + "I\n\n### Response:");
    CHECK(
        chat.render(messages({{"user", "U"}}), true, {{"instruction", "I"}, {"input", "C"}})
        == "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
           "response that appropriately completes the request.\n\n### Instruction:\nI\n\n### Input:\nC\n\n### "
           "Response:");
    CHECK(chat.render(messages({{"user", "U"}, {"assistant", "A"}, {"user", "V"}, {"assistant", "B"}}))
          == start + "U\n\n### Response:A</s>\n\n### Instruction:\nV\n\n### Response:B</s>");
    CHECK(chat.render(messages({{"system", "S"}, {"user", "U"}})) == "S\n\n### Instruction:\nU\n\n### Response:");
    CHECK_THROWS_AS(chat.render(messages({{"user", "U"}, {"tool", "T"}})), graft::TemplateRefusal);
}

TEST_CASE("a refusal carries the template's own reason")
{
    const auto chat = ChatTemplate::named("zephyr", llama2);
    try {
        chat.render(messages({{"tool", "x"}}));
        FAIL("not refused");
    } catch (const graft::TemplateRefusal& refusal) {
        CHECK(refusal.reason() == "zephyr has no place for a message of the role tool");
        CHECK(std::string(refusal.what()).find("\"zephyr\", line 3") != std::string::npos);
    }
}

TEST_CASE("names and files that are not there are refused with what there is")
{
    CHECK(graft::named_template_names()
          == std::vector<std::string>{"alpaca", "chatml", "gemma", "llama3", "mistral", "zephyr"});
    CHECK_THROWS_WITH_AS(
        ChatTemplate::named("vicuna", {}),
        "there is no chat template named \"vicuna\"; the named ones are alpaca, chatml, gemma, llama3, "
        "mistral, zephyr",
        graft::Error);
    CHECK_THROWS_WITH_AS(ChatTemplate::file("no/such.jinja", {}),
                         "cannot read the chat template no/such.jinja: there is no such file", graft::Error);
    CHECK_THROWS_AS(ChatTemplate::file(graft_test::repo(), {}), graft::Error);
}

TEST_CASE("the checkpoint's own template, and a checkpoint without one")
{
    const std::string tokenizer = R"({"model": {"type": "BPE", "vocab": {"a": 0, "</s>": 1}, "merges": []},
        "added_tokens": [{"id": 1, "content": "</s>", "special": true}]})";
    const auto with = graft::Tokenizer::parse(
        tokenizer, R"({"eos_token": "</s>", "chat_template": "{{ messages[0].content + eos_token }}"})");
    CHECK(ChatTemplate::own(with).render(messages({{"user", "a"}})) == "a</s>");
    CHECK_THROWS_WITH_AS(
        ChatTemplate::own(graft::Tokenizer::parse(tokenizer)),
        "the checkpoint has no chat template (neither chat_template.jinja nor chat_template in "
        "tokenizer_config.json); choose one by name (alpaca, chatml, gemma, llama3, mistral, zephyr) or "
        "give a file",
        graft::Error);
}

namespace {

const char* const with_tools = "{{ 'TOOLS ' + (tools | tojson) }}{% for m in messages %}{{ m.content }}{% endfor %}";

graft::Tokenizer tokenizer_with(const Json& templates)
{
    return graft::Tokenizer::parse(R"({"model": {"type": "BPE", "vocab": {"a": 0, "</s>": 1}, "merges": []},
        "added_tokens": [{"id": 1, "content": "</s>", "special": true}]})",
                                   Json{{"eos_token", "</s>"}, {"chat_template", templates}}.dump());
}

}  // namespace

TEST_CASE("several templates: a conversation with tools takes tool_use, any other default")
{
    const Json tools = {{"tools", {{{"name", "f"}}}}}, none = {{"tools", Json::array()}}, null = {{"tools", nullptr}};
    const Json said = messages({{"user", "a"}});
    const Json list = {{{"name", "default"}, {"template", "D{{ messages[0].content }}"}},
                       {{"name", "tool_use"}, {"template", with_tools}},
                       {{"name", "rag"}, {"template", "R"}}};
    Json mapping;
    for (const auto& each : list) { mapping[each["name"].get<std::string>()] = each["template"]; }
    for (const auto& both : {list, mapping}) {
        const auto tokenizer = tokenizer_with(both);
        const auto chat = ChatTemplate::own(tokenizer);
        CHECK(chat.render(said) == "Da");
        CHECK(chat.render(said, false, none) == "Da");
        CHECK(chat.render(said, false, null) == "Da");
        CHECK(chat.render(said, false, tools) == R"(TOOLS [{"name": "f"}]a)");
        CHECK(chat.chosen(tools) == "tool_use");
        CHECK(chat.chosen(none) == "default");
        CHECK(tokenizer.chat_template() == "D{{ messages[0].content }}");
        CHECK(ChatTemplate::own(tokenizer, "rag").render(said, false, tools) == "R");
        CHECK_THROWS_WITH_AS(ChatTemplate::own(tokenizer, "rags"),
                             "the checkpoint has no chat template named \"rags\"; its own are default, rag, tool_use",
                             graft::Error);
    }
    // One alone is for all; it has no name to tell.
    const auto one = ChatTemplate::own(tokenizer_with("one"));
    CHECK(one.render(said, false, tools) == "one");
    CHECK(one.chosen(tools).empty());
    CHECK(ChatTemplate::own(tokenizer_with({{"default", "one"}})).render(said, false, tools) == "one");
    // Tools without tool_use: the default. No default: only what fits.
    CHECK(ChatTemplate::own(tokenizer_with({{"default", "d"}, {"rag", "r"}})).render(said, false, tools) == "d");
    const auto unnamed = ChatTemplate::own(tokenizer_with({{"rag", "r"}, {"tool_use", "t"}}));
    CHECK(unnamed.render(said, false, tools) == "t");
    CHECK_THROWS_WITH_AS(
        unnamed.render(said),
        "the checkpoint's own chat templates are rag, tool_use, and none of them is for a conversation without tools "
        "(none is named default); choose one with --template model:NAME",
        graft::Error);
    CHECK_THROWS_AS(tokenizer_with({{"default", 1}}), graft::Error);
    CHECK_THROWS_AS(tokenizer_with(Json::array({{{"name", "x"}}})), graft::Error);
    CHECK_THROWS_AS(tokenizer_with(7), graft::Error);
}

TEST_CASE("several templates: files beside chat_template.jinja win over the config")
{
    const graft_test::TempFolder scratch;
    const auto folder = scratch.path();
    const auto write = [&](const std::filesystem::path& name, const std::string& text) {
        std::filesystem::create_directories((folder / name).parent_path());
        std::ofstream(folder / name, std::ios::binary) << text;
    };
    write("tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})");
    write("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "config"}]})");
    const auto names = [&] {
        std::string out;
        const auto tokenizer = graft::Tokenizer::load(folder);
        for (const auto& [name, text] : tokenizer.chat_templates()) { out += name + "=" + text + " "; }
        return out;
    };
    CHECK(names() == "default=config ");
    write("additional_chat_templates/tool_use.jinja", "tools");
    write("additional_chat_templates/notes.txt", "none");
    CHECK(names() == "tool_use=tools ");  // as in transformers
    write("chat_template.jinja", "file");
    CHECK(names() == "default=file tool_use=tools ");
    write("additional_chat_templates/rag.jinja", "\xff");
    CHECK_THROWS_AS(names(), graft::Error);
}

TEST_CASE("variables: an empty list of tools is none, extra ones win")
{
    const auto chat = ChatTemplate::from_text(
        "{{ tools is none }} {{ documents is none }} {{ bos_token }} {{ add_generation_prompt }} {{ own }}", "t",
        llama2);
    const Json none = Json::array();
    CHECK(chat.render(none) == "True True <s> False ");
    CHECK(chat.render(none, true, {{"tools", Json::array()}, {"own", 1}, {"bos_token", "B"}}) == "True True B True 1");
    CHECK_THROWS_AS(chat.render(Json("text")), graft::Error);
    CHECK_THROWS_AS(chat.render(none, false, Json::array({1})), graft::Error);
}
