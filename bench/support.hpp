#pragma once
#include <cmath>
#include <concepts>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graft/autograd/param.hpp"
#include "graft/autograd/tape.hpp"
#include "peak.hpp"

// An op as a benchmark: a template Case<T> with values in, and what the op does to them.
//
//   template <Float T> struct Case {
//       Case(Inputs in, sizes...)                  draws its values from `in`
//       auto forward(TapeRef tape)                 the op; with a tape it is recorded
//       Tensor<...> dy                             the gradient of what forward gives
//       void grads(auto&& use)                     use(grad) for each gradient that backward writes
//       Work forward_work() const, backward_work() const
//   };
//   inline const bool known = add<Case>("name", sizes...);     rows name/forward/f32, name/backward/bf16, …
//
// A row has the time of forward, or of the recorded backward alone; GFLOP/s and GB/s of the least work the op needs,
// as shares of the peaks of peak.hpp, measured after each repetition; and the error, || got - exact || / || exact ||,
// against the same op in f64 on the same values, of backward that of the worst gradient. The f64 ops are held to
// formulas by tests/ops.
namespace graft_bench {

using namespace graft;

// What an op cannot do without: operations, and bytes read and written. 0: not what limits it.
struct Work {
    double flops = 0, bytes = 0;
};

// Numbers in (-1, 1) times scale, the same for every T: with `half` they are rounded to bf16 first.
struct Inputs {
    bool half = false;
    std::uint64_t drawn = 0;

    template <class T> void fill(View<T> to, double scale)
    {
        std::uint64_t state = ++drawn * 0x9e3779b97f4a7c15U;
        for (std::int64_t i = 0; i < to.rows; ++i) {
            for (std::int64_t j = 0; j < to.cols(); ++j) {
                state = state * 6364136223846793005U + 1442695040888963407U;
                const float value = float((double(state >> 40) / double(1 << 23) - 1.0) * scale);
                to.row(i)[j] = T(half ? float(bf16(value)) : value);
            }
        }
    }
    template <Float T> Acts<T, dyn, Cpu> rows(std::int64_t n, std::int64_t d, double scale = 1)
    {
        Acts<T, dyn, Cpu> x(n, d);
        fill(x.view(), scale);
        return x;
    }
    // The same, wanting a gradient.
    template <Float T> Acts<T, dyn, Cpu> input(std::int64_t n, std::int64_t d, double scale = 1)
    {
        auto x = rows<T>(n, d, scale);
        x.want_grad();
        return x;
    }
    template <Float T, class S = Shape<dyn, dyn>>
    Frozen<T, S, Cpu> frozen(std::int64_t n, std::int64_t d, double scale = 1)
    {
        return Frozen<T, S, Cpu>(rows<T>(n, d, scale).template as<S>());
    }
    template <Float T> Param<T, Shape<dyn, dyn>, Cpu> param(std::int64_t n, std::int64_t d, double scale = 1)
    {
        const auto master = rows<acc<T>>(n, d, scale);
        Param<T, Shape<dyn, dyn>, Cpu> w(master);
        for (std::int64_t i = 0; i < n && !std::same_as<T, acc<T>>; ++i) {
            for (std::int64_t j = 0; j < d; ++j) {
                w.working().data()[i * w.working().stride() + j] = T(master.view().row(i)[j]);
            }
        }
        return w;
    }
    std::int32_t below(std::int64_t n)
    {
        return std::int32_t((++drawn * 0x9e3779b97f4a7c15U >> 33) % std::uint64_t(n));
    }
};

template <class T> std::vector<double> doubles(View<const T> from)
{
    std::vector<double> out;
    out.reserve(std::size_t(from.rows * from.cols()));
    for (std::int64_t i = 0; i < from.rows; ++i) {
        for (std::int64_t j = 0; j < from.cols(); ++j) { out.push_back(double(from.row(i)[j])); }
    }
    return out;
}

inline double distance(const std::vector<double>& got, const std::vector<double>& exact)
{
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
        difference += (got[i] - exact[i]) * (got[i] - exact[i]);
        size += exact[i] * exact[i];
    }
    return std::sqrt(difference / size);
}

// The counters of a row, from its work, the seconds of one iteration, and its error, which must be one of rounding.
inline void report(benchmark::State& state, const Work& work, double seconds, double error)
{
    if (work.flops > 0) {
        state.counters["GFLOP/s"] = work.flops / seconds / 1e9;
        state.counters["of FMA peak"] = work.flops / seconds / fma_peak();
    }
    if (work.bytes > 0) {
        state.counters["GB/s"] = work.bytes / seconds / 1e9;
        state.counters["of copy"] = work.bytes / seconds / copy_rate(std::size_t(work.bytes));
        state.counters["of DRAM copy"] = work.bytes / seconds / dram_copy();
    }
    state.counters["error"] = error;
    // Rounding of bf16 operands costs some 0.003, a wrong index or sign 0.1 at least.
    if (!(error < 0.02)) { state.SkipWithError("the result is wrong: its time is worth nothing"); }
}

