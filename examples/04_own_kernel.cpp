// Chapter 4: an own kernel variant of RMSNorm beside the library's, proven against f64 and then timed, the error beside
// each time. The row length is known at compile time and the target is AVX2: loops have a fixed number of turns.
// More: 04_own_kernel --benchmark_min_time=2
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include <graft/cpu.hpp>

using namespace graft;

struct Problem {
    std::int64_t rows, cols;
};

struct Library {
    static constexpr const char* name = "library";
    static bool fits(const Problem&, const Machine&) { return true; }
    static void forward(View<float> y, float* r, View<const float> x, const float* w, float eps)
    {
        kernel<RmsNormOp, Cpu>::forward(y, r, x, w, eps, {});
    }
};

#if defined(__x86_64__)
// A kernel that says its target itself needs no compiler flag; fits() keeps it off processors without it.
template <int D>
__attribute__((target("avx2,fma"))) float rms_norm_row(float* y, const float* x, const float* w, float eps)
{
    static_assert(D % 32 == 0);
    float part[32] = {};  // added in this order whatever the number of threads: the same bits in every run
    for (int j = 0; j < D; j += 32) {
        for (int q = 0; q < 32; ++q) { part[q] += x[j + q] * x[j + q]; }
    }
    for (int width = 16; width > 0; width /= 2) {
        for (int q = 0; q < width; ++q) { part[q] += part[q + width]; }
    }
    const float r = 1.0f / std::sqrt(part[0] / float(D) + eps);
    for (int j = 0; j < D; ++j) { y[j] = x[j] * r * w[j]; }
    return r;
}

template <int D> struct StaticRow {
    static constexpr const char* name = "static_row";
    static bool fits(const Problem& p, const Machine& on) { return p.cols == D && on.target >= Target::avx2; }
    static void forward(View<float> y, float* r, View<const float> x, const float* w, float eps)
    {
        parallel_rows(x.rows, 64, 4 * x.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) { r[i] = rms_norm_row<D>(y.row(i), x.row(i), w, eps); }
        });
    }
};
using RmsNormVariants = Variants<StaticRow<576>, Library>;  // the first that fits would be the default
#else
using RmsNormVariants = Variants<Library>;
#endif

int main(int argc, char** argv)
{
    const Problem problem{512, 576};
    Acts<float, 576, Cpu> x(problem.rows), y(problem.rows);
    std::vector<float> w(576), r(512);
    for (std::int64_t i = 0; i < problem.rows; ++i) {
        for (int j = 0; j < 576; ++j) { x.view().row(i)[j] = float(std::sin(double(i * 576 + j)) * (1 + i % 7)); }
    }
    for (int j = 0; j < 576; ++j) { w[std::size_t(j)] = float(1 + 0.5 * std::cos(double(j))); }

    bool right = true;
    RmsNormVariants::all(problem, machine(), [&](auto variant) {
        using Variant = decltype(variant);
        Variant::forward(y.view(), r.data(), x.view(), w.data(), 1e-5f);
        double error = 0;  // relative, against the formula in f64
        for (std::int64_t i = 0; i < problem.rows; ++i) {
            const float* in = x.view().row(i);
            double squares = 0;
            for (int j = 0; j < 576; ++j) { squares += double(in[j]) * in[j]; }
            for (int j = 0; j < 576; ++j) {
                const double want = in[j] * w[std::size_t(j)] / std::sqrt(squares / 576 + 1e-5);
                error = std::max(error, std::abs(y.view().row(i)[j] - want) / (std::abs(want) + 1e-30));
            }
        }
        right = right && error < 8 * epsilon<float>();
        benchmark::RegisterBenchmark(Variant::name,
                                     [&, error](benchmark::State& state) {
                                         for (auto _ : state) {
                                             Variant::forward(y.view(), r.data(), x.view(), w.data(), 1e-5f);
                                         }
                                         state.SetBytesProcessed(state.iterations() * problem.rows * problem.cols * 8);
                                         state.counters["error"] = error;
                                     })
            ->UseRealTime()
            ->MinTime(0.3)
            ->Unit(benchmark::kMicrosecond);
    });
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
    std::printf(right ? "every variant is within 8 eps of the formula in f64\n" : "A VARIANT IS WRONG\n");
    return right ? 0 : 1;
}
