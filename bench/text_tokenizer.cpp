#include "graft/text/tokenizer.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

// Tokeniser: MB/s of text and tokens/s, one thread. `text` encodes a megabyte at once, `lines` row by row as training
// data comes, `spans` with the place of every token, `decode` back, `load` reads the files. Needs GRAFT_TEST_DATA.
// Before a time is taken the round trip is checked.
namespace {

struct Case {
    graft::Tokenizer tokenizer;
    std::string text;
};

Case prepare(const std::filesystem::path& folder, const std::filesystem::path& text)
{
    return {graft::Tokenizer::load(folder), graft::detail::tokens::read_whole_file(text)};
}

void count(benchmark::State& state, std::size_t bytes, std::size_t tokens)
{
    const double rounds = static_cast<double>(state.iterations());
    state.counters["MB/s"] = benchmark::Counter(rounds * static_cast<double>(bytes) / 1e6, benchmark::Counter::kIsRate);
    state.counters["tokens/s"] = benchmark::Counter(rounds * static_cast<double>(tokens), benchmark::Counter::kIsRate);
}

void encode_text(benchmark::State& state, const Case& given)
{
    const auto ids = given.tokenizer.encode(given.text, {.add_special = false});
    if (given.tokenizer.decode(ids) != given.text) { return state.SkipWithError("the round trip changes the text"); }
    for (auto _ : state) { benchmark::DoNotOptimize(given.tokenizer.encode(given.text, {.add_special = false})); }
    count(state, given.text.size(), ids.size());
}

void encode_lines(benchmark::State& state, const Case& given)
{
    std::vector<std::string_view> lines;
    for (std::size_t at = 0; at < given.text.size();) {
        const std::size_t end = std::min(given.text.find('\n', at), given.text.size());
        lines.push_back(std::string_view(given.text).substr(at, end - at));
        at = end + 1;
    }
    std::size_t tokens = 0;
    for (auto _ : state) {
        tokens = 0;
        for (const auto line : lines) { tokens += given.tokenizer.encode(line).size(); }
    }
    count(state, given.text.size(), tokens);
}

void encode_spans(benchmark::State& state, const Case& given)
{
    std::size_t tokens = 0;
    for (auto _ : state) { tokens = given.tokenizer.encode_with_spans(given.text).ids.size(); }
    count(state, given.text.size(), tokens);
}

void decode_text(benchmark::State& state, const Case& given)
{
    const auto ids = given.tokenizer.encode(given.text, {.add_special = false});
    for (auto _ : state) { benchmark::DoNotOptimize(given.tokenizer.decode(ids)); }
    count(state, given.text.size(), ids.size());
}

void load(benchmark::State& state, const std::filesystem::path& folder)
{
    for (auto _ : state) { benchmark::DoNotOptimize(graft::Tokenizer::load(folder)); }
}

}  // namespace

int main(int argc, char** argv)
{
    benchmark::Initialize(&argc, argv);
    const char* data = std::getenv("GRAFT_TEST_DATA");
    if (data == nullptr) {
        benchmark::RegisterBenchmark(
            "tokenizer", [](benchmark::State& state) { state.SkipWithError("GRAFT_TEST_DATA is not set"); });
    } else {
        const auto root = std::filesystem::path(data) / "data";
        for (const char* name : {"llama2", "llama3", "mistral-v0.1", "qwen3", "smollm2"}) {
            const auto folder = root / "tokenizers" / name;
            const Case given = prepare(folder, root / "datasets/tinyshakespeare.txt");
            const std::string title = std::string("tokenizer/") + name;
            const auto add = [&](const char* what, auto&& run) {
                const auto one = [given, run](benchmark::State& state) { run(state, given); };
                benchmark::RegisterBenchmark((title + "/" + what).c_str(), one)
                    ->MinTime(0.1)
                    ->Unit(benchmark::kMillisecond);
            };
            add("text", encode_text);
            add("lines", encode_lines);
            add("spans", encode_spans);
            add("decode", decode_text);
            const auto loading = [folder](benchmark::State& state) { load(state, folder); };
            benchmark::RegisterBenchmark((title + "/load").c_str(), loading)
                ->MinTime(0.1)
                ->Unit(benchmark::kMillisecond);
        }
    }
    benchmark::RunSpecifiedBenchmarks();
}
