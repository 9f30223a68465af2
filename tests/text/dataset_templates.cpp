#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "dataset_support.hpp"
#include "graft/text/dataset.hpp"
#include "support.hpp"

// A data set by several templates of one checkpoint, and who is told how far the reading is.
namespace {

using Counts = std::map<std::string, std::int64_t>;
using Json = nlohmann::ordered_json;

// A tokeniser of one byte a token, with the templates default, rag and tool_use.
const graft::Tokenizer& tokenizer()
{
    static const auto made = [] {
        Json vocab, config{{"eos_token", "</s>"}, {"chat_template", Json::object()}};
        for (int c = ' '; c < 127; ++c) { vocab[std::string(1, char(c))] = c - ' '; }
        for (const std::string name : {"default", "rag", "tool_use"}) {
            config["chat_template"][name] =
                name
                + ":{% for m in messages %}{{ '<' + m.role + '>' + (m.content or '') + eos_token }}{% endfor %}"
                  "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";
        }
        const Json end{{"id", vocab.size()}, {"content", "</s>"}, {"special", true}};
        const Json json{{"added_tokens", Json::array({end})},
                        {"decoder", {{"type", "ByteLevel"}}},
                        {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", Json::array()}}}};
        return graft::Tokenizer::parse(json.dump(), config.dump());
    }();
    return made;
}

graft::Dataset load(const std::vector<std::filesystem::path>& files, graft::DataOptions options,
                    const std::string& name = "")
{
    const auto chat =
        name.empty() ? graft::ChatTemplate::own(tokenizer()) : graft::ChatTemplate::own(tokenizer(), name);
    options.tmpl = &chat;
    return graft::load_dataset(files, &tokenizer(), options);
}
graft::Dataset load(const std::string& rows, const graft::DataOptions& options = {}, const std::string& name = "")
{
    const small::File file(rows);
    return load(std::vector<std::filesystem::path>{file.path()}, options, name);
}

const std::string tools = R"("tools": [{"name": "f"}], )";
std::string row(const std::string& before, const std::string& answer)
{
    return "{" + before + R"("messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": ")"
           + answer + "\"}]}\n";
}
std::string pair(const std::string& before, const std::string& good, const std::string& bad)
{
    return "{" + before + R"("prompt": [{"role": "user", "content": "q"}], "chosen": ")" + good + R"(", "rejected": ")"
           + bad + "\"}\n";
}
std::string first_text(const graft::Dataset& set, std::size_t example)
{
    return marked(set.examples.at(example), tokenizer());
}

bool noted(const graft::Dataset& set, const std::string& line)
{
    for (const auto& found : graft::summary(set.report)) {
        if (found == line) { return true; }
    }
    return false;
}

}  // namespace

TEST_CASE("templates: the report counts rows by the template that each took")
{
    const std::string rows =
        row("", "a") + row(tools, "b") + row(R"("tools": [], )", "c") + row(tools, "d") + row("", "e");
    const auto set = load(rows);
    CHECK(set.report.templates == Counts{{"default", 3}, {"tool_use", 2}});
    CHECK(noted(set, "3 rows by the checkpoint's template default"));
    CHECK(noted(set, "2 rows by the checkpoint's template tool_use"));
    CHECK(first_text(set, 0).starts_with("default:<user>q"));
    CHECK(first_text(set, 1).starts_with("tool_use:<user>q"));

    // One that was chosen is for all rows: there is nothing to tell.
    const auto one = load(rows, {}, "rag");
    CHECK(one.report.templates == Counts{});
    for (std::size_t i = 0; i < 5; ++i) { CHECK(first_text(one, i).starts_with("rag:<user>q")); }
}

TEST_CASE("templates: of pairs the report counts pairs, not sides")
{
    const auto set = load(pair("", "a", "b") + pair(tools, "c", "d") + pair("", "e", "f"), {.task = graft::Task::dpo});
    CHECK(set.report.rows_used == 3);
    CHECK(set.report.templates == Counts{{"default", 2}, {"tool_use", 1}});
    CHECK(noted(set, "1 row by the checkpoint's template tool_use"));
    CHECK(first_text(set, 2).starts_with("tool_use:<user>q"));
    CHECK(first_text(set, 3).starts_with("tool_use:<user>q"));
}

TEST_CASE("templates: rows that are dropped count for none")
{
    const std::string longer(80, 'l');
    const auto set = load(row(tools, "a") + R"({"messages": [{"role": "user", "content": ")" + longer
                              + R"("}, {"role": "assistant", "content": "b"}]})"
                                "\n"
                              + row("", "c"),
                          {.max_length = 40});
    CHECK(set.report.rows_used == 2);
    CHECK(set.report.templates == Counts{{"default", 1}, {"tool_use", 1}});

    const std::string no_answer = R"({"prompt": [{"role": "user", "content": "q"}], "chosen": "a", "rejected": null})"
                                  "\n";
    const auto of_pairs =
        load(pair(tools, "a", "b") + pair("", "c", "c") + no_answer + pair("", "d", "d"), {.task = graft::Task::dpo});
    CHECK(of_pairs.report.rows_used == 1);
    CHECK(of_pairs.report.templates == Counts{{"tool_use", 1}});
}

TEST_CASE("progress: told once a row, in order, with what is used so far, and never after the end")
{
    struct Told {
        std::string file;
        std::int64_t read, used;
        bool operator==(const Told&) const = default;
    };
    for (const bool dpo : {false, true}) {
        CAPTURE(dpo);
        std::string good, bad;
        for (int i = 0; i < 4; ++i) {
            const std::string answer(1, char('a' + i));
            good += dpo ? pair("", answer, "x") : row("", answer);
        }
        bad = dpo ? pair("", "a", "a")
                  : R"({"messages": [{"role": "user", "content": "q"}]})"
                    "\n";
        const small::File first(good + bad), second(good);
        std::vector<Told> told;
        bool ended = false;
        const auto set =
            load({first.path(), second.path()},
                 {.task = dpo ? graft::Task::dpo : graft::Task::sft, .progress = [&](const graft::DataProgress& now) {
                      CHECK_FALSE(ended);
                      told.push_back({now.file, now.rows_read, now.rows_used});
                  }});
        ended = true;
        CHECK(set.report.rows_read == 9);
        CHECK(set.report.rows_used == 8);
        REQUIRE(!told.empty());
        for (std::size_t i = 0; i < told.size(); ++i) {
            CHECK(told[i].file == (told[i].read <= 5 ? first : second).path().string());
            CHECK(told[i].used <= told[i].read);
            if (i > 0) {
                CHECK(told[i].read > told[i - 1].read);
                CHECK(told[i].used >= told[i - 1].used);
            }
        }
        CHECK(told.size() == 9);
        CHECK(told.back().read == 9);
        (void)graft::summary(set.report);  // looking at it tells nobody
        CHECK(told.size() == 9);
    }
}

TEST_CASE("progress: an error is the end too")
{
    std::int64_t read = 0;
    CHECK_THROWS_AS(load(row("", "a") + "{\"messages\": [\n" + row("", "b"),
                         {.progress = [&](const graft::DataProgress& now) { read = now.rows_read; }}),
                    graft::Error);
    CHECK(read <= 2);
}
