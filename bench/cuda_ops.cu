// cuda_ops [--tiny]: the CUDA kernels of rms_norm, nf4_matmul, lora and cross_entropy on this machine's device.
//
// A row is the median of several batches between two CUDA events: time; bytes that must be moved, or operations, a
// second; that as a share of a plain copy, or of cuBLASLt's dense bf16 product, measured in the same run; and the
// largest error of some rows against double, relative to the largest value. A row whose error is too large is marked
// WRONG, and the program ends with 1. --tiny runs every kernel once on small shapes: a test of the program where times
// mean nothing.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "graft/core/cuda.cuh"
#include "graft/ops/cross_entropy/cuda.cuh"
#include "graft/ops/lora/cuda.cuh"
#include "graft/ops/matmul/cuda.cuh"
#include "graft/ops/nf4_matmul/cuda.cuh"
#include "graft/ops/rms_norm/cuda.cuh"

using namespace graft;

namespace {

using Rows = std::vector<std::int64_t>;

template <class T> using Device2d = Acts<T, dyn, Cuda>;

struct Bench {
    bool tiny = false;
    bool failed = false;
    double copy_rate = 0, product_rate = 0;  // bytes and operations a second
    std::shared_ptr<Pool<Cuda>> pool;

    Bench(bool small, cudaStream_t stream) : tiny(small), pool(Pool<Cuda>::create({}, {.stream = stream})) {}

    memory<Cuda>::Stream stream() const { return pool->stream(); }

    // Seconds of one call: the median of seven batches of about 20 ms.
    double seconds(const std::function<void()>& run) const
    {
        cudaEvent_t begin, end;
        gpu::check(cudaEventCreate(&begin), "event");
        gpu::check(cudaEventCreate(&end), "event");
        const auto batch = [&](int calls) {
            gpu::check(cudaEventRecord(begin, stream().stream), "event");
            for (int i = 0; i < calls; ++i) { run(); }
            gpu::check(cudaEventRecord(end, stream().stream), "event");
            gpu::check(cudaEventSynchronize(end), "a kernel failed");
            float ms = 0;
            gpu::check(cudaEventElapsedTime(&ms, begin, end), "event");
            return std::max(double(ms), 1e-4) / 1e3 / calls;
        };
        std::vector<double> each{batch(1)};
        if (!tiny) {
            const int calls = int(std::clamp(0.02 / batch(3), 1.0, 2000.0));
            each.clear();
            for (int i = 0; i < 7; ++i) { each.push_back(batch(calls)); }
        }
        cudaEventDestroy(begin);
        cudaEventDestroy(end);
        std::sort(each.begin(), each.end());
        return each[each.size() / 2];
    }

