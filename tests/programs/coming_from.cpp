#include "programs_support.hpp"

#include <set>

// docs/guides/coming-from.md: its file runs, its options exist, its defaults are the defaults.
using namespace graft_test;

namespace {

std::string guide() { return read_text(repo() / "../docs/guides/coming-from.md"); }

// What stands between two texts.
std::string between(const std::string& text, const std::string& begin, const std::string& end)
{
    const auto at = text.find(begin);
    REQUIRE(at != text.npos);
    const auto from = at + begin.size(), to = text.find(end, from);
    REQUIRE(to != text.npos);
    return text.substr(from, to - from);
}

// The lines of a text.
std::vector<std::string> lines(const std::string& text)
{
    std::vector<std::string> out;
    std::istringstream file(text);
    for (std::string line; std::getline(file, line);) { out.push_back(line); }
    return out;
}

// The words "--option" in a text.
std::set<std::string> options_in(const std::string& text)
{
    std::set<std::string> out;
    for (auto at = text.find("--"); at != text.npos; at = text.find("--", at + 2)) {
        std::size_t end = at + 2;
        while (end < text.size() && ((text[end] >= 'a' && text[end] <= 'z') || text[end] == '-')) { ++end; }
        if (end > at + 2 && text[at + 2] != '-') { out.insert(text.substr(at, end - at)); }
    }
    return out;
}

}  // namespace

TEST_CASE("guide: coming-from: the TOML file is the same run as its words on the command line")
{
    if (!built("finetune")) { return; }
    const TempFolder temp;
    const auto toml = between(guide(), "```toml\n", "```");
    write_text(temp / "run.toml", toml);
    // "key = value" is --key value.
    Arguments same;
    for (const auto& line : lines(toml)) {
        const auto at = line.find(" = ");
        REQUIRE(at != line.npos);
        auto value = line.substr(at + 3);
        std::erase(value, '"');
        if (line.substr(0, at) != "output") { same.push_back("--" + line.substr(0, at)), same.push_back(value); }
    }
    const auto before = fs::current_path();
    fs::current_path(repo() / "..");  // the file names files of the repository
    const auto train = [&](const std::string& output, Arguments more) {
        more = joined(more, {"--output", (temp / output).string(), "--steps", "2", "--quiet"});
        const auto ended = run("finetune", more);
        CAPTURE(ended.err);
        CHECK(ended.status == 0);
        return read_text(temp / output / "adapter_model.safetensors");
    };
    const auto a = train("a", {"--config", (temp / "run.toml").string()}), b = train("b", same);
    fs::current_path(before);
    CHECK(!a.empty());
    CHECK(a == b);
    const auto config = nlohmann::json::parse(read_text(temp / "a/adapter_config.json"));
    CHECK(config.at("r") == 8);
    CHECK(config.at("lora_alpha") == 16);
}

TEST_CASE("guide: coming-from: every option that it names is one, and every default that it gives")
{
    if (!built("finetune") || !built("inspect") || !built("generate") || !built("merge")) { return; }
    const auto help = run("finetune", {"--help"}).out;
    const auto known = options_in(help);
    int rows = 0;
    for (const auto& row : lines(between(guide(), "## Words\n", "## Defaults"))) {
        if (!row.starts_with("| `")) { continue; }
        ++rows;
        const auto ours = row.substr(0, row.find(" | "));
        CAPTURE(ours);
        const auto program = ours.starts_with("| `inspect ")    ? "inspect"
                             : ours.starts_with("| `generate ") ? "generate"
                             : ours.starts_with("| `merge ")    ? "merge"
                                                                : "";
        const auto there = *program != '\0' ? options_in(run(program, {"--help"}).out) : known;
        for (const auto& option : options_in(ours)) {
            CAPTURE(option);
            CHECK(there.contains(option));
        }
        CHECK(!options_in(ours).empty());
    }
    CHECK(rows >= 35);
    // Elsewhere on the page, where the sentence is ours.
    for (const auto& option : options_in(between(guide(), "## What is different", "\n| not here"))) {
        CAPTURE(option);
        const bool anywhere = known.contains(option) || options_in(run("inspect", {"--help"}).out).contains(option);
        CHECK(anywhere);
    }

    const std::vector<std::pair<std::string, std::string>> defaults{
        {"--rank", "16"},           {"--alpha", "32"},           {"--dropout", "0"},
        {"--target", "all-linear"}, {"--lr", "0.0002"},          {"--schedule", "linear"},
        {"--warmup", "0"},          {"--weight-decay", "0"},     {"--clip", "1"},
        {"--batch", "4"},           {"--accumulate", "1"},       {"--epochs", "1"},
        {"--seed", "42"},           {"--train-on", "responses"}, {"--dtype", "f32"},
        {"--template", "auto"}};
    for (const auto& item : defaults) {
        const std::string option = item.first;
        CAPTURE(option);
        bool found = false;
        for (const auto& line : lines(help)) {
            const auto first = line.find_first_not_of(' ');
            if (first == line.npos || line.compare(first, option.size() + 1, option + " ") != 0) { continue; }
            found = true;
            const auto value = line.find('=', first);
            REQUIRE(value != line.npos);
            CHECK(line.substr(value + 1, line.find(' ', value) - value - 1) == item.second);
        }
        CHECK(found);
    }
}
