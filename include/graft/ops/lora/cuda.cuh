#pragma once
#include <algorithm>

#include "graft/ops/lora.hpp"
#include "graft/ops/matmul/cuda.cuh"

// All products are cuBLASLt's, which takes no f32 beside a bf16. So for bf16 h and dh, which are f32, go in as sums of
// three bf16 that hold their 24 bits, side by side: (N, 3R). The other operand is repeated three times, or the result
// is three times as long and folded. R is small: the large operands are still read once.
namespace graft {

namespace gpu {

inline constexpr int lora_parts = 3;

// out (N, 3R) = [high | middle | low] with in = high + middle + low.
template <class T> __global__ void lora_split(View<T> out, View<const float> in)
{
    const std::int64_t each = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x, cols = in.cols();
    if (each >= in.rows * cols) { return; }
    const std::int64_t i = each / cols, j = each % cols;
    float rest = in.row(i)[j];
    for (int part = 0; part < lora_parts; ++part) {
        const T value(rest);
        out.row(i)[part * cols + j] = value;
        rest -= float(value);  // exact
    }
}

// out = in, repeated along either extent until out is full.
template <class T> __global__ void lora_repeat(View<T> out, View<const T> in)
{
    const std::int64_t each = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (each >= out.rows * out.cols()) { return; }
    const std::int64_t i = each / out.cols(), j = each % out.cols();
    out.row(i)[j] = in.row(i % in.rows)[j % in.cols()];
}

// to (i, j) += the three parts at `step` elements from each other, the smallest first.
inline __device__ float lora_folded(const float* at, std::int64_t step) { return at[2 * step] + at[step] + at[0]; }
template <class A> __global__ void lora_fold(Sink<A> to, View<const float> in, std::int64_t step)
{
    const std::int64_t each = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x, cols = to.view.cols();
    if (each >= to.view.rows * cols) { return; }
    to.put(each / cols, each % cols, lora_folded(in.row(each / cols) + each % cols, step));
}

// Scratch of the lora ops: the split operand, then the repeated operand or the result to fold, then cuBLASLt's.
struct LoraRoom {
    std::size_t split = 0, other = 0, blas = 0;

    template <class T> static constexpr bool needed = !std::same_as<T, acc<T>>;
    static std::size_t rounded(std::int64_t bytes) { return (std::size_t(bytes) + 255) / 256 * 256; }

