#pragma once
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "graft/core/machine.hpp"
#include "graft/core/parallel.hpp"

#if defined(__unix__)
#include <unistd.h>
#endif

// What this processor can do at most, measured in the same run as whatever is held against it, with as many threads.
// Each is measured again at every call, and the best of the run counts: other programs can only make it look lower.
//
//   fma_peak()          f32 operations a second in registers: independent chains of fused multiply-adds (2 operations),
//                       on the target that graft's kernels take here. bf16 is expanded to f32 by the kernels so far, so
//                       its products are held against the same peak
//   copy_rate(bytes)    bytes a second, read and written together, of a plain copy that touches so many bytes
//   dram_copy(), dram_read()    the same with arrays of at least 8 times the last cache
namespace graft_bench {

template <class Run> double seconds_of(Run&& run)
{
    const auto begin = std::chrono::steady_clock::now();
    run();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

namespace detail {

inline constexpr std::int64_t all_threads = std::int64_t{1} << 40;  // work that parallel_for finds worth sharing

#define GRAFT_FMA_CHAINS(NAME, TARGET, LANES, CHAINS)                                                                  \
    TARGET inline float NAME(std::int64_t rounds, float by, float plus)                                                \
    {                                                                                                                  \
        typedef float vector __attribute__((vector_size(LANES * sizeof(float))));                                      \
        const vector factor = vector{} + by, term = vector{} + plus;                                                   \
        vector sum[CHAINS];                                                                                            \
        for (int c = 0; c < CHAINS; ++c) { sum[c] = vector{} + float(c); }                                             \
        for (std::int64_t r = 0; r < rounds; ++r) {                                                                    \
            for (int c = 0; c < CHAINS; ++c) { sum[c] = sum[c] * factor + term; }                                      \
        }                                                                                                              \
        float total = 0;                                                                                               \
        for (int c = 0; c < CHAINS; ++c) {                                                                             \
            for (int l = 0; l < LANES; ++l) { total += sum[c][l]; }                                                    \
        }                                                                                                              \
        return total;                                                                                                  \
    }

GRAFT_FMA_CHAINS(fma_portable, , 4, 10)
#if defined(__x86_64__)
GRAFT_FMA_CHAINS(fma_avx2, __attribute__((target("avx2,fma"))), 8, 12)
GRAFT_FMA_CHAINS(fma_avx512, __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma"))), 16, 16)
#endif
#undef GRAFT_FMA_CHAINS

struct Chains {
    float (*run)(std::int64_t, float, float) = fma_portable;
    double operations = 2.0 * 4 * 10;  // a round
};

inline Chains chains()
{
#if defined(__x86_64__)
    if (graft::machine().target == graft::Target::avx512) { return {fma_avx512, 2.0 * 16 * 16}; }
    if (graft::machine().target == graft::Target::avx2) { return {fma_avx2, 2.0 * 8 * 12}; }
#endif
    return {};
}

// The best rate of this run with as many threads as now, for that many bytes (0: multiply-adds).
inline double& best(std::size_t bytes)
{
    static std::map<std::pair<std::size_t, int>, double> rates;
    return rates[{bytes, graft::threads()}];
}

inline std::size_t dram_bytes()
{
    long cache = 0;
#if defined(_SC_LEVEL3_CACHE_SIZE)
    cache = ::sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    return std::clamp<std::size_t>(8 * std::size_t(std::max(cache, 0L)), std::size_t{256} << 20, std::size_t{2} << 30);
}

// Two halves, touched once, and kept while the same number of bytes is asked for.
inline std::vector<char>& arena(std::size_t bytes)
{
    static std::map<bool, std::vector<char>> kept;
    auto& memory = kept[bytes >= dram_bytes()];
    if (memory.size() < bytes) { memory.assign(bytes, 1); }
    return memory;
}

}  // namespace detail

inline double fma_peak()
{
    const auto chains = detail::chains();
    const std::int64_t rounds = 10000, tasks = 4 * graft::threads();  // a task is a few tenths of a millisecond
    double& best = detail::best(0);
    for (int trial = 0; trial < 5; ++trial) {
        const double t = seconds_of([&] {
            graft::parallel_for(tasks, detail::all_threads, [&](std::int64_t, int) {
                benchmark::DoNotOptimize(chains.run(rounds, 0.999f, 1e-3f));
            });
        });
        best = std::max(best, chains.operations * double(rounds) * double(tasks) / t);
    }
    return best;
}

inline double copy_rate(std::size_t bytes)
{
    constexpr std::size_t grain = std::size_t{64} << 10;
    const std::size_t half = std::max(bytes / 2, grain);
    char* const from = detail::arena(2 * half).data();
    const auto tasks = std::int64_t((half + grain - 1) / grain);
    const auto copy = [&] {
        graft::parallel_for(tasks, detail::all_threads, [&](std::int64_t task, int) {
            const std::size_t at = std::size_t(task) * grain;
            std::memcpy(from + half + at, from + at, std::min(grain, half - at));
        });
        benchmark::ClobberMemory();
    };
    const int calls = int(std::clamp<std::size_t>((std::size_t{16} << 20) / half, 1, 200));
    double& best = detail::best(bytes);
    copy();
    for (int trial = 0; trial < 3; ++trial) {
        const double t = seconds_of([&] {
            for (int i = 0; i < calls; ++i) { copy(); }
        });
        best = std::max(best, 2 * double(half) * calls / t);
    }
    return best;
}

// Measured again only when the last one is more than a second old.
inline double dram_copy()
{
    static double rate = 0;
    static std::chrono::steady_clock::time_point until{};
    if (std::chrono::steady_clock::now() > until) {
        rate = copy_rate(detail::dram_bytes());
        until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
    }
    return rate;
}

inline double dram_read()
{
    constexpr std::size_t grain = std::size_t{1} << 20;
    const auto& memory = detail::arena(detail::dram_bytes());
    const auto tasks = std::int64_t(memory.size() / grain);
    double best = 1e9;
    for (int trial = 0; trial < 3; ++trial) {
        best = std::min(best, seconds_of([&] {
                            graft::parallel_for(tasks, detail::all_threads, [&](std::int64_t task, int) {
                                const char* at = memory.data() + std::size_t(task) * grain;
                                std::uint64_t sum[8] = {};
                                for (std::size_t i = 0; i < grain; i += 64) {
                                    std::uint64_t line[8];
                                    std::memcpy(line, at + i, 64);
                                    for (int q = 0; q < 8; ++q) { sum[q] += line[q]; }
                                }
                                for (std::uint64_t one : sum) { benchmark::DoNotOptimize(one); }
                            });
                        }));
    }
    return double(memory.size()) / best;
}

}  // namespace graft_bench
