#pragma once
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "graft/core/error.hpp"

// A program of its own that does one training step whenever it is asked for one, so that its peak memory is its own,
// and that two of them can take turns: a line on its standard input, a line of numbers on its standard output.
namespace graft_bench {

// seconds, loss, gradient norm, peak resident KiB (VmHWM); graft's workers add bytes of weights and the pool's peak.
struct StepLine {
    double seconds = 0, loss = 0, grad_norm = 0, peak_kib = 0, weights = 0, pool_peak = 0;
};

// The most memory that this process ever had resident, in KiB; 0 where the system does not say.
inline double peak_resident_kib()
{
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("VmHWM:")) { return std::atof(line.c_str() + 6); }
    }
    return 0;
}

class Worker {
public:
    explicit Worker(std::vector<std::string> command) : name_(command.front())
    {
        int down[2], up[2];
        graft::require(::pipe(down) == 0 && ::pipe(up) == 0, "bench: no pipe could be made");
        std::vector<char*> words;
        for (auto& word : command) { words.push_back(word.data()); }
        words.push_back(nullptr);
        child_ = ::fork();
        graft::require(child_ >= 0, "bench: no process could be started");
        if (child_ == 0) {
            ::dup2(down[0], 0), ::dup2(up[1], 1);
            for (int end : {down[0], down[1], up[0], up[1]}) { ::close(end); }
            ::execvp(words[0], words.data());
            ::_exit(127);
        }
        ::close(down[0]), ::close(up[1]);
        to_ = ::fdopen(down[1], "w"), from_ = ::fdopen(up[0], "r");
    }
    Worker(Worker&& other) noexcept
        : name_(other.name_), child_(std::exchange(other.child_, -1)), to_(std::exchange(other.to_, nullptr)),
          from_(std::exchange(other.from_, nullptr))
    {}
    Worker& operator=(Worker&&) = delete;
    ~Worker()
    {
        if (to_ != nullptr) { std::fclose(to_); }  // end of its input: it goes
        if (from_ != nullptr) { std::fclose(from_); }
        if (child_ > 0) { ::waitpid(child_, nullptr, 0); }
    }

    StepLine step()
    {
        StepLine out;
        char line[256] = "";
        graft::require(std::fputs("step\n", to_) >= 0 && std::fflush(to_) == 0
                           && std::fgets(line, sizeof line, from_) != nullptr
                           && std::sscanf(line, "%lf %lf %lf %lf %lf %lf", &out.seconds, &out.loss, &out.grad_norm,
                                          &out.peak_kib, &out.weights, &out.pool_peak)
                                  >= 4,
                       "bench: " + name_ + " gave no step: its own words are above");
        return out;
    }

private:
    std::string name_;
    pid_t child_ = -1;
    std::FILE* to_ = nullptr;
    std::FILE* from_ = nullptr;
};

}  // namespace graft_bench