    template <class T> static LoraRoom forward(const LoraProblem& p)
    {
        LoraRoom room{.blas = std::max(blas_bytes(p.rows, p.rank), blas_bytes(p.rows, p.out))};
        if constexpr (needed<T>) {
            room.split = rounded(p.rows * lora_parts * p.rank * std::int64_t(sizeof(T)));
            room.other = rounded(p.out * lora_parts * p.rank * std::int64_t(sizeof(T)));
        }
        return room;
    }
    template <class T> static LoraRoom backward(const LoraProblem& p)
    {
        const std::int64_t parts = needed<T> ? lora_parts : 1, longest = std::max(p.in, p.out);
        LoraRoom room{.blas = std::max(
                          {blas_bytes(longest, parts * p.rank), blas_bytes(p.rows, p.rank), blas_bytes(p.rows, p.in)})};
        if constexpr (needed<T>) {
            room.split = rounded(p.rows * parts * p.rank * std::int64_t(sizeof(T)));
            room.other = rounded(longest * parts * p.rank * std::int64_t(sizeof(float)));
        }
        return room;
    }
    std::size_t bytes() const { return split + other + blas; }
};

template <class T> View<const T> split(View<const float> h, void* room, const Stream& on)
{
    const View<T> parts{static_cast<T*>(room), h.rows, lora_parts * h.cols(), lora_parts * h.cols()};
    launch(lora_split<T>, "lora", blocks_for(h.rows * h.cols(), 256), 256, on, parts, h);
    return parts;
}

template <class T>
View<const T> repeat(View<const T> in, std::int64_t down, std::int64_t across, void* room, const Stream& on)
{
    const View<T> out{static_cast<T*>(room), down * in.rows, across * in.cols(), across * in.cols()};
    launch(lora_repeat<T>, "lora", blocks_for(out.rows * out.cols(), 256), 256, on, out, in);
    return out;
}

template <class A> void fold(Sink<A> to, View<const float> in, std::int64_t step, const Stream& on)
{
    launch(lora_fold<A>, "lora", blocks_for(to.view.rows * to.view.cols(), 256), 256, on, to, in, step);
}

}  // namespace gpu

template <> struct kernel<LoraOp, Cuda> {
    using Stream = memory<Cuda>::Stream;

    template <class T> static std::size_t workspace(const LoraProblem& p)
    {
        return gpu::LoraRoom::forward<T>(p).bytes();
    }
    template <class T> static std::size_t workspace_backward(const LoraProblem& p)
    {
        return gpu::LoraRoom::backward<T>(p).bytes();
    }

    template <class T, class A>
    static void forward(View<T> y, View<A> h, View<const T> x, View<const T> a, View<const T> b, A scale, void* scratch,
                        const Stream& on)
    {
        const auto room = gpu::LoraRoom::forward<T>({x.rows, x.cols(), y.cols(), a.rows});
        auto* const first = static_cast<std::byte*>(scratch);
        void* const blas = first + room.split + room.other;
        gpu::product(x.rows, a.rows, x.cols(), x, false, a, true, Sink<A>{h, false}, scale, blas, on);
        if constexpr (gpu::LoraRoom::needed<T>) {
            const auto parts = gpu::split<T>(h, first, on);
            const auto wide = gpu::repeat(b, 1, gpu::lora_parts, first + room.split, on);
            gpu::product(x.rows, b.rows, parts.cols(), parts, false, wide, true, Sink<T>{y, true}, A(1), blas, on);
        } else {
            gpu::product(x.rows, b.rows, a.rows, View<const T>(h), false, b, true, Sink<T>{y, true}, A(1), blas, on);
        }
    }

    template <class T, class A>
    static void backward(Sink<T> dx, Sink<A> da, Sink<A> db, View<A> dh, View<const T> dy, View<const A> h,
                         View<const T> x, View<const T> a, View<const T> b, A scale, void* scratch, const Stream& on)
    {
        const std::int64_t n = x.rows, rank = a.rows, in = x.cols(), out = dy.cols();
        const auto room = gpu::LoraRoom::backward<T>({n, in, out, rank});
        auto* const first = static_cast<std::byte*>(scratch);
        auto* const other = first + room.split;
        void* const blas = other + room.other;
        if constexpr (gpu::LoraRoom::needed<T>) {
            const std::int64_t wide = gpu::lora_parts * rank;
            if (db) {
                const View<A> parts{reinterpret_cast<A*>(other), out, wide, wide};
                gpu::product(out, wide, n, dy, true, gpu::split<T>(h, first, on), false, Sink<A>{parts, false}, A(1),
                             blas, on);
                gpu::fold(db, View<const A>(parts), rank, on);
            }
            if (!da && !dx) { return; }
            gpu::product(n, rank, out, dy, false, b, false, Sink<A>{dh, false}, scale, blas, on);
            const auto narrow = gpu::split<T>(View<const A>(dh), first, on);
            if (da) {
                const View<A> parts{reinterpret_cast<A*>(other), wide, in, in};
                gpu::product(wide, in, n, narrow, true, x, false, Sink<A>{parts, false}, A(1), blas, on);
                gpu::fold(da, View<const A>(parts), rank * in, on);
            }
            if (dx) {
                const auto stacked = gpu::repeat(a, gpu::lora_parts, 1, other, on);
                gpu::product(n, in, wide, narrow, false, stacked, false, dx, A(1), blas, on);
            }
        } else {
            if (db) { gpu::product(out, rank, n, dy, true, h, false, db, A(1), blas, on); }
            if (!da && !dx) { return; }
            gpu::product(n, rank, out, dy, false, b, false, Sink<A>{dh, false}, scale, blas, on);
            if (da) { gpu::product(rank, in, n, View<const A>(dh), true, x, false, da, A(1), blas, on); }
            if (dx) { gpu::product(n, in, rank, View<const A>(dh), false, a, false, dx, A(1), blas, on); }
        }
    }
};

}  // namespace graft
