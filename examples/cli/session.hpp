#pragma once
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <unistd.h>
#include <vector>

#include "cli/program.hpp"
#include "graft/io/atomic_file.hpp"
#include "graft/io/text.hpp"
#include "graft/train/metrics.hpp"
#include "graft/train/metrics_file.hpp"
#include "graft/train/progress.hpp"

// What a training program shows and keeps while it runs: the progress line, metrics.jsonl, the wish to stop.
namespace cli {

// Ctrl-C asks the run to end after the step; a second one ends the process.
class StopSignal {
public:
    StopSignal()
    {
        asked() = 0;
        std::signal(SIGINT, [](int) {
            asked() = 1;
            std::signal(SIGINT, SIG_DFL);
        });
        std::signal(SIGTERM, [](int) { asked() = 1; });
    }
    ~StopSignal()
    {
        std::signal(SIGINT, SIG_DFL);
        std::signal(SIGTERM, SIG_DFL);
    }
    explicit operator bool() const { return asked() != 0; }

private:
    static volatile std::sig_atomic_t& asked()
    {
        static volatile std::sig_atomic_t value = 0;
        return value;
    }
};

// metrics.jsonl: a line a step, on disk as it happens. A resumed run goes on after the lines of the steps that are
// done, whatever a kill has left behind them; the file is replaced as a whole.
class MetricsFile {
public:
    explicit MetricsFile(std::string path, std::span<const graft::StepMetrics> done = {}) : path_(std::move(path))
    {
        namespace fs = std::filesystem;
        std::error_code code;
        const fs::path real = fs::weakly_canonical(path_, code);
        if (!done.empty() && !code && (!fs::exists(real, code) || fs::is_regular_file(real, code))) {
            graft::write_file(real, graft::metrics_text(done));
        }
        file_ = std::fopen(path_.c_str(), done.empty() ? "w" : "a");
        graft::require(file_ != nullptr, [&] { return graft::printable(path_, 1000) + ": cannot be written"; });
    }
    MetricsFile(const MetricsFile&) = delete;
    MetricsFile& operator=(const MetricsFile&) = delete;
    ~MetricsFile()
    {
        if (file_ != nullptr) { std::fclose(file_); }
    }
    void write(const graft::StepMetrics& metrics)
    {
        const std::string line = graft::metrics_line(metrics) + "\n";
        const bool whole = std::fwrite(line.data(), 1, line.size(), file_) == line.size() && std::fflush(file_) == 0;
        graft::require(whole, [&] { return graft::printable(path_, 1000) + ": cannot be written: is the disk full?"; });
    }

private:
    std::string path_;
    std::FILE* file_ = nullptr;
};

// A bar that is drawn again on a terminal, lines in a file: at most about 50 of them.
class Progress {
public:
    Progress(std::int64_t total, bool quiet) : total_(total), quiet_(quiet), terminal_(isatty(STDOUT_FILENO) == 1) {}

    void show(const graft::StepMetrics& metrics)
    {
        if (quiet_) { return; }
        if (terminal_) {
            print("\r\033[K" + graft::progress_line(metrics, total_, {.bar = 20}));
            open_ = true;
            return;
        }
        const std::int64_t every = std::max<std::int64_t>(1, total_ / 50);
        if (metrics.step % every == 0 || metrics.step + 1 == total_ || metrics.eval_loss) {
            print(graft::progress_line(metrics, total_) + "\n");
        }
    }
    ~Progress()
    {
        if (open_) { print("\n"); }
    }

private:
    std::int64_t total_;
    bool quiet_, terminal_, open_ = false;
};

}  // namespace cli
