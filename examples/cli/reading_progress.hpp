#pragma once
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "cli/text.hpp"
#include "graft/text/dataset.hpp"
#include "graft/train/progress.hpp"

// Tells a waiting person how far the reading is, once it takes longer than a second: a line that is written again on a
// terminal, else one after 1, 2, 4, 8, … seconds. On stderr: what a program finds goes to stdout.
namespace cli {

class ReadingProgress {
public:
    ReadingProgress() : terminal_(isatty(STDERR_FILENO) == 1), start_(Clock::now()) {}
    ReadingProgress(const ReadingProgress&) = delete;
    ReadingProgress& operator=(const ReadingProgress&) = delete;
    ~ReadingProgress()
    {
        if (open_) { write("\r\033[K"); }
    }

    void show(const graft::DataProgress& now)
    {
        const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
        if (seconds < next_) { return; }
        next_ = terminal_ ? seconds + 0.1 : 2 * next_;
        open_ = terminal_;
        const auto line = "reading " + graft::printable(now.file, 200) + ": " + graft::with_commas(now.rows_read)
                          + " rows, " + graft::with_commas(now.rows_used) + " used, " + graft::duration_text(seconds);
        write(terminal_ ? "\r\033[K" + line : line + "\n");
    }

private:
    using Clock = std::chrono::steady_clock;

    static void write(const std::string& text)
    {
        std::fwrite(text.data(), 1, text.size(), stderr);
        std::fflush(stderr);
    }

    bool terminal_, open_ = false;
    double next_ = 1;
    Clock::time_point start_;
};

}  // namespace cli
