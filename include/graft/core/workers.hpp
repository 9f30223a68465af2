#pragma once
#include <atomic>
#include <cstdint>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// The threads behind parallel_for. A job is open while its tasks run: a worker that wakes in time joins in, one that
// does not finds it closed and sleeps again. The caller works too and waits for those alone that joined, so that a
// machine with other work on its processors costs a share of the speed and not a time slice at the end of each job.
// Between two jobs a worker looks out for some microseconds, then sleeps.
namespace graft::detail {

// Processors that this process may run on.
inline int processors()
{
#if defined(__linux__)
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) { return CPU_COUNT(&set); }
#endif
    const auto n = static_cast<int>(std::thread::hardware_concurrency());
    return n > 0 ? n : 1;
}

inline void pause()
{
#if defined(__x86_64__)
    _mm_pause();
#endif
}

class Workers {
public:
    // Runs job(context, worker) on the calling thread as worker 0, and on up to `count` - 1 others at the same time as
    // workers 1, 2, …; returns when all that began have ended. False, and nothing done, where the threads are at work
    // already: for another thread, or for the caller of the caller. Neither the
    // job nor what it calls may throw.
    bool run(int count, void (*job)(void*, int), void* context)
    {
        if (busy_.exchange(true)) { return false; }
        grow(count - 1);
        job_ = job;
        context_ = context;
        count_ = count;
        epoch_.fetch_add(1);  // odd: open
        epoch_.notify_all();
        job(context, 0);
        epoch_.fetch_add(1);  // even: closed
        for (int inside = inside_.load(), looks = 0; inside != 0; inside = inside_.load()) {
            if (++looks < spins) {
                pause();
            } else {
                inside_.wait(inside);
            }
        }
        busy_ = false;
        return true;
    }

    ~Workers()
    {
        stop_ = true;
        epoch_.fetch_add(2);
        epoch_.notify_all();
        for (std::thread& t : threads_) { t.join(); }
    }

private:
    static constexpr int spins = 1000;

    void grow(int wanted)
    {
        while (static_cast<int>(threads_.size()) < wanted) {
            try {
                threads_.emplace_back([this, worker = static_cast<int>(threads_.size()) + 1, epoch = epoch_.load()] {
                    loop(worker, epoch);
                });
            } catch (const std::system_error&) {
                return;  // the system gives no more threads: the caller does their tasks
            }
        }
    }

    void loop(int worker, std::uint32_t seen)
    {
        while (!stop_) {
            for (int looks = 0; looks < spins && epoch_.load() == seen; ++looks) { pause(); }
            epoch_.wait(seen);
            seen = epoch_.load();
            if (seen % 2 == 0) { continue; }
            // Say so first, then look whether the job is still open: the caller closes it first, then counts.
            inside_.fetch_add(1);
            if (epoch_.load() == seen && worker < count_) { job_(context_, worker); }
            inside_.fetch_sub(1);
            inside_.notify_all();
        }
    }

    std::vector<std::thread> threads_;
    std::atomic<bool> busy_{false};
    std::atomic<std::uint32_t> epoch_{0};
    std::atomic<int> inside_{0};
    std::atomic<bool> stop_{false};
    void (*job_)(void*, int) = nullptr;
    void* context_ = nullptr;
    int count_ = 0;
};

inline Workers& workers()
{
    static Workers all;
    return all;
}

}  // namespace graft::detail
