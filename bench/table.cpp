#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// bench_table FILE NAME RESULTS PROCESSOR COMMIT
//
// Writes the results of one benchmark program (Google Benchmark's JSON) as a table into FILE, between the markers
// <!-- bench:begin --> and <!-- bench:end -->. There every program has a section of its own, "### NAME"; the section
// of this one is replaced or, in alphabetical order, added; the others stay as they are.
//
// A row is the median of a benchmark's repetitions: its name, its time, and every counter that any row has: those named
// "of …" are shares, those that end in "error" errors.
namespace {

using Json = nlohmann::json;
using Sections = std::map<std::string, std::string>;

constexpr const char* begin_marker = "<!-- bench:begin -->";
constexpr const char* end_marker = "<!-- bench:end -->";

std::string read(const std::string& path)
{
    auto file = std::ifstream(path, std::ios::binary);
    if (!file) { throw std::runtime_error(path + ": cannot be read"); }
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Four significant digits, without an exponent where that stays short.
std::string number(double value)
{
    char text[40];
    std::snprintf(text, sizeof text, "%.4g", value);
    if (value >= 1e4 && value < 1e9) { std::snprintf(text, sizeof text, "%.0f", value); }
    return text;
}

std::string time_text(const Json& row)
{
    static const std::map<std::string, double> ns = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};
    double t = row.at("real_time").get<double>() * ns.at(row.at("time_unit").get<std::string>());
    const char* unit = t < 1e3 ? " ns" : t < 1e6 ? " us" : t < 1e9 ? " ms" : " s";
    return number(t < 1e3 ? t : t < 1e6 ? t / 1e3 : t < 1e9 ? t / 1e6 : t / 1e9) + unit;
}

// Google Benchmark writes counters beside its own fields; these are its own.
bool is_counter(const std::string& key, const Json& value)
{
    static const std::vector<std::string> own = {"family_index", "per_family_instance_index",
                                                 "repetitions",  "repetition_index",
                                                 "threads",      "iterations",
                                                 "real_time",    "cpu_time"};
    for (const auto& name : own) {
        if (key == name) { return false; }
    }
    return value.is_number();
}

bool is_share(const std::string& key) { return key.starts_with("of "); }

// Rates before shares before sizes; errors last; what is not named here in between, by the alphabet.
int rank(const std::string& key)
{
    static const std::vector<std::string> order = {
        "tokens/s", "GFLOP/s",      "of FMA peak", "GB/s",     "bytes_per_second", "items_per_second",
        "of copy",  "of DRAM copy", "peak MiB",    "pool MiB", "weights MiB"};
    for (std::size_t i = 0; i < order.size(); ++i) {
        if (key == order[i]) { return int(i); }
    }
    return key.ends_with("error") ? 1000 : 100;
}

std::string counter_text(const std::string& key, const Json& row)
{
    if (!row.contains(key)) { return ""; }
    double value = row.at(key).get<double>();
    if (is_share(key)) { return number(std::round(value * 1000) / 10) + " %"; }
    if (key.ends_with("error")) {
        char text[40];
        std::snprintf(text, sizeof text, "%.1e", value);
        return value == 0 ? "0" : text;
    }
    if (key == "bytes_per_second") { return number(value / 1e9) + " GB/s"; }
    if (key == "items_per_second") { return number(value / 1e9) + " G/s"; }
    return number(value);
}

// Google Benchmark writes NaN where JSON has no word for it (the relative spread of an error of 0): null instead.
Json parse(std::string text)
{
    for (const char* word : {": NaN", ": -NaN", ": Infinity", ": -Infinity"}) {
        for (std::size_t at = 0; (at = text.find(word, at)) != std::string::npos;) {
            text.replace(at, std::string(word).size(), ": null");
        }
    }
    return Json::parse(text);
}

bool failed(const Json& row) { return row.value("error_occurred", false); }

// Rows to show: medians where there were repetitions, plain runs otherwise; of a benchmark that failed, its message.
std::vector<Json> rows_of(const Json& results)
{
    std::vector<Json> medians, plain;
    for (const auto& row : results.at("benchmarks")) {
        if (failed(row)) {
            if (row.value("repetition_index", 0) == 0) { medians.push_back(row), plain.push_back(row); }
            continue;
        }
        if (row.value("aggregate_name", "") == "median") { medians.push_back(row); }
        if (row.value("run_type", "") == "iteration") { plain.push_back(row); }
    }
    return std::all_of(medians.begin(), medians.end(), failed) ? plain : medians;
}

std::string table(const std::vector<Json>& rows)
{
    std::vector<std::string> counters;
    for (const auto& row : rows) {
        for (const auto& [key, value] : row.items()) {
            if (failed(row)) { break; }
            bool known = false;
            for (const auto& c : counters) { known = known || c == key; }
            if (!known && is_counter(key, value)) { counters.push_back(key); }
        }
    }
    std::stable_sort(counters.begin(), counters.end(),
                     [](const auto& a, const auto& b) { return std::pair(rank(a), a) < std::pair(rank(b), b); });
    std::string head = "| what | median time |", rule = "| --- | ---: |", body;
    for (const auto& c : counters) {
        head += ' ';
        head += c == "bytes_per_second" ? "bytes" : c == "items_per_second" ? "items" : c;
        head += " |";
        rule += " ---: |";
    }
    for (const auto& row : rows) {
        auto name = row.value("run_name", row.at("name").get<std::string>());
        // What Google Benchmark was told about the row is not part of its name.
        for (const char* told : {"/min_time:", "/iterations:", "/repeats:", "/manual_time", "/real_time"}) {
            name.erase(std::min(name.size(), name.find(told)));
        }
        for (std::size_t at = 0; (at = name.find('|', at)) != std::string::npos; at += 2) { name.insert(at, 1, '\\'); }
        if (failed(row)) {
            body.append("| ").append(name).append(" | ").append(row.value("error_message", "failed")).append(" |");
            body.append(counters.size(), '|') += '\n';
            continue;
        }
        body.append("| ").append(name).append(" | ").append(time_text(row)).append(" |");
        for (const auto& c : counters) { body.append(1, ' ').append(counter_text(c, row)).append(" |"); }
        body += '\n';
    }
    return head + '\n' + rule + '\n' + body;
}

Sections split(const std::string& text)
{
    Sections sections;
    for (std::size_t at = text.find("### "); at != std::string::npos;) {
        auto line = text.find('\n', at);
        auto next = text.find("\n### ", at);
        auto name = text.substr(at + 4, line == std::string::npos ? line : line - at - 4);
        at = next == std::string::npos ? next : next + 1;
        auto body =
            line == std::string::npos ? "" : text.substr(line + 1, at == std::string::npos ? at : at - line - 1);
        sections[name] = body.substr(0, body.find_last_not_of('\n') + 1);
    }
    return sections;
}

void run(char** argv)
{
    const std::string path = argv[1], name = argv[2], processor = argv[4], commit = argv[5];
    auto results = parse(read(argv[3]));
    auto rows = rows_of(results);
    if (std::all_of(rows.begin(), rows.end(), failed)) {
        std::printf("%s: section %s stays as it was: %s\n", path.c_str(), name.c_str(),
                    rows.empty() ? "no results" : rows.front().value("error_message", "no results").c_str());
        return;
    }

    auto page = read(path);
    auto begin = page.find(begin_marker), end = page.find(end_marker);
    if (begin == std::string::npos || end == std::string::npos || end < begin) {
        throw std::runtime_error(path + ": has no " + begin_marker + " before a " + end_marker);
    }
    begin += std::string(begin_marker).size();

    char date[32];
    std::time_t now = std::time(nullptr);
    std::strftime(date, sizeof date, "%Y-%m-%d", std::gmtime(&now));
    const auto& context = results.at("context");
    auto header = processor + ", " + std::to_string(context.value("num_cpus", 0)) + " threads at "
                  + number(context.value("mhz_per_cpu", 0.0)) + " MHz; " GRAFT_COMPILER ", `" GRAFT_FLAGS "`; commit "
                  + commit + "; " + date;

    auto sections = split(page.substr(begin, end - begin));
    sections[name] = std::string(1, '\n') + header + "\n\n" + table(rows);
    std::string out = "\n\n";
    for (const auto& [title, body] : sections) {
        out += "### " + title + "\n" + body.substr(0, body.find_last_not_of('\n') + 1) + "\n\n";
    }
    page.replace(begin, end - begin, out);

    auto file = std::ofstream(path, std::ios::binary);
    file << page;
    file.close();
    if (!file) { throw std::runtime_error(path + ": cannot be written"); }
    std::printf("%s: section %s, %zu rows\n", path.c_str(), name.c_str(), rows.size());
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 6) {
        std::fprintf(stderr, "bench_table FILE NAME RESULTS PROCESSOR COMMIT\n");
        return 2;
    }
    try {
        run(argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench_table: %s\n", error.what());
        return 2;
    }
    return 0;
}
