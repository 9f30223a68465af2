#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>

#if defined(_OPENMP)
#include <omp.h>
#endif

// parallel_for over independent tasks: the only place that knows of threads.
//
// How work is cut into tasks depends on shapes alone, and each task writes its own part of the result, so that
// results are the same bits for any number of threads. Without OpenMP everything runs on the calling thread.
namespace graft {

namespace detail {
inline std::atomic<int>& thread_count()
{
    static std::atomic<int> count{[] {
#if defined(_OPENMP)
        return omp_get_max_threads();
#else
        return 1;
#endif
    }()};
    return count;
}
}  // namespace detail

inline int  threads() { return detail::thread_count().load(std::memory_order_relaxed); }
inline void set_threads(int count) { detail::thread_count() = count > 0 ? count : 1; }

// Calls body(task, worker) for each task in [0, tasks); worker in [0, threads()) names the scratch it may use.
// The first exception of a task is thrown on here once all have ended.
template <class Body> void parallel_for(std::int64_t tasks, Body&& body)
{
#if defined(_OPENMP)
    const auto workers = static_cast<int>(tasks < threads() ? tasks : threads());
    if (workers > 1) {
        std::exception_ptr failure;
#pragma omp parallel for num_threads(workers) schedule(dynamic, 1)
        for (std::int64_t task = 0; task < tasks; ++task) {
            try {
                body(task, omp_get_thread_num());
            } catch (...) {
#pragma omp critical(graft_parallel_failure)
                if (!failure) { failure = std::current_exception(); }
            }
        }
        if (failure) { std::rethrow_exception(failure); }
        return;
    }
#endif
    for (std::int64_t task = 0; task < tasks; ++task) { body(task, 0); }
}

// The same over ranges of rows: body(begin, end), at most `grain` rows a task.
template <class Body> void parallel_rows(std::int64_t rows, std::int64_t grain, Body&& body)
{
    const std::int64_t tasks = (rows + grain - 1) / grain;
    parallel_for(tasks, [&](std::int64_t task, int) {
        const std::int64_t begin = task * grain;
        body(begin, begin + grain < rows ? begin + grain : rows);
    });
}

}  // namespace graft
