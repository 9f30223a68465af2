#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "graft/core/dtype.hpp"
#include "graft/ops/nf4_matmul/format.hpp"

// NF4 as a format, one thread: what loading with quantisation, and a plain dequantisation, cost.
// Bytes are those of the dense side (read or written) and of the packed side together. `copy` is memory to memory in the
// same run, the limit of both. `error` is the largest |decoded - x| / absmax against the codes in double.
namespace {

namespace nf4 = graft::nf4;

constexpr std::size_t elements = std::size_t(1024) * 4096;
constexpr int block = 64;

template <class T>
std::vector<T> weights()
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

template <class T>
void count_bytes(benchmark::State& state)
{
    const auto bytes = elements * sizeof(T) + nf4::bytes_of(elements) + nf4::blocks_of(elements, block) * sizeof(float);
    state.SetBytesProcessed(std::int64_t(state.iterations()) * std::int64_t(bytes));
}

template <class T>
double largest_error(const Packed& q, const std::vector<T>& decoded)
{
    double largest = 0;
    for (std::size_t i = 0; i < elements; ++i) {
        const double absmax = double(q.absmax[i / block]);
        const double exact = double(nf4::code.at[nf4::index_in(q.bytes[i / 2], i)]) * absmax;
        largest = std::max(largest, std::abs(double(float(decoded[i])) - exact) / absmax);
    }
    return largest;
}

template <class T>
void quantize(benchmark::State& state)
{
    const auto w = weights<T>();
    Packed q;
    for (auto _ : state) {
        nf4::quantize<T>(w, block, q.bytes, q.absmax);
        benchmark::ClobberMemory();
    }
    count_bytes<T>(state);
}

template <class T>
void dequantize(benchmark::State& state)
{
    Packed q;
    nf4::quantize<T>(weights<T>(), block, q.bytes, q.absmax);
    std::vector<T> out(elements);
    for (auto _ : state) {
        nf4::dequantize<T>(q.bytes, q.absmax, block, 0, out);
        benchmark::ClobberMemory();
    }
    count_bytes<T>(state);
    state.counters["error"] = largest_error(q, out);
}

void nest(benchmark::State& state)
{
    Packed q;
    nf4::quantize<float>(weights<float>(), block, q.bytes, q.absmax);
    for (auto _ : state) { benchmark::DoNotOptimize(nf4::nest(q.absmax)); }
    state.SetBytesProcessed(std::int64_t(state.iterations()) * std::int64_t(q.absmax.size() * 5));
}

void copy(benchmark::State& state)
{
    const auto from = weights<float>();
    std::vector<float> to(elements);
    for (auto _ : state) {
        std::copy(from.begin(), from.end(), to.begin());
        benchmark::ClobberMemory();
    }
    state.SetBytesProcessed(std::int64_t(state.iterations()) * std::int64_t(2 * elements * sizeof(float)));
}

BENCHMARK(copy)->Name("nf4_format/copy");
BENCHMARK(quantize<float>)->Name("nf4_format/quantize/f32");
BENCHMARK(quantize<graft::bf16>)->Name("nf4_format/quantize/bf16");
BENCHMARK(dequantize<float>)->Name("nf4_format/dequantize/f32");
BENCHMARK(dequantize<graft::bf16>)->Name("nf4_format/dequantize/bf16");
BENCHMARK(nest)->Name("nf4_format/nest");

}  // namespace
