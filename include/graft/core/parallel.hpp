#pragma once
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <mutex>

#include "graft/core/workers.hpp"

// parallel_for over independent tasks: the only place that knows of threads.
//
// How work is cut into tasks depends on shapes alone, and each task writes its own part of the result, so that
// results are the same bits for any number of threads. A call inside a task, and one made while another thread's call
// is running, does all of its tasks on the calling thread; so does one whose work is too small to be worth waking
// another.
namespace graft {

// Elementary operations below which a second thread costs more than it saves: some 30 microseconds.
inline constexpr std::int64_t default_shared_work = 1 << 17;

namespace detail {
inline std::atomic<int>& thread_count()
{
    static std::atomic<int> count{[] {
        const char* const named = std::getenv("GRAFT_THREADS");
        const int n = named != nullptr ? std::atoi(named) : 0;
        return n > 0 ? n : processors();
    }()};
    return count;
}

inline std::atomic<std::int64_t>& smallest_shared()
{
    static std::atomic<std::int64_t> work{default_shared_work};
    return work;
}
}  // namespace detail

// Threads that parallel_for uses, the caller's included: the processors of this process unless GRAFT_THREADS or
// set_threads says otherwise.
inline int threads() { return detail::thread_count().load(std::memory_order_relaxed); }
inline void set_threads(int count) { detail::thread_count() = count > 0 ? count : 1; }

// The least work, in elementary operations, that is shared among threads; 0: any, however small (for tests).
inline void share_work_from(std::int64_t operations) { detail::smallest_shared() = operations; }

// Calls body(task, worker) for each task in [0, tasks); worker in [0, threads()) names the scratch it may use.
// `work` is the size of all tasks together, in elementary operations: an element read, changed and written, or 16
// multiply-adds of a product.
// The first exception of a task is thrown on here once all have ended.
template <class Body> void parallel_for(std::int64_t tasks, std::int64_t work, Body&& body)
{
    struct Job {
        Body* body;
        std::int64_t tasks;
        std::atomic<std::int64_t> next{0};
        std::mutex failing{};
        std::exception_ptr failure{};
    } job{&body, tasks};
    const auto run = [](void* context, int worker) {
        Job& job = *static_cast<Job*>(context);
        for (std::int64_t task; (task = job.next.fetch_add(1, std::memory_order_relaxed)) < job.tasks;) {
            try {
                (*job.body)(task, worker);
            } catch (...) {
                const std::lock_guard<std::mutex> lock(job.failing);
                if (!job.failure) { job.failure = std::current_exception(); }
            }
        }
    };
    const auto workers = static_cast<int>(tasks < threads() ? tasks : threads());
    const bool shared = workers > 1 && work >= detail::smallest_shared().load(std::memory_order_relaxed);
    if (!shared || !detail::workers().run(workers, run, &job)) { run(&job, 0); }
    if (job.failure) { std::rethrow_exception(job.failure); }
}

// The same over ranges of rows: body(begin, end), at most `grain` rows a task; `row_work` elementary operations a row.
template <class Body> void parallel_rows(std::int64_t rows, std::int64_t grain, std::int64_t row_work, Body&& body)
{
    const std::int64_t tasks = (rows + grain - 1) / grain;
    parallel_for(tasks, rows * row_work, [&](std::int64_t task, int) {
        const std::int64_t begin = task * grain;
        body(begin, begin + grain < rows ? begin + grain : rows);
    });
}

}  // namespace graft
