#include "graft/core/parallel.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace graft;

namespace {
struct Threads {  // puts the number of threads back
    int before = threads();
    ~Threads() { set_threads(before); }
};
}  // namespace

TEST_CASE("parallel: every task runs once, with a worker below the number of threads")
{
    const Threads restore;
    for (int count : {1, 2, 3, 5}) {
        set_threads(count);
        CHECK(threads() == count);
        for (int tasks : {0, 1, 2, 100}) {
            std::vector<std::atomic<int>> seen(std::size_t(tasks) + 1);
            std::atomic<int> wrong{0};
            parallel_for(tasks, default_shared_work, [&](std::int64_t task, int worker) {
                ++seen[std::size_t(task)];
                if (worker < 0 || worker >= count) { ++wrong; }
            });
            for (int t = 0; t < tasks; ++t) { CHECK(seen[std::size_t(t)] == 1); }
            CHECK(wrong == 0);
        }
    }
    set_threads(0);
    CHECK(threads() == 1);
}

TEST_CASE("parallel: ranges of rows cover all rows, none longer than the grain, cut by shape alone")
{
    const Threads restore;
    for (int count : {1, 4}) {
        set_threads(count);
        for (std::int64_t rows : {0, 1, 7, 8, 9, 100}) {
            std::vector<std::atomic<int>> seen(std::size_t(rows) + 1);
            std::atomic<int> wrong{0};
            parallel_rows(rows, 8, default_shared_work, [&](std::int64_t begin, std::int64_t end) {
                if (begin % 8 != 0 || end - begin > 8 || end > rows || begin >= end) { ++wrong; }
                for (std::int64_t i = begin; i < end; ++i) { ++seen[std::size_t(i)]; }
            });
            for (std::int64_t i = 0; i < rows; ++i) { CHECK(seen[std::size_t(i)] == 1); }
            CHECK(wrong == 0);
        }
    }
}

TEST_CASE("parallel: an exception of a task arrives where the loop was called, and the next loop runs")
{
    const Threads restore;
    for (int count : {1, 2, 5}) {
        set_threads(count);
        CHECK_THROWS_WITH_AS(parallel_for(50, default_shared_work,
                                          [](std::int64_t task, int) {
                                              if (task == 17) { throw std::runtime_error("task 17"); }
                                          }),
                             "task 17", std::runtime_error);
        CHECK_THROWS_AS(
            parallel_for(50, default_shared_work, [](std::int64_t, int) { throw std::runtime_error("all"); }),
            std::runtime_error);
        std::atomic<int> ran{0};
        parallel_for(50, default_shared_work, [&](std::int64_t, int) { ++ran; });
        CHECK(ran == 50);
    }
}

TEST_CASE("parallel: a loop within a loop")
{
    const Threads restore;
    set_threads(3);
    std::atomic<int> ran{0};
    parallel_for(4, default_shared_work,
                 [&](std::int64_t, int) { parallel_for(5, default_shared_work, [&](std::int64_t, int) { ++ran; }); });
    CHECK(ran == 20);
}

TEST_CASE("parallel: loops of several threads at the same time, each with all of its tasks")
{
    const Threads restore;
    set_threads(3);
    std::atomic<int> ran{0};
    std::vector<std::thread> users;
    for (int user = 0; user < 4; ++user) {
        users.emplace_back([&ran] {
            for (int round = 0; round < 200; ++round) {
                parallel_for(7, default_shared_work, [&](std::int64_t, int) { ++ran; });
            }
        });
    }
    for (std::thread& user : users) { user.join(); }
    CHECK(ran == 4 * 200 * 7);
}

TEST_CASE("parallel: small work stays on the calling thread")
{
    const Threads restore;
    set_threads(4);
    std::atomic<int> elsewhere{0};
    const auto here = std::this_thread::get_id();
    parallel_for(100, default_shared_work - 1, [&](std::int64_t, int worker) {
        if (worker != 0 || std::this_thread::get_id() != here) { ++elsewhere; }
    });
    CHECK(elsewhere == 0);
}
