#pragma once
#include "../files.hpp"
#include "../support.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

// Running the built programs: arguments in; exit status, stdout and stderr out.
namespace graft_test {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

// Every file below a folder, with its bytes.
inline std::map<std::string, std::string> contents(const fs::path& folder)
{
    std::map<std::string, std::string> out;
    if (!fs::exists(folder)) { return out; }
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
        const auto name = fs::relative(entry.path(), folder).string();
        out[name] = entry.is_regular_file() ? read_text(entry.path()) : "folder";
    }
    return out;
}

struct Ended {
    int status = -1;  // the exit status, or minus the signal that ended it
    std::string out, err;
};

struct ProcessOptions {
    std::uint64_t most_file_bytes = 0;  // writing more to one file fails; 0: no limit
    std::string folder{};               // where it runs; empty: where the test does
};

// A program that runs beside the test.
class Process {
public:
    Process(const std::string& program, const Arguments& arguments, const ProcessOptions& options = {})
    {
        const std::string path = std::string(GRAFT_BIN_DIR) + "/" + program;
        std::vector<char*> argv{const_cast<char*>(path.c_str())};
        for (const auto& argument : arguments) { argv.push_back(const_cast<char*>(argument.c_str())); }
        argv.push_back(nullptr);
        const std::string out = (folder_ / "out").string(), err = (folder_ / "err").string();
        ::setenv("GRAFT_THREADS", "1", 1);  // small work beside other tests; --threads decides where it is given
        id_ = ::fork();
        REQUIRE(id_ >= 0);
        if (id_ == 0) {  // only calls that are safe between fork and exec
            const int to_out = ::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
            const int to_err = ::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
            ::dup2(::open("/dev/null", O_RDONLY), 0);
            ::dup2(to_out, 1);
            ::dup2(to_err, 2);
            if (options.most_file_bytes > 0) {
                const rlimit limit{options.most_file_bytes, options.most_file_bytes};
                ::setrlimit(RLIMIT_FSIZE, &limit);
                ::signal(SIGXFSZ, SIG_IGN);
            }
            if (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0) { ::_exit(125); }
            ::execv(argv[0], argv.data());
            ::_exit(126);
        }
    }
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process()
    {
        if (id_ > 0) { ::kill(id_, SIGKILL), wait(); }
    }

    void signal(int number) const
    {
        if (id_ > 0) { ::kill(id_, number); }  // 0 would be the test itself
    }
    bool running()
    {
        if (id_ > 0 && ::waitpid(id_, &status_, WNOHANG) == id_) { id_ = 0; }
        return id_ > 0;
    }
    Ended wait()
    {
        if (id_ > 0) { ::waitpid(id_, &status_, 0); }
        id_ = 0;
        return {WIFEXITED(status_) ? WEXITSTATUS(status_) : -WTERMSIG(status_), read_text(folder_ / "out"),
                read_text(folder_ / "err")};
    }

private:
    TempFolder folder_;
    pid_t id_ = 0;
    int status_ = 0;
};

inline Ended run(const std::string& program, const Arguments& arguments, const ProcessOptions& options = {})
{
    return Process(program, arguments, options).wait();
}

inline Arguments joined(Arguments first, const Arguments& more)
{
    first.insert(first.end(), more.begin(), more.end());
    return first;
}

// True where the program is built; otherwise says that the test is skipped.
inline bool built(const std::string& program)
{
    const bool there = fs::exists(fs::path(GRAFT_BIN_DIR) / program);
    if (!there) { skip("the program " + program + " is not built"); }
    return there;
}

// The small trained model that ships with the examples.
inline std::string small_model() { return std::string(GRAFT_EXAMPLES_DIR) + "/data/stories260K"; }

// Exit 2 and exactly one line on stderr, with these words in it.
inline void check_refused(const Ended& ended, const std::vector<std::string>& words)
{
    CAPTURE(ended.err);
    CHECK(ended.status == 2);
    CHECK(std::count(ended.err.begin(), ended.err.end(), '\n') == 1);
    CHECK((!ended.err.empty() && ended.err.back() == '\n'));
    for (const auto& word : words) {
        CAPTURE(word);
        CHECK(ended.err.find(word) != std::string::npos);
    }
}

