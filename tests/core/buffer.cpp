#include "graft/core/buffer.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <thread>

using namespace graft;

// g++ says it one way, clang the other.
#if defined(__SANITIZE_ADDRESS__)
#define GRAFT_TEST_ASAN 1
#elif defined(__has_feature)
#define GRAFT_TEST_ASAN __has_feature(address_sanitizer)
#else
#define GRAFT_TEST_ASAN 0
#endif

namespace {
using CpuPool = Pool<Cpu>;
using Floats = Buffer<float, Cpu>;
using Chars = Buffer<char, Cpu>;
}  // namespace

TEST_CASE("pool: a freed block is handed out again, and the second step asks the system for nothing")
{
    const auto pool = CpuPool::create();
    const float* first = nullptr;
    for (int step = 0; step < 3; ++step) {
        const std::size_t calls = pool->system_calls();
        const Floats a(1000, pool), b(5000, pool);
        {
            const Floats c(1000, pool);
        }
        const Floats d(1000, pool);
        if (step == 0) {
            CHECK(pool->system_calls() == 3);  // d took the memory of c
            first = a.data();
        } else {
            CHECK(pool->system_calls() == calls);
        }
        CHECK(a.data() != d.data());
    }
    CHECK(first != nullptr);
    CHECK(pool->live_bytes() == 0);
    CHECK(pool->held_bytes() >= 7000 * sizeof(float));
    pool->trim();
    CHECK(pool->held_bytes() == 0);
}

TEST_CASE("pool: live and peak bytes, with at most an eighth of waste, 64-byte aligned")
{
    const auto pool = CpuPool::create();
    for (std::int64_t size : {1, 63, 64, 65, 513, 1000, 4097, 100000, 5000001}) {
        const std::size_t before = pool->live_bytes();
        const Chars block(size, pool);
        const std::size_t took = pool->live_bytes() - before;
        CHECK(took >= std::size_t(size));
        CHECK(took <= std::size_t(size) + std::size_t(size) / 8 + 64);
        CHECK(reinterpret_cast<std::uintptr_t>(block.data()) % 64 == 0);
    }
    CHECK(pool->live_bytes() == 0);
    const std::size_t peak = pool->peak_bytes();
    CHECK(peak >= 5000001);
    pool->reset_peak();
    CHECK(pool->peak_bytes() == 0);
    {
        const Floats a(256, pool);
        {
            const Floats b(256, pool);
        }
        const Floats c(256, pool);
    }
    CHECK(pool->peak_bytes() == 2 * 256 * sizeof(float));
}

TEST_CASE("pool: handles share a block, and the last one gives it back")
{
    const auto pool = CpuPool::create();
    {
        Floats a(10, pool);
        a.data()[3] = 7;
        Floats b = a;
        Floats c = std::move(a);
        CHECK(a.empty());
        CHECK(a.size() == 0);
        CHECK(a.data() == nullptr);
        CHECK(b.data() == c.data());
        b = {};
        CHECK(pool->live_bytes() > 0);
        CHECK(c.data()[3] == 7);
        Floats& itself = c;
        c = itself;
        CHECK(c.data()[3] == 7);
    }
    CHECK(pool->live_bytes() == 0);
}

TEST_CASE("pool: poison shows memory that was never written, and memory that was freed")
{
    const auto pool = CpuPool::create({.poison = true});
    float* freed = nullptr;
    {
        const Floats a(16, pool);
        CHECK(std::isnan(a.data()[0]));
        CHECK(std::isnan(a.data()[15]));
        for (int i = 0; i < 16; ++i) { a.data()[i] = 1; }
        freed = a.data();
    }
    CHECK(std::isnan(freed[0]));  // the pool still holds it
    CHECK(std::isnan(freed[15]));
    const Floats again(16, pool);
    CHECK(again.data() == freed);
    CHECK(std::isnan(again.data()[7]));
}

TEST_CASE("pool: a counting pool has sizes and no memory")
{
    const auto pool = CpuPool::create({.poison = true, .counting = true});
    {
        const Floats huge(std::int64_t{1} << 50, pool);
        CHECK(huge.data() == nullptr);
        CHECK_FALSE(huge.empty());
        CHECK(pool->live_bytes() == std::size_t{4} << 50);
    }
    CHECK(pool->live_bytes() == 0);
    CHECK(pool->peak_bytes() == std::size_t{4} << 50);
    CHECK(pool->held_bytes() == 0);
    CHECK(pool->system_calls() == 0);
}

TEST_CASE("pool: it outlives whoever made it as long as a block is out")
{
    auto pool = CpuPool::create({.poison = true});
    const std::weak_ptr<CpuPool> seen = pool;
    Floats block(100, pool);
    pool.reset();
    CHECK_FALSE(seen.expired());
    block.data()[99] = 1;
    block = {};
    CHECK(seen.expired());
}

TEST_CASE("pool: sizes out of range and memory that is not there are one Error")
{
    CHECK_THROWS_AS(Floats(-1), Error);
    CHECK_THROWS_AS(Floats(std::int64_t{1} << 62), Error);
    const auto pool = CpuPool::create();
    {
        const Floats kept(100, pool);
#if !GRAFT_TEST_ASAN  // which ends the program where malloc returns null
        CHECK_THROWS_WITH_AS(Chars(std::int64_t{1} << 61, pool), doctest::Contains("out of memory"), Error);
#endif
        CHECK(kept.data() != nullptr);
        CHECK(pool->live_bytes() == 448);
    }
    CHECK(pool->live_bytes() == 0);
    const Floats none(0, pool);
    CHECK(none.size() == 0);
    CHECK(none.data() != nullptr);
}

TEST_CASE("pool: free blocks of other sizes go back to the system when they have become much")
{
    const auto pool = CpuPool::create();
    for (int i = 0; i < 12; ++i) { const Chars each((std::int64_t{16} + 3 * i) << 20, pool); }
    CHECK(pool->held_bytes() < std::size_t{200} << 20);  // without: 390 MiB
}

TEST_CASE("pool: several threads take and give at once")
{
    const auto pool = CpuPool::create();
    bool ok[4] = {};
    std::thread workers[4];
    for (int w = 0; w < 4; ++w) {
        workers[w] = std::thread([&pool, &good = ok[w], w] {
            good = true;
            for (int i = 0; i < 500; ++i) {
                const Buffer<int, Cpu> a(10 + i % 7 * 100, pool);
                a.data()[0] = w, a.data()[9] = i;
                const auto copy = a;
                good = good && copy.data()[0] == w && copy.data()[9] == i;
            }
        });
    }
    for (auto& worker : workers) { worker.join(); }
    for (bool each : ok) { CHECK(each); }
    CHECK(pool->live_bytes() == 0);
}
