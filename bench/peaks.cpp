#include "peak.hpp"

// The peaks that the other rows are held against, with as many threads as they use, and what one thread reaches.
namespace {

using namespace graft_bench;

double copy_of_dram() { return copy_rate(graft_bench::detail::dram_bytes()); }

bool add_peak(const char* name, const char* counter, double (*peak)(), bool one_thread)
{
    benchmark::RegisterBenchmark(name,
                                 [=](benchmark::State& state) {
                                     const int all = graft::threads();
                                     if (one_thread) { graft::set_threads(1); }
                                     double best = peak();  // the first call touches the memory
                                     for (auto _ : state) { best = std::max(best, peak()); }
                                     graft::set_threads(all);
                                     state.counters[counter] = best / 1e9;
                                 })
        ->Iterations(3)
        ->Unit(benchmark::kMillisecond);
    return true;
}

const bool known = add_peak("peaks/f32 multiply-add, all threads", "GFLOP/s", fma_peak, false)
                   && add_peak("peaks/f32 multiply-add, one thread", "GFLOP/s", fma_peak, true)
                   && add_peak("peaks/DRAM copy, all threads", "GB/s", copy_of_dram, false)
                   && add_peak("peaks/DRAM copy, one thread", "GB/s", copy_of_dram, true)
                   && add_peak("peaks/DRAM read, all threads", "GB/s", dram_read, false)
                   && add_peak("peaks/DRAM read, one thread", "GB/s", dram_read, true);

}  // namespace
