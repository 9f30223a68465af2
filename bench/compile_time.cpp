// How long a user's compiler works, and with how much memory: a page for docs/compile-time.md.
//
//   bench_compile_time [--write FILE] [COMPILER…]      run from the root of the repository; g++ and clang++ by default
//
// Each row is compiled twice, header-only (-O2) and with graft_parts to link (-O2 -DGRAFT_HEADER_ONLY=0); seconds are
// of the processor, user and system, of the one compiler process; memory is its peak. Run it on a machine that rests.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

struct Cost {
    double seconds = 0, megabytes = 0;
    bool compiled = false;
};

Cost once(std::vector<std::string> command)
{
    std::vector<char*> words;
    for (auto& word : command) { words.push_back(word.data()); }
    words.push_back(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
        ::execvp(words[0], words.data());
        ::_exit(127);
    }
    int status = 0;
    rusage used{};
    if (child < 0 || ::wait4(child, &status, 0, &used) != child) { return {}; }
    const auto seconds = [](const timeval& t) { return double(t.tv_sec) + double(t.tv_usec) * 1e-6; };
    return {seconds(used.ru_utime) + seconds(used.ru_stime), double(used.ru_maxrss) / 1024,
            WIFEXITED(status) && WEXITSTATUS(status) == 0};
}

Cost cost(const std::string& compiler, const std::string& source, bool header_only)
{
    const std::vector<std::string> command{compiler,
                                           "-std=c++20",
                                           "-O2",
                                           "-Iinclude",
                                           std::string("-DGRAFT_HEADER_ONLY=") + (header_only ? "1" : "0"),
                                           "-c",
                                           "-o",
                                           "/dev/null",
                                           source};
    return once(command);
}

std::string cell(const Cost& c)
{
    char text[64] = "does not compile";
    if (c.compiled) { std::snprintf(text, sizeof text, "%.1f s, %.0f MB", c.seconds, c.megabytes); }
    return text;
}

struct Row {
    std::string name, source;
};

std::string includes(const fs::path& folder, const std::string& name, const std::string& text)
{
    const fs::path path = folder / (name + ".cpp");
    std::ofstream(path) << text;
    return path.string();
}

// Kernels of one device are reached through cpu.hpp; folders within a layer hold what is no interface.
std::vector<Row> headers(const fs::path& folder)
{
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator("include/graft")) {
        const fs::path inside = fs::relative(entry.path(), "include");
        const auto depth = std::distance(inside.begin(), inside.end());
        if (inside.extension() == ".hpp" && depth <= 3) { names.push_back(inside.generic_string()); }
    }
    std::sort(names.begin(), names.end());
    std::vector<Row> rows;
    for (std::size_t i = 0; i < names.size(); ++i) {
        rows.push_back(
            {"`" + names[i] + "`", includes(folder, "header_" + std::to_string(i), "#include <" + names[i] + ">\n")});
    }
    return rows;
}

std::vector<Row> programs(const fs::path& folder)
{
    std::vector<Row> rows;
    for (const auto& entry : fs::directory_iterator("examples")) {
        const std::string name = entry.path().filename().string();
        if (name[0] == '0' && entry.path().extension() == ".cpp") {
            rows.push_back({"`" + name + "`", entry.path().string()});
        }
    }
    std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.name < b.name; });
    rows.push_back({"a model of one block, forward and backward", includes(folder, "block", R"(#include <graft/cpu.hpp>
int main()
{
    constexpr graft::LlamaShape shape{.vocab = 64, .dim = 16, .ffn = 32, .layers = 1, .heads = 2, .kv_heads = 1};
    graft::Llama<shape, graft::FullKit<float>> model(graft::config_of(shape));
    graft::init(model, 1);
    graft::Tape tape;
    const std::vector<std::int32_t> ids{1, 2, 3}, labels{2, 3, 4};
    const auto context = graft::context_for<float, graft::Cpu>({3}, model.positions(3));
    const auto rows = graft::uploaded(std::span(ids), graft::Pool<graft::Cpu>::common());
    tape.backward(model.loss(tape, rows, context, labels, 1.0 / 3));
}
)")});
    return rows;
}

std::string table(const std::vector<Row>& rows, const std::vector<std::string>& compilers)
{
    std::string out = "| |", line = "| --- |";
    for (const auto& compiler : compilers) {
        out += " " + compiler + ", header-only | " + compiler + ", with graft_parts |";
        line += " --- | --- |";
    }
    out += "\n" + line + "\n";
    for (const Row& row : rows) {
        out += "| " + row.name + " |";
        for (const auto& compiler : compilers) {
            for (const bool only : {true, false}) { out += " " + cell(cost(compiler, row.source, only)) + " |"; }
        }
        out += "\n";
        std::fprintf(stderr, "%s\n", row.name.c_str());
    }
    return out;
}

std::string processor()
{
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("model name")) { return line.substr(line.find(':') + 2); }
    }
    return "unknown processor";
}

}  // namespace

int main(int argc, char** argv)
{
    std::string write;
    std::vector<std::string> compilers;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        if (word == "--write" && i + 1 < argc) {
            write = argv[++i];
        } else {
            compilers.push_back(word);
        }
    }
    if (compilers.empty()) { compilers = {"g++", "clang++"}; }
    if (!fs::exists("include/graft/graft.hpp")) {
        std::fprintf(stderr, "bench_compile_time: run it from the root of the repository\n");
        return 2;
    }
    const fs::path folder = fs::temp_directory_path() / ("graft_compile_time_" + std::to_string(::getpid()));
    fs::create_directories(folder);
    std::string text =
        "# Compile time\n\nWritten by `bench_compile_time --write docs/compile-time.md` (bench/compile_time.cpp) on "
        + processor()
        + ".\nOne compiler process, `-O2`, seconds of the processor and peak memory: with the "
          "headers alone, and where `graft_parts` is linked\n(docs/layers.md).\n\n## Programs\n\n";
    text += table(programs(folder), compilers);
    text += "\n## Each header alone\n\n" + table(headers(folder), compilers);
    fs::remove_all(folder);
    if (write.empty()) {
        std::fputs(text.c_str(), stdout);
        return 0;
    }
    std::ofstream file(write, std::ios::trunc);
    file << text;
    return file.flush() ? 0 : 1;
}
