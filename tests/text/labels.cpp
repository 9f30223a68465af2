#include "graft/text/labels.hpp"
#include "graft/core/labels.hpp"
#include "graft/text/named_templates.hpp"
#include "support.hpp"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
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

ChatTemplate made(const std::string& text,
                  ChatTemplate::SpecialTokens tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}})
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
        // Here these are found all the same.
        if ((row[1] == "minimind" && conversation_name == "thinking") || conversation_name == "assistant_first") {
            continue;
        }
        INFO(row[0] << " " << row[1] << " " << conversation_name);
        const Json& conversation = conversations[conversation_name];
        const std::string text = chat->second.render(conversation["messages"], false, extra_of(conversation));
        CHECK_THROWS_AS(graft::assistant_spans(chat->second, conversation["messages"], text, extra_of(conversation)),
                        graft::Error);
        ++refused;
    }
    CHECK(checked == 202);
    CHECK(refused == 10);
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
                 {{"instruction", "I"}, {"input", "C"}})
          == Texts{"A</s>"});
}

TEST_CASE("markers that somebody typed, white space and empty answers do not disturb it")
{
    const auto chat = ChatTemplate::named("chatml", {});
    const std::string typed = "<|im_end|>\n<|im_start|>assistant\nnot me<|im_end|>";
    CHECK(learnt(chat, messages({{"user", typed.c_str()},
                                 {"assistant", "A"},
                                 {"user", "<|im_start|>assistant\n"},
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
                           "{% if add_generation_prompt %}assistant: {% endif %}",
                           {});
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
    CHECK(
        reason(made("{% for m in messages %}{{ m.content }} {% endfor %}"), turns)
        == start
               + "no end-of-turn token follows it, so that a model would not learn to stop; give --template a file that "
                 "ends every answer, or the name of another (alpaca, chatml, gemma, llama3, mistral, zephyr)");
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

TEST_CASE("an assistant that speaks first, and one that speaks twice")
{
    const auto chat = made("{% if messages[0].role == 'system' %}<system>{{ messages[0].content }}</s>{% else %}"
                           "<system>You help.</s>{% endif %}{% for m in messages if m.role != 'system' %}"
                           "<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
                           "{% if add_generation_prompt %}<assistant>{% endif %}");
    CHECK(learnt(chat, messages({{"assistant", "A"}, {"user", "U"}, {"assistant", "B"}})) == Texts{"A</s>", "B</s>"});
    CHECK(learnt(chat, messages({{"system", "S"}, {"assistant", "A"}, {"user", "U"}})) == Texts{"A</s>"});
    CHECK(learnt(chat, messages({{"assistant", "A"}, {"assistant", "B"}})) == Texts{"A</s>", "B</s>"});
    CHECK(learnt(chat, messages({{"user", "<assistant>A</s><assistant>"}, {"assistant", "A"}, {"assistant", "<user>"}}))
          == Texts{"A</s>", "<user></s>"});
    CHECK(learnt(chat, messages({{"assistant", ""}})) == Texts{"</s>"});

    const auto data = graft_test::data();
    if (!data) { return graft_test::skip("GRAFT_TEST_DATA is not set"); }
    for (const char* name : {"qwen2_5", "qwen3", "qwen3_instruct_2507", "llama3_1", "llama3_2", "smollm2_instruct",
                             "minimind", "phi3", "llama3", "tinyllama_chat"}) {
        INFO(name);
        const auto file = ChatTemplate::file(*data / "data/chat_templates" / (std::string(name) + ".jinja"), tokens);
        for (const auto& turns :
             {messages({{"assistant", "Ahoy."}, {"user", "Where?"}, {"assistant", "There."}}),
              messages({{"system", "S"}, {"assistant", "Ahoy."}, {"user", "W"}, {"assistant", "There."}}),
              messages({{"user", "U"}, {"assistant", "Ahoy."}, {"assistant", "There."}})}) {
            const auto said = learnt(file, turns);
            REQUIRE(said.size() == 2);
            CHECK(said[0].starts_with("Ahoy."));
            CHECK(said[0].size() > 5);
            CHECK(said[1].find("There.") != std::string::npos);
            CHECK(said[1].find("Ahoy") == std::string::npos);
        }
    }
}

namespace {

Json called(const char* content, std::initializer_list<const char*> names)
{
    Json message = {{"role", "assistant"}, {"content", content}, {"tool_calls", Json::array()}};
    for (const char* name : names) {
        message["tool_calls"].push_back(
            {{"id", name}, {"type", "function"}, {"function", {{"name", name}, {"arguments", {{"owner", "</s>"}}}}}});
    }
    return message;
}

Json tool(const char* content) { return {{"role", "tool"}, {"content", content}}; }

// Prints what tools say inside the turn of their calls: behind all of them, behind each, or behind the text.
std::string inside(const char* where)
{
    const std::string at = where;
    const std::string results = "{% for later in rest %}{% if later.role == 'tool' and not ns.stop %}"
                                "{{ '<r>' + later.content + '</r>' }}{% else %}{% set ns.stop = true %}{% endif %}"
                                "{% endfor %}";
    const std::string each =
        "{% if rest|length > loop.index0 and rest[loop.index0].role == 'tool' %}{{ '<r>' + rest[loop.index0].content + '</r>' }}"
        "{% endif %}";
    return "{% for m in messages %}{% set rest = messages[loop.index:] %}{% set ns = namespace(stop=false) %}"
           "{% if m.role == 'assistant' %}<|turn>model\n{% if m.tool_calls %}{% for c in m.tool_calls %}"
           "{{ '<c>' + c.function.name + '</c>' }}"
           + (at == "each" ? each : "") + "{% endfor %}" + (at == "all" ? results : "") + "{% endif %}{{ m.content }}"
           + (at == "end" ? "{% if m.tool_calls %}" + results + "{% endif %}" : "")
           + "<turn|>\n"
             "{% elif m.role == 'user' %}{{ '<|turn>user\n' + m.content + '<turn|>\n' }}{% endif %}{% endfor %}"
             "{% if add_generation_prompt %}<|turn>model\n{% endif %}";
}

}  // namespace

TEST_CASE("what tools say is not learnt where a template prints it inside the assistant's turn")
{
    const Json ask = {{"role", "user"}, {"content", "Where?"}}, last = {{"role", "assistant"}, {"content", "Nine."}};
    for (const char* result : {"TREE NINE", "I looked.", "</r>I looked.<turn|>\n", "</c>", ""}) {
        INFO(result);
        const Json turns = Json::array({ask, called("I looked.", {"find"}), tool(result), last});
        const Texts cut = *result != 0 ? Texts{"<c>find</c>", "I looked.<turn|>", "Nine.<turn|>"}
                                       : Texts{"<c>find</c><r></r>I looked.<turn|>", "Nine.<turn|>"};
        CHECK(learnt(made(inside("all")), turns) == cut);
        CHECK(learnt(made(inside("each")), turns) == cut);
    }
    const Json two = Json::array({ask, called("Both.", {"find", "look"}), tool("ONE"), tool("TWO"), last});
    CHECK(learnt(made(inside("all")), two) == Texts{"<c>find</c><c>look</c>", "Both.<turn|>", "Nine.<turn|>"});
    CHECK(learnt(made(inside("each")), two) == Texts{"<c>find</c>", "<c>look</c>", "Both.<turn|>", "Nine.<turn|>"});
    CHECK(learnt(made(inside("end")), two) == Texts{"<c>find</c><c>look</c>Both.", "<turn|>", "Nine.<turn|>"});
    CHECK(learnt(made(inside("all")), Json::array({ask, called("", {"find"}), tool("ONE"), last, ask, last}))
          == Texts{"<c>find</c>", "<turn|>", "Nine.<turn|>", "Nine.<turn|>"});
    // What a user says there is nobody's to guess at.
    const auto asked =
        made("{% for m in messages %}{% if m.role == 'assistant' %}<a>{{ '<q>' + messages[0].content + "
             "'</q>' + m.content }}</a>{% endif %}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}");
    CHECK_THROWS_WITH_AS(
        learnt(asked, Json::array({ask, last})),
        "cannot tell what the assistant says in message 2 from the chat template \"t\": what message 1 says is shown "
        "inside of it",
        graft::Error);
    // A template that writes results in a turn of their own.
    const auto own = made("{% for m in messages %}<{{ m.role }}>{% for c in m.tool_calls or [] %}"
                          "<c>{{ c.function.name }}</c>{% endfor %}{{ m.content }}</s>{% endfor %}"
                          "{% if add_generation_prompt %}<assistant>{% endif %}");
    CHECK(learnt(own, two) == Texts{"<c>find</c><c>look</c>Both.</s>", "Nine.</s>"});
}

TEST_CASE("reasoning that a template writes as a message of its own belongs to its answer")
{
    const auto chat =
        made("{% for m in messages %}{% if m.role == 'assistant' %}{% if m.reasoning_content %}"
             "<|start|>assistant|self|{{ m.reasoning_content }}<|end|>{% endif %}"
             "{% for c in m.tool_calls or [] %}<|start|>assistant|{{ c.function.name }}|{}<|end|>{% endfor %}"
             "{% if m.content %}<|start|>assistant|user|{{ m.content }}<|end|>{% endif %}"
             "{% else %}<|start|>{{ m.role }}|{{ m.content }}<|end|>{% endif %}{% endfor %}"
             "{% if add_generation_prompt %}<|start|>assistant{% endif %}");
    const Json ask = {{"role", "user"}, {"content", "Where?"}}, plain = {{"role", "assistant"}, {"content", "Here."}};
    const Texts said{"|user|Here.<|end|>", "|self|hm<|end|><|start|>assistant|user|There.<|end|>"};
    const auto thinks = [](Json turn, const char* thought) {
        turn["reasoning_content"] = thought;
        return turn;
    };
    const Json there = {{"role", "assistant"}, {"content", "There."}};
    CHECK(learnt(chat, Json::array({ask, plain, ask, thinks(there, "hm")})) == said);
    CHECK(learnt(chat, Json::array({ask, thinks(there, "hm"), ask, plain})) == Texts{said[1], said[0]});
    CHECK(learnt(chat, Json::array({ask, plain, ask, thinks(there, "hm"), ask, plain, ask, thinks(there, "hm")}))
          == Texts{said[0], said[1], said[0], said[1]});
    CHECK(learnt(chat, Json::array({ask, plain, thinks(there, "hm")})) == said);
    // A thought that is any word, and one that holds the prompt.
    CHECK(learnt(chat, Json::array({ask, plain, ask, thinks(there, "thought")}))[1]
          == "|self|thought<|end|><|start|>assistant|user|There.<|end|>");
    CHECK(learnt(chat, Json::array({ask, plain, ask, thinks(there, "<|start|>assistant")}))[1]
          == "|self|<|start|>assistant<|end|><|start|>assistant|user|There.<|end|>");
    CHECK(learnt(chat, Json::array({ask, plain, ask, thinks(called("", {"find"}), "hm"), tool("ONE"), plain}))
          == Texts{said[0], "|self|hm<|end|><|start|>assistant|find|{}<|end|>", said[0]});
}

TEST_CASE("a template that checks the order of roles: calls stay where they are")
{
    // As Mistral's do: turns with calls and tools do not count, all others must alternate.
    const auto chat = made(
        "{{ bos_token }}{% set ns = namespace(n=0) %}{% for m in messages %}"
        "{% if m.role in ['user', 'assistant'] and not m.tool_calls %}"
        "{% if (m.role == 'user') != (ns.n % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
        "{% set ns.n = ns.n + 1 %}{% endif %}"
        "{% if m.role == 'user' %}[INST] {{ m.content }}[/INST]"
        "{% elif m.role == 'tool' %}[RESULTS] {{ m.content }}[/RESULTS]"
        "{% elif m.tool_calls %}[CALLS] {% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}{{ eos_token }}"
        "{% else %} {{ m.content + eos_token }}{% endif %}{% endfor %}");
    const Json ask = {{"role", "user"}, {"content", "[CALLS] Where?"}},
               last = {{"role", "assistant"}, {"content", "Nine."}};
    const std::string call = R"([CALLS] {"name": "find", "arguments": {"owner": "</s>"}}</s>)";
    CHECK(learnt(chat, Json::array({ask, called("", {"find"}), tool("ONE</s>"), last})) == Texts{call, "Nine.</s>"});
    CHECK(learnt(chat, Json::array({ask, last, ask, called("", {"find"}), tool("ONE"), last}))
          == Texts{"Nine.</s>", call, "Nine.</s>"});
    CHECK(learnt(chat, Json::array({ask, called("", {"find"})})) == Texts{call});
}

TEST_CASE("a template that leaves the last turn open says which named one does not")
{
    const auto reason = [](const ChatTemplate& chat, const Json& turns) -> std::string {
        try {
            learnt(chat, turns);
        } catch (const graft::Error& error) {
            return error.what();
        }
        return "";
    };
    const auto open = [](const std::string& head, const std::string& end) {
        return "{% for m in messages %}" + head + "{{ m.content }}{% if not loop.last or add_generation_prompt %}" + end
               + "{% endif %}{% endfor %}{% if add_generation_prompt %}{% set m = {'role': 'assistant'} %}" + head
               + "{% endif %}";
    };
    const Json turns = messages({{"user", "U"}, {"assistant", "A"}, {"user", "V"}, {"assistant", "B"}});
    const std::string start = "cannot tell what the assistant says in message 4 from the chat template \"t\": no "
                              "end-of-turn token follows it, so that a model would not learn to stop; ";
    CHECK(reason(made(open("<|im_start|>{{ m.role }}\n", "<|im_end|>\n")), turns)
          == start
                 + "it writes <|im_end|> only once another turn follows: --template chatml writes it behind every "
                   "answer");
    CHECK(reason(made(open("<|{{ m.role }}|>\n", "{{ eos_token }}\n")), turns).find("--template zephyr writes it")
          != std::string::npos);
    CHECK(reason(made(open("<{{ m.role }}>", "<|over|>")), turns)
          == start
                 + "it writes <|over|> only once another turn follows: give --template a file that ends every answer "
                   "with it");
    // SOLAR's ends no turn at all.
    const auto solar = made("{% for m in messages %}### {{ m.role }}:\n{{ m.content }}{% if m.role == 'user' %}\n\n"
                            "{% endif %}{% endfor %}{% if add_generation_prompt %}### assistant:\n{% endif %}");
    CHECK(reason(solar, turns).find("give --template a file that ends every answer") != std::string::npos);
}

TEST_CASE("a header in <…> of the next turn ends none")
{
    const auto chat = made("{% for m in messages if m.role != 'tool' %}<{{ m.role }}>{{ m.content }}{% endfor %}</s>"
                           "{% if add_generation_prompt %}<assistant>{% endif %}");
    CHECK_THROWS_AS(learnt(chat, Json::array({{{"role", "user"}, {"content", "U"}},
                                              {{"role", "assistant"}, {"content", "A"}},
                                              {{"role", "tool"}, {"content", ""}},
                                              {{"role", "assistant"}, {"content", "B"}}})),
                    graft::Error);
}

TEST_CASE("a conversation is rendered a fixed number of times, however many turns it has")
{
    std::vector<std::pair<std::string, ChatTemplate>> chats;
    for (const auto& name : graft::named_template_names()) {
        chats.emplace_back(name, ChatTemplate::named(name, tokens));
    }
    if (const auto data = graft_test::data()) {
        for (const char* name : {"qwen2_5", "qwen3", "llama3_1", "minimind", "mistral_instruct_v0_2", "deepseekv3"}) {
            chats.emplace_back(
                name, ChatTemplate::file(*data / "data/chat_templates" / (std::string(name) + ".jinja"), tokens));
        }
    }
    for (auto& each : chats) {
        const std::string& name = each.first;
        ChatTemplate& chat = each.second;
        INFO(name);
        std::vector<std::uint64_t> counts;
        for (const int answers : {2, 20, 400}) {
            Json turns = Json::array();
            for (int i = 0; i < answers; ++i) {
                turns.push_back({{"role", "user"}, {"content", "U" + std::to_string(i)}});
                turns.push_back({{"role", "assistant"}, {"content", "A" + std::to_string(i)}});
            }
            const auto text = chat.render(turns);
            std::atomic<std::uint64_t> renderings = 0;
            chat.options.renderings = &renderings;
            const auto spans = graft::assistant_spans(chat, turns, text);
            chat.options.renderings = nullptr;
            counts.push_back(renderings);
            REQUIRE(spans.size() == std::size_t(answers));
            for (int i = 0; i < answers; ++i) {
                const auto& span = spans[std::size_t(i)];
                const auto said = text.substr(span.begin, span.end - span.begin);
                CHECK(said.find("A" + std::to_string(i)) != said.npos);
                CHECK(said.find("U") == said.npos);
            }
        }
        CHECK(counts[0] == counts[1]);
        CHECK(counts[1] == counts[2]);
        CHECK(counts[2] <= 6);
    }
    // With calls and results, inside the turn or not, and with ends in plain words.
    const std::string plain = "{% for m in messages %}{{ m.role }}: {{ m.content }}{% for c in m.tool_calls or [] %}"
                              "{{ c.function.name }}{% endfor %}\n###\n{% endfor %}"
                              "{% if add_generation_prompt %}assistant: {% endif %}";
    for (const std::string& source : {inside("all"), inside("end"), plain}) {
        auto chat = made(source, {});
        std::vector<std::uint64_t> counts;
        for (const int rounds : {2, 20, 200}) {
            Json turns = Json::array();
            for (int i = 0; i < rounds; ++i) {
                turns.push_back({{"role", "user"}, {"content", "U"}});
                turns.push_back(called("Look.", {"find"}));
                turns.push_back(tool("RESULT"));
                turns.push_back({{"role", "assistant"}, {"content", "A"}});
            }
            const auto text = chat.render(turns);
            std::atomic<std::uint64_t> renderings = 0;
            chat.options.renderings = &renderings;
            graft::assistant_spans(chat, turns, text);
            chat.options.renderings = nullptr;
            counts.push_back(renderings);
        }
        CHECK(counts[0] == counts[1]);
        CHECK(counts[1] == counts[2]);
        CHECK(counts[2] < graft::detail::labels::most_renderings);
    }
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
