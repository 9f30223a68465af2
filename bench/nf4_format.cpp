#include "graft/ops/nf4_matmul/format.hpp"

#include <cmath>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "peak.hpp"

// NF4 as a format, one thread: what loading with quantisation, and a plain dequantisation, cost. Bytes are those of the
// dense side (read or written) and of the packed side together, as a share of a plain copy of as many by one thread.
// The error is the largest one relative to absmax, against the codes in double.
namespace {

namespace nf4 = graft::nf4;

constexpr std::size_t elements = std::size_t(1024) * 4096;
constexpr int block = 64;

template <class T> std::vector<T> weights()
{
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0, 0.02f);
    std::vector<T> w(elements);
    for (auto& x : w) { x = T(normal(random)); }
    return w;
}

struct Packed {
    std::vector<std::uint8_t> bytes = std::vector<std::uint8_t>(nf4::bytes_of(elements));
    std::vector<float> absmax = std::vector<float>(nf4::blocks_of(elements, block));
};

template <class Body> void measure(benchmark::State& state, std::size_t bytes, Body&& body)
{
    double seconds = 0;
    for (auto _ : state) {
        const double t = graft_bench::seconds_of(body);
        benchmark::ClobberMemory();
        state.SetIterationTime(t);
        seconds += t;
    }
    const double rate = double(bytes) * double(state.iterations()) / seconds;
    const int all = graft::threads();
    graft::set_threads(1);
    state.counters["GB/s"] = rate / 1e9;
    state.counters["of copy"] = rate / graft_bench::copy_rate(bytes);
    graft::set_threads(all);
}

template <class T> std::size_t both_sides()
{
    return elements * sizeof(T) + nf4::bytes_of(elements) + nf4::blocks_of(elements, block) * sizeof(float);
}

template <class T> double largest_error(const Packed& q, const std::vector<T>& decoded)
{
    double largest = 0;
    for (std::size_t i = 0; i < elements; ++i) {
        const double absmax = double(q.absmax[i / block]);
        const double exact = double(nf4::code.at[nf4::index_in(q.bytes[i / 2], i)]) * absmax;
        largest = std::max(largest, std::abs(double(float(decoded[i])) - exact) / absmax);
    }
    return largest;
}

template <class T> void quantize(benchmark::State& state)
{
    const auto w = weights<T>();
    Packed q;
    measure(state, both_sides<T>(), [&] { nf4::quantize<T>(w, block, q.bytes, q.absmax); });
}

template <class T> void dequantize(benchmark::State& state)
{
    Packed q;
    nf4::quantize<T>(weights<T>(), block, q.bytes, q.absmax);
    std::vector<T> out(elements);
    measure(state, both_sides<T>(), [&] { nf4::dequantize<T>(q.bytes, q.absmax, block, 0, out); });
    state.counters["error"] = largest_error(q, out);
}

void nest(benchmark::State& state)
{
    Packed q;
    nf4::quantize<float>(weights<float>(), block, q.bytes, q.absmax);
    measure(state, q.absmax.size() * 5, [&] { benchmark::DoNotOptimize(nf4::nest(q.absmax)); });
}

BENCHMARK(quantize<float>)->Name("nf4_format/quantize/f32")->UseManualTime()->MinTime(0.1);
BENCHMARK(quantize<graft::bf16>)->Name("nf4_format/quantize/bf16")->UseManualTime()->MinTime(0.1);
BENCHMARK(dequantize<float>)->Name("nf4_format/dequantize/f32")->UseManualTime()->MinTime(0.1);
BENCHMARK(dequantize<graft::bf16>)->Name("nf4_format/dequantize/bf16")->UseManualTime()->MinTime(0.1);
BENCHMARK(nest)->Name("nf4_format/nest")->UseManualTime()->MinTime(0.1);

}  // namespace
