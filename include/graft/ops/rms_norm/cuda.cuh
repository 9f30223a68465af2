#pragma once
#include "graft/core/cuda.cuh"
#include "graft/core/machine.hpp"
#include "graft/ops/device/block.cuh"
#include "graft/ops/device/warp.cuh"
#include "graft/ops/rms_norm.hpp"

namespace graft {

struct RmsNormProblem {
    std::int64_t rows = 0, d = 0;
};

namespace gpu {

// Each variant is a way to cut rows among threads: `lanes` threads share a row, total(sum) adds up over them.
struct RmsNormWarp {  // a warp a row, four rows a block
    static constexpr const char* name = "warp";
    static constexpr int lanes = warp, rows_a_block = 4;
    static bool fits(const RmsNormProblem& p, const Machine&) { return p.d <= 1024; }
    template <class A> static __device__ A total(A sum) { return warp_sum(sum); }
};
struct RmsNormBlock {  // a block a row
    static constexpr const char* name = "block";
    static constexpr int lanes = 256, rows_a_block = 1;
    static bool fits(const RmsNormProblem&, const Machine&) { return true; }
    template <class A> static __device__ A total(A sum) { return block_reduce<lanes>(sum, Plus{}); }
};
using RmsNormVariants = Variants<RmsNormWarp, RmsNormBlock>;

template <class Cut, class T, class A>
__global__ void rms_norm_forward(View<T> y, A* r, View<const T> x, const T* w, A eps)
{
    const std::int64_t i = std::int64_t(blockIdx.x) * Cut::rows_a_block + threadIdx.y;
    if (i >= x.rows) { return; }  // all lanes of a row leave together
    const T* in = x.row(i);
    T* out = y.row(i);
    A sum = 0;
    for (std::int64_t j = threadIdx.x; j < x.cols(); j += Cut::lanes) { sum += A(in[j]) * A(in[j]); }
    const A scale = A(1) / sqrt(Cut::total(sum) / A(x.cols()) + eps);
    if (threadIdx.x == 0) { r[i] = scale; }
    for (std::int64_t j = threadIdx.x; j < x.cols(); j += Cut::lanes) { out[j] = T(A(T(A(in[j]) * scale)) * A(w[j])); }
}

template <class Cut, class T, class A>
__global__ void rms_norm_backward(Sink<T> dx, View<const T> dy, const A* r, View<const T> x, const T* w)
{
    const std::int64_t i = std::int64_t(blockIdx.x) * Cut::rows_a_block + threadIdx.y;
    if (i >= x.rows) { return; }
    const T* in = x.row(i);
    const T* up = dy.row(i);
    A sum = 0;
    for (std::int64_t j = threadIdx.x; j < x.cols(); j += Cut::lanes) { sum += A(up[j]) * A(w[j]) * A(in[j]); }
    const A scale = r[i], c = Cut::total(sum) * scale * scale / A(x.cols());
    for (std::int64_t j = threadIdx.x; j < x.cols(); j += Cut::lanes) {
        dx.put(i, j, scale * (A(up[j]) * A(w[j]) - A(in[j]) * c));
    }
}

template <class T, class A> __global__ void rms_norm_weight(Sink<A> dw, View<const T> dy, const A* r, View<const T> x)
{
    sum_columns(dw, x.rows, x.cols(), [&](std::int64_t i, std::int64_t j) {
        return A(dy.row(i)[j]) * A(T(A(x.row(i)[j]) * r[i]));  // as in forward: x r was rounded to T
    });
}

}  // namespace gpu

template <> struct kernel<RmsNormOp, Cuda> {
    using Stream = memory<Cuda>::Stream;
    using Variants = gpu::RmsNormVariants;

    template <class T, class A>
    static void forward(View<T> y, A* r, View<const T> x, const T* w, A eps, const Stream& on)
    {
        Variants::first(RmsNormProblem{x.rows, x.cols()}, machine(),
                        [&](auto cut) { forward_as(cut, y, r, x, w, eps, on); });
    }
    template <class T, class A>
    static void backward(Sink<T> dx, Sink<A> dw, View<const T> dy, const A* r, View<const T> x, const T* w,
                         const Stream& on)
    {
        if (dx) {
            Variants::first(RmsNormProblem{x.rows, x.cols()}, machine(),
                            [&](auto cut) { backward_as(cut, dx, dy, r, x, w, on); });
        }
        if (dw) {
            gpu::launch(gpu::rms_norm_weight<T, A>, "rms_norm", gpu::blocks_for(x.cols(), 32), {32, gpu::column_lanes},
                        on, dw, dy, r, x);
        }
    }

    // One variant by its name: for tests and benchmarks.
    template <class Cut, class T, class A>
    static void forward_as(Cut, View<T> y, A* r, View<const T> x, const T* w, A eps, const Stream& on)
    {
        gpu::launch(gpu::rms_norm_forward<Cut, T, A>, "rms_norm", gpu::blocks_for(x.rows, Cut::rows_a_block),
                    {Cut::lanes, Cut::rows_a_block}, on, y, r, x, w, eps);
    }
    template <class Cut, class T, class A>
    static void backward_as(Cut, Sink<T> dx, View<const T> dy, const A* r, View<const T> x, const T* w,
                            const Stream& on)
    {
        gpu::launch(gpu::rms_norm_backward<Cut, T, A>, "rms_norm", gpu::blocks_for(x.rows, Cut::rows_a_block),
                    {Cut::lanes, Cut::rows_a_block}, on, dx, dy, r, x, w);
    }
};

}  // namespace graft
