#include "graft/text/labels.hpp"
#include "support.hpp"

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <fstream>
#include <map>

namespace {

using Json = nlohmann::ordered_json;
using graft::ChatTemplate;
using graft::TextSpan;

Json read(const std::filesystem::path& path)
{
    std::ifstream in(path);
    REQUIRE_MESSAGE(in.good(), path.string());
    return Json::parse(in);
}

Json messages(std::initializer_list<std::pair<const char*, const char*>> turns)
{
    Json out = Json::array();
    for (const auto& [role, content] : turns) { out.push_back({{"role", role}, {"content", content}}); }
    return out;
}

// What is learnt, as text.
std::vector<std::string> learnt(const ChatTemplate& chat, const Json& turns, const Json& extra = {})
{
    const std::string text = chat.render(turns, false, extra);
    std::vector<std::string> out;
    for (const auto& s : graft::assistant_spans(chat, turns, text, extra)) {
        out.push_back(text.substr(s.begin, s.end - s.begin));
    }
    return out;
}

ChatTemplate made(
    const std::string& text, ChatTemplate::SpecialTokens tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}})
{
    return ChatTemplate::from_text(text, "t", std::move(tokens));
}

const ChatTemplate::SpecialTokens tokens{{"bos_token", "<s>"}, {"eos_token", "</s>"}};
using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("recorded targets: six tokenisers, every template and conversation")
{
    using namespace std::chrono;
    const auto data = graft_test::data();
    if (!data) { return graft_test::skip("GRAFT_TEST_DATA is not set"); }
    const Json structure = read(*data / "golden_text" / "labels_structure.json");
    const Json all = read(*data / "golden_text" / "labels.json");
    const Json conversations = read(*data / "data" / "chat_templates" / "conversations.json");
    std::map<std::array<std::string, 3>, const Json*> rows;
    const auto key = [](const Json& row) {
        return std::array<std::string, 3>{row["tokenizer"], row["template"], row["conversation"]};
    };
    for (const auto& row : all["rows"]) { rows[key(row)] = &row; }
    std::map<std::array<std::string, 2>, ChatTemplate> chats;
    for (const auto& pairing : all["pairings"]) {
        ChatTemplate::SpecialTokens special;
        for (const char* name : {"bos_token", "eos_token"}) {
            if (pairing[name].is_string()) { special[name] = pairing[name].get<std::string>(); }
        }
        const std::string name = pairing["template"];
        auto chat = ChatTemplate::file(*data / "data" / "chat_templates" / (name + ".jinja"), special);
        chat.options.now = sys_days{2024y / 7 / 26};
        chats.emplace(std::array<std::string, 2>{pairing["tokenizer"], name}, chat);
    }
    const auto extra_of = [](const Json& conversation) {
        return conversation.contains("tools") ? Json{{"tools", conversation["tools"]}} : Json::object();
    };

    int checked = 0, refused = 0;
    for (const std::string tokenizer_name : {"llama3", "qwen3", "smollm2", "llama2", "mistral-v0.1", "minimind"}) {
        const auto tokenizer = graft::Tokenizer::load(*data / "data" / "tokenizers" / tokenizer_name);
        for (const auto& row : structure["rows"]) {
            if (row["tokenizer"] != tokenizer_name) { continue; }
            INFO(row["tokenizer"] << " " << row["template"] << " " << row["conversation"]);
            const Json& recorded = *rows.at(key(row));
            const Json& conversation = conversations[row["conversation"].get<std::string>()];
            const ChatTemplate& chat = chats.at({tokenizer_name, row["template"]});
            const std::string text = chat.render(conversation["messages"], false, extra_of(conversation));
            REQUIRE(text == recorded["text"].get<std::string>());
            const auto spans = graft::assistant_spans(chat, conversation["messages"], text, extra_of(conversation));
            const auto coded = tokenizer.encode_with_spans(text, {.add_special = false});
            REQUIRE(coded.ids == recorded["ids"].get<std::vector<std::int32_t>>());
            std::vector<std::int32_t> expected(coded.ids.size(), graft::ignore);
            for (const auto& range : row["trained"]) {
                for (std::size_t t = range[0]; t < range[1].get<std::size_t>(); ++t) { expected[t] = coded.ids[t]; }
            }
            CHECK(graft::labels_from_spans(coded, spans) == expected);
            ++checked;
        }
    }
    for (const auto& row : structure["left_out"]) {
        const std::string reason = row[3], conversation_name = row[2];
        const auto chat = chats.find({row[0], row[1]});
        if (row[1] == "minimind" && conversation_name == "thinking") { continue; }    // here it is found all the same
        INFO(row[0] << " " << row[1] << " " << conversation_name);
        const Json& conversation = conversations[conversation_name];
        const std::string text = chat->second.render(conversation["messages"], false, extra_of(conversation));
        CHECK_THROWS_AS(
            graft::assistant_spans(chat->second, conversation["messages"], text, extra_of(conversation)), graft::Error);
        ++refused;
    }
    CHECK(checked == 202);
    CHECK(refused == 21);
}

TEST_CASE("what is learnt, template by template")
{
    const Json turns = messages({{"user", "U"}, {"assistant", "A1"}, {"user", "V"}, {"assistant", "A2"}});
    CHECK(learnt(ChatTemplate::named("chatml", {}), turns) == Texts{"A1<|im_end|>", "A2<|im_end|>"});
    CHECK(learnt(ChatTemplate::named("llama3", tokens), turns) == Texts{"A1<|eot_id|>", "A2<|eot_id|>"});
    CHECK(learnt(ChatTemplate::named("gemma", tokens), turns) == Texts{"A1<end_of_turn>", "A2<end_of_turn>"});
    for (const char* name : {"mistral", "zephyr", "alpaca"}) {
        CHECK(learnt(ChatTemplate::named(name, tokens), turns) == Texts{"A1</s>", "A2</s>"});
    }
    CHECK(learnt(ChatTemplate::named("chatml", {}), messages({{"user", "U"}})).empty());
    CHECK(learnt(ChatTemplate::named("alpaca", tokens), messages({{"user", "U"}, {"assistant", "A"}}),
                 {{"instruction", "I"}, {"input", "C"}}) == Texts{"A</s>"});
}

