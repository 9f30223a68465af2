#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "dataset_support.hpp"
#include "graft/text/dataset.hpp"
#include "support.hpp"

namespace {

graft::Dataset load(const std::string& rows, const graft::Tokenizer& tokenizer, const graft::DataOptions& options)
{
    const small::File file(rows);
    std::vector<std::filesystem::path> files{file.path()};
    return graft::load_dataset(files, &tokenizer, options);
}

nlohmann::ordered_json read(const std::filesystem::path& path)
{
    std::ifstream file(path);
    return nlohmann::ordered_json::parse(file);
}

const std::string chat =
    R"({"messages": [{"role": "user", "content": "Say hi"}, {"role": "assistant", "content": "Hi there"}]})";

}  // namespace

TEST_CASE("dataset: with a real tokeniser and the templates of the library")
{
    const auto tokenizer = graft::Tokenizer::load(graft_test::repo() / "data/tokenizer_stories260K");
    const auto zephyr = graft::ChatTemplate::named("zephyr", tokenizer.special_tokens());

    // The blanks behind </s> are this tokeniser's: it puts one in front of every text between control tokens.
    const auto set = load(chat, tokenizer, {.tmpl = &zephyr});
    CHECK(marked(set.examples.at(0), tokenizer) == "<|user|>\nSay hi</s> \n<|assistant|>\n«Hi there</s>» \n");
    CHECK(set.report.rows_ending_in_control == 1);
    CHECK(set.examples[0].ids[0] != *tokenizer.bos());

    // No template: the Alpaca text with the tokeniser's BOS, once; the answer follows the colon.
    const auto alpaca = load(R"({"instruction": "Say hi", "input": "to Tom", "output": "Hi Tom"})", tokenizer, {});
    const auto& first = alpaca.examples.at(0);
    CHECK(first.ids[0] == *tokenizer.bos());
    CHECK(first.ids[1] != *tokenizer.bos());
    CHECK(first.ids.back() == *tokenizer.eos());
    CHECK(first.labels.back() == *tokenizer.eos());
    const auto text = marked(first, tokenizer);
    CHECK(text.find("### Instruction:\nSay hi\n\n### Input:\nto Tom\n\n### Response:«Hi Tom</s>»") != text.npos);
    CHECK(alpaca.report.notes.size() == 1);

    CHECK_THROWS_WITH_AS(load(chat, tokenizer, {}),
                         doctest::Contains("--template: alpaca, chatml, gemma, llama3, mistral, zephyr"), graft::Error);

    // A document: BOS as the tokeniser adds it, EOS once.
    for (const char* row : {R"({"text": "Once upon a time"})", R"({"text": "Once upon a time</s>"})"}) {
        const auto document = load(row, tokenizer, {.task = graft::Task::text});
        const auto& ids = document.examples.at(0).ids;
        CHECK(ids.front() == *tokenizer.bos());
        CHECK(std::count(ids.begin(), ids.end(), *tokenizer.eos()) == 1);
        CHECK(ids.back() == *tokenizer.eos());
        CHECK(document.report.targets == std::int64_t(ids.size()) - 1);
    }

    // What a user types does not end the turn.
    const auto typed =
        load(R"({"messages": [{"role": "user", "content": "Say </s> hi"}, {"role": "assistant", "content": "Hi"}]})",
             tokenizer, {.tmpl = &zephyr});
    const auto& ids = typed.examples.at(0).ids;
    CHECK(std::count(ids.begin(), ids.end(), *tokenizer.eos()) == 2);
    CHECK(marked(typed.examples[0], tokenizer) == "<|user|>\nSay </s> hi</s> \n<|assistant|>\n«Hi</s>» \n");
    CHECK(typed.report.control_tokens == 1);
}

TEST_CASE("dataset: targets of whole rows equal the recorded ones for five tokenisers")
{
    const auto root = graft_test::data();
    if (!root) { return graft_test::skip("GRAFT_TEST_DATA is not set"); }
    const auto golden = read(*root / "golden_text/labels_structure.json");
    const auto labels = read(*root / "golden_text/labels.json");
    const auto conversations = read(*root / "data/chat_templates/conversations.json");

    using Key = std::pair<std::string, std::string>;
    std::map<Key, std::map<std::string, std::string>> tokens;
    for (const auto& pairing : labels["pairings"]) {
        auto& own = tokens[{pairing["tokenizer"], pairing["template"]}];
        for (const char* name : {"bos_token", "eos_token"}) {
            if (pairing[name].is_string()) { own[name] = pairing[name].get<std::string>(); }
        }
    }
    int compared = 0;
    for (const char* name : {"llama2", "llama3", "mistral-v0.1", "qwen3", "smollm2"}) {
        const auto tokenizer = graft::Tokenizer::load(*root / "data/tokenizers" / name);
        for (const auto& row : golden["rows"]) {
            if (row["tokenizer"] != name || row["trained"].empty()) { continue; }
            const std::string file = row["template"];
            auto tmpl =
                graft::ChatTemplate::file(*root / "data/chat_templates" / (file + ".jinja"), tokens.at({name, file}));
            tmpl.options.now = std::chrono::sys_days(std::chrono::July / 26 / 2024);
            const auto conversation = conversations.at(row["conversation"].get<std::string>());
            if (conversation["messages"].back()["role"] != "assistant") {
                continue;
            }  // dropped: nothing follows the user
            const auto& trained = row["trained"];
            const auto set = load(conversation.dump(), tokenizer, {.tmpl = &tmpl, .control_in_contents = true});
            auto ranges = nlohmann::ordered_json::array();
            const auto& example = set.examples.at(0);
            for (std::size_t t = 0; t < example.ids.size(); ++t) {
                if (example.labels[t] == graft::ignore) { continue; }
                if (!ranges.empty() && ranges.back()[1] == t) {
                    ranges.back()[1] = t + 1;
                } else {
                    ranges.push_back({t, t + 1});
                }
            }
            CHECK_MESSAGE(ranges == trained, name << " " << file << " " << row["conversation"] << " " << ranges.dump()
                                                  << " " << trained.dump());
            ++compared;
        }
    }
    CHECK(compared > 100);
}
