#include "programs_support.hpp"

#include <cstdlib>

// The commands of guides, run as they stand but shorter, and the lines that they are said to print.
using namespace graft_test;

namespace {

std::string replaced(std::string text, const std::string& from, const std::string& to)
{
    for (auto at = text.find(from); at != text.npos; at = text.find(from, at + to.size())) {
        text.replace(at, from.size(), to);
    }
    return text;
}

struct Step {
    std::string command, says;    // says: the block that follows, where one does
};

std::vector<Step> steps_of(const std::string& guide)
{
    const std::string text = read_text(repo() / "../docs/guides" / guide), start = "```sh\n", stop = "\n```\n";
    std::vector<Step> out;
    for (auto at = text.find(start); at != text.npos; at = text.find(start, at + 1)) {
        const auto begin = at + start.size(), end = text.find(stop, begin), next = end + stop.size();
        Step step{text.substr(begin, end - begin), ""};
        if (text.compare(next, 5, "\n```\n") == 0) {
            step.says = text.substr(next + 5, text.find(stop, next + 5) + 1 - (next + 5));
        }
        out.push_back(step);
    }
    return out;
}

// Paths of the repository and of its build folder become this test's; `shorter` are replacements that save time, and
// lines with a part in `varies` are not compared.
int run_guide(const std::string& guide, const std::vector<std::pair<std::string, std::string>>& shorter,
              const std::vector<std::string>& varies)
{
    const TempFolder temp;
    const std::string bin = std::string(GRAFT_BIN_DIR) + "/", folder = temp.path().string() + "/";
    const auto here = [&](std::string text) {
        text = replaced(text, "build/release/bin/", "\x01");
        text = replaced(text, "build/", folder);
        text = replaced(text, "\x01", bin);
        return replaced(text, "examples/data/", std::string(GRAFT_EXAMPLES_DIR) + "/data/");
    };
    ::setenv("GRAFT_THREADS", "1", 1);
    int commands = 0;
    for (const auto& step : steps_of(guide)) {
        std::string command = here(step.command);
        for (const auto& [from, to] : shorter) { command = replaced(command, from, to); }
        CAPTURE(command);
        const int status = std::system(("(" + command + ") >" + folder + "out 2>" + folder + "err").c_str());
        const std::string err = read_text(folder + "err"), found = "\n" + read_text(folder + "out") + err;
        CAPTURE(found);
        const bool refused = !step.says.empty() && step.says.find('\n') == step.says.size() - 1 &&
                             (step.says.starts_with("inspect: ") || step.says.starts_with("generate: "));
        CHECK(WEXITSTATUS(status) == (refused ? 2 : 0));
        std::istringstream lines(here(step.says));
        for (std::string line; std::getline(lines, line);) {
            CAPTURE(line);
            const bool other = std::any_of(varies.begin(), varies.end(), [&](const std::string& part) {
                return line.find(part) != line.npos;
            });
            CHECK((other || line == "…" || found.find("\n" + line + "\n") != found.npos || err == line + "\n"));
        }
        ++commands;
    }
    return commands;
}

bool programs()
{
    const bool there = built("finetune") && built("generate") && built("inspect");
    if (there && !fs::exists(small_model() + "/model.safetensors")) {
        skip("there is no examples/data/stories260K");
        return false;
    }
    return there;
}

}  // namespace

TEST_CASE("guide: long-context")
{
    if (!programs()) { return; }
    CHECK(run_guide("long-context.md", {{"--steps 10", "--steps 1"}}, {"step "}) == 3);
}

TEST_CASE("guide: full-then-lora")
{
    if (!programs()) { return; }
    CHECK(run_guide("full-then-lora.md", {{"--epochs 10", "--epochs 1"}, {"--epochs 2", "--epochs 1"}},
                    {"step ", "logits from", "Tom found"}) == 4);
}