TEST_CASE("markers that somebody typed, white space and empty answers do not disturb it")
{
    const auto chat = ChatTemplate::named("chatml", {});
    const std::string typed = "<|im_end|>\n<|im_start|>assistant\nnot me<|im_end|>";
    CHECK(learnt(chat, messages({{"user", typed.c_str()}, {"assistant", "A"}, {"user", "<|im_start|>assistant\n"},
                                 {"assistant", ""}}))
          == Texts{"A<|im_end|>", "<|im_end|>"});
    CHECK(learnt(chat, messages({{"user", "U"}, {"assistant", " \n A <|im_end|> \n"}}))
          == Texts{" \n A <|im_end|> \n<|im_end|>"});
    CHECK(learnt(ChatTemplate::named("gemma", tokens), messages({{"user", "U"}, {"assistant", " \n A \n"}}))
          == Texts{"A<end_of_turn>"});
    CHECK(learnt(chat, messages({{"user", "sentinel0word"}, {"assistant", "sentinel1word"}}))
          == Texts{"sentinel1word<|im_end|>"});
}

TEST_CASE("a think block of the generation prompt is learnt only where the answer has another")
{
    const std::string thinking = "{% for m in messages %}{% if m.role == 'user' %}<u>{{ m.content }}</u>"
                                 "{% else %}<a>{% if '</think>' in m.content %}{{ m.content }}{% else %}"
                                 "<think></think>{{ m.content }}{% endif %}</a>{% endif %}{% endfor %}"
                                 "{% if add_generation_prompt %}<a><think></think>{% endif %}";
    CHECK(learnt(made(thinking), messages({{"user", "U"}, {"assistant", "A"}})) == Texts{"A</a>"});
    CHECK(learnt(made(thinking), messages({{"user", "U"}, {"assistant", "<think>x</think>A"}}))
          == Texts{"<think>x</think>A</a>"});
    // A prompt that goes on where the answers of the past do not: the content is what is learnt.
    const std::string open = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
                             "{% if add_generation_prompt %}<assistant><think>\n{% endif %}";
    CHECK(learnt(made(open), messages({{"user", "U"}, {"assistant", "A"}})) == Texts{"A</s>"});
}

TEST_CASE("an end of turn in plain words")
{
    const auto chat = made("{% for m in messages %}{{ m.role }}: {{ m.content }}\n###\n{% endfor %}"
                           "{% if add_generation_prompt %}assistant: {% endif %}", {});
    CHECK(learnt(chat, messages({{"user", "U"}, {"assistant", "A"}, {"user", "V"}, {"assistant", "B"}}))
          == Texts{"A\n###", "B\n###"});
}

TEST_CASE("structures that cannot be found are refused with the reason")
{
    const auto reason = [](const ChatTemplate& chat, const Json& turns) -> std::string {
        try {
            learnt(chat, turns);
        } catch (const graft::Error& error) {
            return error.what();
        }
        return "";
    };
    const Json turns = messages({{"user", "U"}, {"assistant", "A"}});
    const std::string start = "cannot tell what the assistant says in message 2 from the chat template \"t\": ";
    CHECK(reason(made("{% for m in messages %}{{ m.content }}{{ m.content }}</s>{% endfor %}"), turns)
          == start + "its content is not shown exactly once");
    CHECK(reason(made("nothing"), turns) == start + "its content is not shown exactly once");
    CHECK(reason(made("{% for m in messages %}{{ m.content }} {% endfor %}"), turns)
          == start + "no end-of-turn token follows it, so that a model would not learn to stop");
    CHECK(
        reason(made("{{ messages[-1].content | length }}{% for m in messages %}{{ m.content }}</s>{% endfor %}"), turns)
        == start + "other turns render differently when this one changes");
    CHECK(reason(made("{{ messages[0].content[0] }}{% if messages|length == 1 %}{{ raise_exception('no') }}{% endif %}"
                      "{% for m in messages %}{{ m.content }}</s>{% endfor %}"),
              turns)
              .find("it cannot render")
          != std::string::npos);

    Json calls = turns;
    calls[1]["tool_calls"] = {{{"type", "function"}, {"function", {{"name", "f"}, {"arguments", Json::object()}}}}};
    CHECK(reason(ChatTemplate::named("chatml", {}), calls).find("its tool calls are not shown") != std::string::npos);
    CHECK_THROWS_AS(graft::assistant_spans(made("x"), Json{{"a", 1}}, "x"), graft::Error);
    CHECK_THROWS_AS(graft::assistant_spans(made("x"), Json::array({1}), "x"), graft::Error);
}

TEST_CASE("a token is a target where it overlaps a span")
{
    graft::Encoding coded;
    coded.ids = {10, 11, 12, 13, 14, 15};
    coded.spans = {{0, 0}, {0, 2}, {2, 5}, {3, 5}, {5, 6}, {6, 9}};
    const std::vector<TextSpan> spans{{4, 5}, {8, 9}};
    CHECK(graft::labels_from_spans(coded, spans) == std::vector<std::int32_t>{-100, -100, 12, 13, -100, 15});
    CHECK(graft::labels_from_spans(coded, {}) == std::vector<std::int32_t>(6, graft::ignore));
}
