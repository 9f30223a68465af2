#pragma once
#include <cstdio>

#include "programs_support.hpp"

// The commands of a guide, run as they stand, and what they print held against what the guide shows.
namespace graft_test {

// Every ```sh block runs in a folder that looks like the repository after scripts/demo; `shorter` are replacements in
// it that save time. Where a block of output follows it directly, its lines must appear in this order; "…" stands for
// anything, as a line or within one, and lines with a part in `varies` are not compared. `before` is a command that the
// guide takes for granted. A block that is one line of a
// program's refusal says that the command ends with exit 2. Returns how many commands ran.
inline int run_guide(const std::string& name, const std::vector<std::pair<std::string, std::string>>& shorter = {},
                     const std::vector<std::string>& varies = {}, const std::string& before = "")
{
    const TempFolder temp;
    fs::create_directories(temp / "build/release");
    fs::create_directory_symlink(GRAFT_EXAMPLES_DIR, temp / "examples");
    fs::create_directory_symlink(GRAFT_BIN_DIR, temp / "build/release/bin");
    fs::create_directory_symlink(repo(), temp / "tests");
    ::setenv("GRAFT_THREADS", "1", 1);
    if (!before.empty()) { REQUIRE(std::system(("cd '" + temp.path().string() + "' && " + before).c_str()) == 0); }
    const std::string text = read_text(repo() / "../docs/guides" / name), start = "```sh\n", end = "\n```\n";
    int commands = 0;
    for (auto at = text.find(start); at != text.npos; at = text.find(start, at + 1)) {
        const auto close = text.find(end, at + start.size());
        std::string command = text.substr(at + start.size(), close - at - start.size());
        for (const auto& [from, to] : shorter) {
            for (auto place = command.find(from); place != command.npos;) {
                command.replace(place, from.size(), to);
                place = command.find(from, place + to.size());
            }
        }
        const std::string shell = "cd '" + temp.path().string() + "' && { " + command + "\n} 2>&1";
        std::string out;
        std::FILE* pipe = ::popen(shell.c_str(), "r");
        REQUIRE(pipe != nullptr);
        char block[4096];
        for (std::size_t got; (got = std::fread(block, 1, sizeof block, pipe)) > 0;) { out.append(block, got); }
        const int status = ::pclose(pipe);
        ++commands;
        CAPTURE(command);
        CAPTURE(out);
        const std::string then = "\n```\n";
        auto shown = close + end.size();
        std::string says;
        if (text.compare(shown, then.size(), then) == 0) {
            shown += then.size();
            says = text.substr(shown, text.find("```", shown) - shown);
        }
        bool refused = false;
        for (const char* program : {"finetune: ", "generate: ", "grow: ", "inspect: ", "merge: "}) {
            refused = refused || (says.starts_with(program) && says.find('\n') == says.size() - 1);
        }
        CHECK(WEXITSTATUS(status) == (refused ? 2 : 0));
        std::istringstream lines(says);
        std::size_t from = 0;
        for (std::string line; std::getline(lines, line);) {
            CAPTURE(line);
            const auto has = [&](const auto& part) { return line.find(part) != line.npos; };
            if (std::any_of(varies.begin(), varies.end(), has)) { continue; }
            const std::string dots = "…";
            std::size_t begin = 0;
            for (auto cut = line.find(dots);; cut = line.find(dots, begin)) {
                const auto piece = line.substr(begin, cut == line.npos ? cut : cut - begin);
                const auto found = out.find(piece, from);
                CHECK(found != out.npos);
                if (found == out.npos) { break; }
                from = found + piece.size();
                if (cut == line.npos) { break; }
                begin = cut + dots.size();
            }
        }
    }
    return commands;
}

}  // namespace graft_test