    // One row. `bytes` or `operations` is what the op cannot do without; the other is 0.
    void row(const std::string& name, double seconds, double bytes, double operations, double error, double limit)
    {
        const double rate = (bytes > 0 ? bytes : operations) / seconds, peak = bytes > 0 ? copy_rate : product_rate;
        const bool wrong = !(error <= limit);
        std::printf("| %-44s | %10.1f us | %8.1f %-7s | %5.1f %% | %.1e |%s\n", name.c_str(), seconds * 1e6,
                    rate / (bytes > 0 ? 1e9 : 1e12), bytes > 0 ? "GB/s" : "TFLOP/s", 100 * rate / peak, error,
                    wrong ? " WRONG" : "");
        std::fflush(stdout);
        failed = failed || wrong;
    }
};

template <class T> std::string name_of(const char* op, const char* how, std::int64_t rows, std::int64_t cols)
{
    return std::string(op) + " " + how + ", " + type_name<T>() + ", " + std::to_string(rows) + " x "
           + std::to_string(cols);
}

// Values in (-1, 1), on the host (as T holds them) and on the device.
template <class T> struct Values {
    std::int64_t rows, cols;
    std::vector<T> host;
    Device2d<T> there;

    Values(std::int64_t n, std::int64_t d, const Bench& bench, std::uint64_t seed, double scale = 1)
        : rows(n), cols(d), host(std::size_t(n * d)), there(n, d, bench.pool)
    {
        std::uint64_t state = seed * 0x9e3779b97f4a7c15U + 1;
        for (T& value : host) {
            state = state * 6364136223846793005U + 1442695040888963407U;
            value = T(float((double(state >> 40) / double(1 << 23) - 1.0) * scale));
        }
        for (std::int64_t i = 0; i < n; ++i) {
            memory<Cuda>::copy(there.view().row(i), host.data() + i * d, std::size_t(d) * sizeof(T), bench.stream());
        }
    }
    double at(std::int64_t i, std::int64_t j) const { return double(host[std::size_t(i * cols + j)]); }
    View<const T> view() const { return there.view(); }
};

Rows some_rows(std::int64_t rows) { return {0, rows / 2, rows - 1}; }

// The largest difference of the named rows from want(i, j), relative to the largest wanted.
template <class T, class Want> double error_of(const Device2d<T>& got, const Rows& rows, Want want)
{
    double difference = 0, size = 0;
    std::vector<T> row(std::size_t(got.cols()));
    for (const std::int64_t i : rows) {
        memory<Cuda>::copy(row.data(), got.view().row(i), row.size() * sizeof(T), got.pool()->stream());
        for (std::int64_t j = 0; j < got.cols(); ++j) {
            const double exact = want(i, j), d = std::abs(double(row[std::size_t(j)]) - exact);
            size = std::max(size, std::abs(exact));
            if (!(d <= difference)) { difference = d; }  // NaN stays
        }
    }
    return difference / size;
}

template <class T> double limit(std::int64_t terms)
{
    return 2 * epsilon<T>() + 8 * std::sqrt(double(terms)) * epsilon<acc<T>>();
}

void bench_peaks(Bench& bench)
{
    const std::int64_t bytes = bench.tiny ? 1 << 16 : 1 << 29, n = bench.tiny ? 32 : 8192;
    {
        const Buffer<std::byte, Cuda> from(bytes, bench.pool), to(bytes, bench.pool);
        cudaMemsetAsync(from.data(), 0, std::size_t(bytes), bench.stream().stream);
        const double t =
            bench.seconds([&] { memory<Cuda>::copy(to.data(), from.data(), std::size_t(bytes), bench.stream()); });
        bench.copy_rate = 2.0 * double(bytes) / t;
        bench.row("copy, " + std::to_string(bytes >> 10) + " KiB", t, 2.0 * double(bytes), 0, 0, 0);
    }
    const Values<bf16> x(n, n, bench, 1), w(n, n, bench, 2);
    Device2d<bf16> y(n, n, bench.pool);
    const Buffer<std::byte, Cuda> scratch(std::int64_t(kernel<MatmulOp, Cuda>::workspace<bf16>({n, n, n})), bench.pool);
    const double t = bench.seconds(
        [&] { kernel<MatmulOp, Cuda>::forward<bf16>(y.view(), x.view(), w.view(), scratch.data(), bench.stream()); });
    const double operations = 2.0 * double(n) * double(n) * double(n);
    bench.product_rate = operations / t;
    std::vector<double> exact(static_cast<std::size_t>(n));
    for (std::int64_t j = 0; j < n; ++j) {
        for (std::int64_t k = 0; k < n; ++k) { exact[std::size_t(j)] += x.at(n - 1, k) * w.at(j, k); }
    }
    const double error = error_of(y, {n - 1}, [&](std::int64_t, std::int64_t j) { return exact[std::size_t(j)]; });
    bench.row(name_of<bf16>("matmul", "cuBLASLt", n, n), t, 0, operations, error, limit<bf16>(n));
}

template <class T> void bench_rms_norm(Bench& bench, std::int64_t rows, std::int64_t d)
{
    using A = acc<T>;
    using Kernel = kernel<RmsNormOp, Cuda>;
    const Values<T> x(rows, d, bench, 1), w(1, d, bench, 2), dy(rows, d, bench, 3);
    Device2d<T> y(rows, d, bench.pool), dx(rows, d, bench.pool);
    Device2d<A> dw(1, d, bench.pool);
    const Buffer<A, Cuda> r(rows, bench.pool);
    const double eps = 1e-5, bytes = double(rows * d) * sizeof(T);
    const auto inverse = [&](std::int64_t i) {
        double squares = 0;
        for (std::int64_t j = 0; j < d; ++j) { squares += x.at(i, j) * x.at(i, j); }
        return 1 / std::sqrt(squares / double(d) + eps);
    };
    std::vector<double> scale(static_cast<std::size_t>(rows)), dot(static_cast<std::size_t>(rows));
    for (const std::int64_t i : some_rows(rows)) {
        scale[std::size_t(i)] = inverse(i);
        for (std::int64_t j = 0; j < d; ++j) {
            dot[std::size_t(i)] += dy.at(i, j) * w.at(0, j) * x.at(i, j) / double(d);
        }
    }
    Kernel::Variants::all(RmsNormProblem{rows, d}, machine(), [&](auto cut) {
        const double forward = bench.seconds(
            [&] { Kernel::forward_as(cut, y.view(), r.data(), x.view(), w.view().data, A(eps), bench.stream()); });
        bench.row(
            name_of<T>("rms_norm", decltype(cut)::name, rows, d), forward, 2 * bytes, 0,
            error_of(y, some_rows(rows),
                     [&](std::int64_t i, std::int64_t j) { return x.at(i, j) * scale[std::size_t(i)] * w.at(0, j); }),
            limit<T>(d));
        const double backward = bench.seconds([&] {
            Kernel::backward_as(cut, Sink<T>{dx.view(), false}, dy.view(), r.data(), x.view(), w.view().data,
                                bench.stream());
        });
        bench.row(name_of<T>("rms_norm backward", decltype(cut)::name, rows, d), backward, 3 * bytes, 0,
                  error_of(dx, some_rows(rows),
                           [&](std::int64_t i, std::int64_t j) {
                               const double s = scale[std::size_t(i)];
                               return s * (dy.at(i, j) * w.at(0, j) - x.at(i, j) * s * s * dot[std::size_t(i)]);
                           }),
                  limit<T>(d));
    });
    const double weight = bench.seconds([&] {
        Kernel::backward<T, A>({}, Sink<A>{dw.view(), false}, dy.view(), r.data(), x.view(), w.view().data,
                               bench.stream());
    });
    std::vector<double> all(static_cast<std::size_t>(rows));
    for (std::int64_t i = 0; i < rows; ++i) { all[std::size_t(i)] = inverse(i); }
    bench.row(name_of<T>("rms_norm dw", "columns", rows, d), weight, 2 * bytes, 0,
              error_of(dw, {0},
                       [&](std::int64_t, std::int64_t j) {
                           double sum = 0;
                           for (std::int64_t i = 0; i < rows; ++i) {
                               sum += dy.at(i, j) * double(T(float(x.at(i, j) * all[std::size_t(i)])));
                           }
                           return sum;
                       }),
              // x r is rounded to T, and near a tie the exact value may round the other way
              limit<T>(rows));
}

template <class T> void bench_nf4(Bench& bench, std::int64_t rows, std::int64_t in, std::int64_t out)
{
    using Kernel = kernel<Nf4MatmulOp, Cuda>;
    const Values<T> x(rows, in, bench, 1), dy(rows, out, bench, 2);
    const Values<float> drawn(out, in, bench, 3, 0.05);
    const auto n = std::size_t(in * out);
    std::vector<std::uint8_t> codes(nf4::bytes_of(n));
    std::vector<float> absmax(nf4::blocks_of(n, 64)), decoded(n);
    nf4::quantize<float>(drawn.host, 64, codes, absmax);
    nf4::dequantize<float>(codes, absmax, 64, 0, decoded);
    const Nf4Weight<Shape<dyn, dyn>, Cuda> w(out, in, codes, absmax, 64, nf4::Type::nf4, bench.pool);
    const Nf4MatmulProblem problem{rows, in, out};
    const auto weight = [&](std::int64_t o, std::int64_t i) { return double(T(decoded[std::size_t(o * in + i)])); };
    const double operations = 2.0 * double(rows) * double(in) * double(out), bytes = rows <= 16 ? double(w.bytes()) : 0;
    Device2d<T> y(rows, out, bench.pool), dx(rows, in, bench.pool);

    Kernel::Variants::all(problem, machine(), [&](auto variant) {
        const Buffer<std::byte, Cuda> scratch(std::int64_t(variant.template workspace<T>(problem)), bench.pool);
        const double t = bench.seconds(
            [&] { variant.template forward<T>(y.view(), x.view(), w.view(), scratch.data(), bench.stream()); });
        bench.row(name_of<T>("nf4_matmul", decltype(variant)::name, rows, in) + " x " + std::to_string(out), t, bytes,
                  operations,
                  error_of(y, {rows - 1},
                           [&](std::int64_t i, std::int64_t o) {
                               double sum = 0;
                               for (std::int64_t k = 0; k < in; ++k) { sum += x.at(i, k) * weight(o, k); }
                               return sum;
                           }),
                  limit<T>(in));
    });
    if (rows <= 16) { return; }
    const Buffer<std::byte, Cuda> scratch(std::int64_t(Kernel::workspace_backward<T>(problem)), bench.pool);
    const double t = bench.seconds([&] {
        Kernel::backward_x(Sink<T>{dx.view(), false}, dy.view(), w.view(), scratch.data(), bench.stream());
    });
    std::vector<double> exact(static_cast<std::size_t>(in));
    for (std::int64_t o = 0; o < out; ++o) {
        for (std::int64_t k = 0; k < in; ++k) { exact[std::size_t(k)] += dy.at(rows - 1, o) * weight(o, k); }
    }
    bench.row(name_of<T>("nf4_matmul backward", "chunks", rows, in) + " x " + std::to_string(out), t, 0, operations,
              error_of(dx, {rows - 1}, [&](std::int64_t, std::int64_t k) { return exact[std::size_t(k)]; }),
              limit<T>(out));
}

template <class T>
void bench_lora(Bench& bench, std::int64_t rows, std::int64_t in, std::int64_t out, std::int64_t rank)
{
    using A = acc<T>;
    using Kernel = kernel<LoraOp, Cuda>;
    const LoraProblem problem{rows, in, out, rank};
    const Values<T> x(rows, in, bench, 1), a(rank, in, bench, 2), b(out, rank, bench, 3), dy(rows, out, bench, 4);
    Device2d<T> y(rows, out, bench.pool), dx(rows, in, bench.pool);
    Device2d<A> h(rows, rank, bench.pool), dh(rows, rank, bench.pool), da(rank, in, bench.pool),
        db(out, rank, bench.pool);
    const Buffer<std::byte, Cuda> scratch(
        std::int64_t(std::max(Kernel::workspace<T>(problem), Kernel::workspace_backward<T>(problem))), bench.pool);
    const double scale = 2;
    const auto forward = [&] {
        Kernel::forward(View<T>(y.view()), h.view(), x.view(), a.view(), b.view(), A(scale), scratch.data(),
                        bench.stream());
    };
    const double t = bench.seconds(forward);
    // The op adds to y: for the error it starts from zeros.
    cudaMemsetAsync(y.data(), 0, std::size_t(rows * y.stride()) * sizeof(T), bench.stream().stream);
    forward();
    const std::int64_t last = rows - 1;
    std::vector<double> h_last(static_cast<std::size_t>(rank)), dh_last(static_cast<std::size_t>(rank));
    for (std::int64_t q = 0; q < rank; ++q) {
        for (std::int64_t k = 0; k < in; ++k) { h_last[std::size_t(q)] += scale * x.at(last, k) * a.at(q, k); }
        for (std::int64_t o = 0; o < out; ++o) { dh_last[std::size_t(q)] += scale * dy.at(last, o) * b.at(o, q); }
    }
    const std::string shape = " x " + std::to_string(out) + ", rank " + std::to_string(rank);
    bench.row(name_of<T>("lora", "cuBLASLt", rows, in) + shape, t, double(rows * (in + 2 * out)) * sizeof(T), 0,
              error_of(y, {last},
                       [&](std::int64_t, std::int64_t o) {
                           double sum = 0;
                           for (std::int64_t q = 0; q < rank; ++q) { sum += h_last[std::size_t(q)] * b.at(o, q); }
                           return sum;
                       }),
              limit<T>(in));
    const double back = bench.seconds([&] {
        Kernel::backward(Sink<T>{dx.view(), false}, Sink<A>{da.view(), false}, Sink<A>{db.view(), false},
                         View<A>(dh.view()), dy.view(), View<const A>(h.view()), x.view(), a.view(), b.view(), A(scale),
                         scratch.data(), bench.stream());
    });
    // dA of the first rank needs dh of all rows.
    std::vector<double> exact(static_cast<std::size_t>(in));
    for (std::int64_t n = 0; n < rows; ++n) {
        double dh0 = 0;
        for (std::int64_t o = 0; o < out; ++o) { dh0 += scale * dy.at(n, o) * b.at(o, 0); }
        for (std::int64_t k = 0; k < in; ++k) { exact[std::size_t(k)] += dh0 * x.at(n, k); }
    }
    const double error_a = error_of(da, {0}, [&](std::int64_t, std::int64_t k) { return exact[std::size_t(k)]; });
    const double error_x = error_of(dx, {last}, [&](std::int64_t, std::int64_t k) {
        double sum = 0;
        for (std::int64_t q = 0; q < rank; ++q) { sum += dh_last[std::size_t(q)] * a.at(q, k); }
        return sum;
    });
    bench.row(name_of<T>("lora backward", "cuBLASLt", rows, in) + shape, back,
              double(rows * (2 * in + out)) * sizeof(T), 0, std::max(error_a, error_x), limit<T>(rows + out));
}

template <class T> void bench_cross_entropy(Bench& bench, std::int64_t rows, std::int64_t cols)
{
    using A = acc<T>;
    using Kernel = kernel<CrossEntropyOp, Cuda>;
    const Values<T> z(rows, cols, bench, 1, 8);
    Device2d<T> dz(rows, cols, bench.pool);
    const Buffer<A, Cuda> loss(1, bench.pool), lse(rows, bench.pool), seed(1, bench.pool);
    const Buffer<double, Cuda> each(rows, bench.pool);
    std::vector<std::int32_t> labels(static_cast<std::size_t>(rows));
    for (std::int64_t i = 0; i < rows; ++i) { labels[std::size_t(i)] = std::int32_t(i * 7919 % cols); }
    const Buffer<std::int32_t, Cuda> there(rows, bench.pool);
    memory<Cuda>::copy(there.data(), labels.data(), labels.size() * sizeof(std::int32_t), bench.stream());
    const A one = 1;
    memory<Cuda>::copy(seed.data(), &one, sizeof one, bench.stream());
    const double scale = 1.0 / double(rows), bytes = double(rows * cols) * sizeof(T);

    const double forward = bench.seconds(
        [&] { Kernel::forward(loss.data(), lse.data(), each.data(), z.view(), there.data(), scale, bench.stream()); });
    const auto tested = some_rows(rows);
    std::vector<double> exact(static_cast<std::size_t>(rows)), got(static_cast<std::size_t>(rows));
    memory<Cuda>::copy(got.data(), each.data(), got.size() * sizeof(double), bench.stream());
    double error = 0;
    for (const std::int64_t i : tested) {
        double sum = 0;
        for (std::int64_t j = 0; j < cols; ++j) { sum += std::exp(z.at(i, j)); }
        exact[std::size_t(i)] = std::log(sum);
        const double want = exact[std::size_t(i)] - z.at(i, labels[std::size_t(i)]);
        error = std::max(error, std::abs(got[std::size_t(i)] - want) / std::abs(exact[std::size_t(i)]));
    }
    bench.row(name_of<T>("cross_entropy", "block", rows, cols), forward, bytes, 0, error, limit<A>(cols));
    const double backward = bench.seconds([&] {
        Kernel::backward(Sink<T>{dz.view(), false}, seed.data(), z.view(), lse.data(), there.data(), scale,
                         bench.stream());
    });
    bench.row(name_of<T>("cross_entropy backward", "block", rows, cols), backward, 2 * bytes, 0,
              error_of(dz, tested,
                       [&](std::int64_t i, std::int64_t j) {
                           return scale
                                  * (std::exp(z.at(i, j) - exact[std::size_t(i)])
                                     - (labels[std::size_t(i)] == j ? 1 : 0));
                       }),
              limit<T>(cols));
}

int run(bool tiny)
{
    int device = 0;
    cudaDeviceProp properties{};
    gpu::check(cudaGetDevice(&device), "no device");
    gpu::check(cudaGetDeviceProperties(&properties, device), "no device");
    std::printf("%s, compute capability %d.%d, %d multiprocessors, CUDA %d, nvcc %d.%d\n\n", properties.name,
                properties.major, properties.minor, properties.multiProcessorCount, CUDART_VERSION,
                __CUDACC_VER_MAJOR__, __CUDACC_VER_MINOR__);
    std::printf(
        "| what | median time | rate | share of the limit | largest error |\n| --- | ---: | ---: | ---: | ---: |\n");

    cudaStream_t stream = nullptr;
    gpu::check(cudaStreamCreate(&stream), "no stream");
    bool failed = false;
    {
        Bench bench(tiny, stream);
        bench_peaks(bench);
        bench_rms_norm<bf16>(bench, tiny ? 5 : 8192, tiny ? 40 : 1024);
        bench_rms_norm<bf16>(bench, tiny ? 5 : 8192, tiny ? 1032 : 4096);
        bench_rms_norm<float>(bench, tiny ? 5 : 8192, tiny ? 40 : 4096);
        for (const std::int64_t rows : {1, 4, 16, 256, 2048}) {
            if (!tiny || rows <= 16) { bench_nf4<bf16>(bench, rows, tiny ? 64 : 4096, tiny ? 48 : 11008); }
        }
        bench_nf4<bf16>(bench, tiny ? 17 : 8192, tiny ? 64 : 2048, tiny ? 48 : 2048);
        bench_lora<bf16>(bench, tiny ? 9 : 4096, tiny ? 64 : 4096, tiny ? 48 : 4096, tiny ? 4 : 16);
        bench_lora<bf16>(bench, tiny ? 9 : 4096, tiny ? 64 : 4096, tiny ? 48 : 11008, tiny ? 4 : 64);
        bench_lora<float>(bench, tiny ? 9 : 4096, tiny ? 64 : 2048, tiny ? 48 : 2048, tiny ? 4 : 16);
        bench_cross_entropy<bf16>(bench, tiny ? 3 : 2048, tiny ? 500 : 128256);
        bench_cross_entropy<float>(bench, tiny ? 3 : 2048, tiny ? 500 : 32000);
        failed = bench.failed;
    }
    cudaStreamDestroy(stream);
    return failed ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv)
{
    try {
        return run(argc > 1 && std::strcmp(argv[1], "--tiny") == 0);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "cuda_ops: %s\n", error.what());
        return 2;
    }
}