inline std::vector<nlohmann::json> json_lines(const fs::path& path)
{
    std::vector<nlohmann::json> out;
    std::istringstream file(read_text(path));
    for (std::string line; std::getline(file, line);) { out.push_back(nlohmann::json::parse(line)); }
    return out;
}

// A safetensors file as a list that a test may damage.
struct Tensors {
    struct One {
        std::string name, dtype;
        std::vector<std::int64_t> shape;
        std::string bytes;

        // The elements of an F32 tensor.
        std::vector<float> values() const
        {
            REQUIRE(dtype == "F32");
            std::vector<float> out(bytes.size() / sizeof(float));
            std::memcpy(out.data(), bytes.data(), bytes.size());
            return out;
        }
    };
    std::vector<One> list;

    static Tensors read(const fs::path& path)
    {
        const std::string file = read_text(path);
        REQUIRE(file.size() > 8);
        std::uint64_t length = 0;
        std::memcpy(&length, file.data(), 8);
        const auto header = nlohmann::ordered_json::parse(file.substr(8, length));
        Tensors out;
        for (const auto& [name, entry] : header.items()) {
            if (name == "__metadata__") { continue; }
            const auto begin = entry.at("data_offsets")[0].get<std::size_t>(),
                       end = entry["data_offsets"][1].get<std::size_t>();
            out.list.push_back(
                {name, entry.at("dtype"), entry.at("shape"), file.substr(8 + length + begin, end - begin)});
        }
        return out;
    }
    One& at(const std::string& name)
    {
        const auto found = std::find_if(list.begin(), list.end(), [&](const One& t) { return t.name == name; });
        REQUIRE(found != list.end());
        return *found;
    }
    bool has(const std::string& name) const
    {
        return std::any_of(list.begin(), list.end(), [&](const One& t) { return t.name == name; });
    }
    void erase(const std::string& name)
    {
        std::erase_if(list, [&](const One& t) { return t.name == name; });
    }
    std::map<std::string, std::string> bytes() const
    {
        std::map<std::string, std::string> out;
        for (const auto& t : list) { out[t.name] = t.dtype + " " + t.bytes; }
        return out;
    }
    nlohmann::ordered_json header() const
    {
        nlohmann::ordered_json out;
        std::size_t at = 0;
        for (const auto& t : list) {
            out[t.name] = {{"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {at, at + t.bytes.size()}}};
            at += t.bytes.size();
        }
        return out;
    }
    void write(const fs::path& path, const std::optional<nlohmann::ordered_json>& other_header = std::nullopt) const
    {
        const std::string text = (other_header ? *other_header : header()).dump();
        const std::uint64_t length = text.size();
        std::string file(8, '\0');
        std::memcpy(file.data(), &length, 8);
        file += text;
        for (const auto& t : list) { file += t.bytes; }
        write_text(path, file);
    }
};

// A copy of a folder's files that may be changed (the original may be read-only).
inline void copy_folder(const fs::path& from, const fs::path& to)
{
    fs::create_directories(to);
    for (const auto& entry : fs::directory_iterator(from)) {
        if (entry.is_regular_file()) { write_text(to / entry.path().filename(), read_text(entry.path())); }
    }
}

// The one file of a checkpoint becomes a.safetensors and b.safetensors and an index.
struct Shards {
    fs::path folder;
    Tensors first, second;
    nlohmann::json map;

    explicit Shards(const fs::path& at) : folder(at)
    {
        for (const auto& tensor : Tensors::read(folder / "model.safetensors").list) {
            const bool one = first.list.size() <= second.list.size();
            (one ? first : second).list.push_back(tensor);
            map[tensor.name] = one ? "a.safetensors" : "b.safetensors";
        }
        fs::remove(folder / "model.safetensors");
        first.write(folder / "a.safetensors");
        second.write(folder / "b.safetensors");
        index(map);
    }
    void index(const nlohmann::json& weights) const
    {
        write_text(folder / "model.safetensors.index.json", nlohmann::json({{"weight_map", weights}}).dump());
    }
};

}  // namespace graft_test