enum class Part { forward, backward, both };

template <class Y> void seed(const Y& y, const Y& dy)
{
    const auto to = y.grad().sink();
    for (std::int64_t i = 0; i < dy.rows(); ++i) { std::copy_n(dy.view().row(i), dy.cols(), to.view.row(i)); }
}

// Runs a part once; the seconds of that part alone.
template <class Case> double run_once(Case& c, Part part)
{
    if (part == Part::forward) {
        return seconds_of([&] { benchmark::DoNotOptimize(c.forward(no_tape).data()); });
    }
    Tape tape;
    double forward = 0, backward = 0;
    {
        decltype(c.forward(no_tape)) y;
        forward = seconds_of([&] { y = c.forward(tape); });
        seed(y, c.dy);
    }
    backward = seconds_of([&] { tape.run(); });
    return part == Part::both ? forward + backward : backward;
}

// What a part computes, as doubles.
template <class Case> std::vector<std::vector<double>> results(Case& c, Part part)
{
    std::vector<std::vector<double>> out;
    const auto copy = [&](const auto& view) { out.push_back(doubles(view)); };
    if (part == Part::forward) {
        const auto y = c.forward(no_tape);
        using Y = std::remove_pointer_t<decltype(y.data())>;
        copy(View<const Y>(y.view()));
    } else {
        run_once(c, part);
        c.grads([&](const auto& grad) { copy(grad.view()); });
    }
    return out;
}

// Values and error of the benchmark that runs now: made at its first repetition, dropped when the next one starts.
template <class T, class Make> T& kept(const std::string& name, Make&& make)
{
    static std::pair<std::string, std::shared_ptr<void>> held;
    if (held.first != name) {
        held = {};
        Pool<Cpu>::common()->trim();
        held = {name, std::make_shared<T>(make())};
    }
    return *static_cast<T*>(held.second.get());
}

template <template <class> class Case, class T, class... Sizes>
void measure(benchmark::State& state, const std::string& name, Part part, Sizes... sizes)
{
    constexpr bool half = std::same_as<T, bf16>;
    struct Now {
        Case<T> values;
        double error = 0;
    };
    Now& now = kept<Now>(name, [&] {
        Case<T> got(Inputs{half}, sizes...);
        Case<double> exact(Inputs{half}, sizes...);
        const auto found = results(got, part), wanted = results(exact, part);
        double error = 0;
        for (std::size_t i = 0; i < wanted.size(); ++i) { error = std::max(error, distance(found[i], wanted[i])); }
        return Now{Case<T>(Inputs{half}, sizes...), error};
    });
    Case<T>& values = now.values;
    double seconds = 0;
    for (auto _ : state) {
        const double t = run_once(values, part);
        if (part != Part::forward) {
            values.grads([](const auto& grad) { grad.clear(); });
        }
        state.SetIterationTime(t);
        seconds += t;
    }
    const Work ahead = values.forward_work(), back = values.backward_work();
    const Work work = part == Part::forward    ? ahead
                      : part == Part::backward ? back
                                               : Work{ahead.flops + back.flops, ahead.bytes + back.bytes};
    report(state, work, seconds / double(state.iterations()), now.error);
}

// Registers one part of a case, in f32 and in bf16.
template <template <class> class Case, class... Sizes> bool add_part(const std::string& name, Part part, Sizes... sizes)
{
    const auto one = [&](const std::string& full, auto type) {
        using T = decltype(type);
        benchmark::RegisterBenchmark(full.c_str(),
                                     [=](benchmark::State& state) { measure<Case, T>(state, full, part, sizes...); })
            ->UseManualTime()
            ->MinTime(0.05)
            ->Unit(benchmark::kMicrosecond);
    };
    const char* word = part == Part::forward ? "/forward" : part == Part::backward ? "/backward" : "/forward+backward";
    one(name + word + "/f32", float());
    one(name + word + "/bf16", bf16());
    return true;
}
template <template <class> class Case, class... Sizes> bool add(const std::string& name, Sizes... sizes)
{
    return add_part<Case>(name, Part::forward, sizes...) && add_part<Case>(name, Part::backward, sizes...);
}

// The shape that rows are measured at unless they say otherwise: SmolLM2-135M, two documents of 512 tokens.
namespace smol {
inline constexpr std::int64_t rows = 1024, tokens = 512, dim = 576, ffn = 1536, heads = 9, kv_heads = 3, head = 64;
inline constexpr std::int64_t vocab = 49152, layers = 30, rank = 16;
}  // namespace smol

}  // namespace graft_bench
