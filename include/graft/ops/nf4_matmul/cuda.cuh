#pragma once
#include <algorithm>
#include <bit>

#include "graft/core/machine.hpp"
#include "graft/ops/device/load.cuh"
#include "graft/ops/device/warp.cuh"
#include "graft/ops/matmul/cuda.cuh"
#include "graft/ops/nf4_matmul.hpp"

// Two variants. "rows": a few rows of x, as in generation: the codes are read once and decoded into registers.
// "chunks": part of the weight at a time is decoded into scratch, at most a quarter of it and at most 8 MiB, which
// stays in the L2 cache, and multiplied by cuBLASLt. Parts are cut along the outer extent of the result: no sum is cut.
namespace graft {

namespace gpu {

// The weight as a kernel walks it: eight flat elements, 4 bytes of codes, at a time. They share a block, as a block
// holds a multiple of 32, but not always a row.
struct Nf4Walk {
    Nf4View w;
    int block_shift;
    std::int64_t elements;

    explicit Nf4Walk(const Nf4View& of)
        : w(of), block_shift(std::countr_zero(unsigned(of.block))), elements(of.rows * of.cols)
    {
        require(nf4::block_fits(of.block), [&] {
            return "nf4_matmul: block size " + std::to_string(of.block) + "; it must be a power of two from 32 to 4096";
        });
    }

    // Elements 8 octet … 8 octet + 7, rounded to T; those past the end of the weight are zeros.
    template <class T> __device__ Octet<T> decode(std::int64_t octet, const float* codes) const
    {
        const std::int64_t first = octet * 8;
        std::uint32_t bytes = 0;
        if (first + 8 <= elements) {
            bytes = reinterpret_cast<const std::uint32_t*>(w.codes)[octet];
        } else {  // the last word of the buffer may not be whole
            for (std::int64_t i = first; i < elements; i += 2) {
                bytes |= std::uint32_t(w.codes[i / 2]) << (4 * (i - first));
            }
        }
        const float scale = w.scale(first >> block_shift);
        Octet<T> value;
        for (int i = 0; i < 8; ++i) {  // the earlier element of a byte is in its high nibble
            const unsigned index = (bytes >> (i / 2 * 8 + (i % 2 == 0 ? 4 : 0))) & 15U;
            value.at[i] = first + i < elements ? T(codes[index] * scale) : T(0.0f);
        }
        return value;
    }
};

// Fills the block's table of the sixteen codes.
inline __device__ void nf4_table(float* codes, nf4::Type type)
{
    const unsigned thread = threadIdx.y * blockDim.x + threadIdx.x;
    if (thread < 16) { codes[thread] = nf4::value_of(thread, type); }
    __syncthreads();  // all read what the first sixteen wrote
}

// Decodes rows [row, row + out.rows) and columns [col, col + out.cols()) of the weight. A block takes a row.
template <class T> __global__ void nf4_decode(View<T> out, Nf4Walk weight, std::int64_t row, std::int64_t col)
{
    __shared__ float codes[16];
    nf4_table(codes, weight.w.type);
    const std::int64_t begin = (row + blockIdx.x) * weight.w.cols + col, end = begin + out.cols();
    T* to = out.row(blockIdx.x);
    for (std::int64_t octet = begin / 8 + threadIdx.x; octet * 8 < end; octet += blockDim.x) {
        const Octet<T> value = weight.decode<T>(octet, codes);
        const std::int64_t at = octet * 8 - begin;  // below 0 where the row begins within an octet
        if (at >= 0 && octet * 8 + 8 <= end && octet_aligned(to + at)) {
            store(to + at, value);
        } else {
            for (int i = 0; i < 8; ++i) {
                if (at + i >= 0 && at + i < out.cols()) { to[at + i] = value.at[i]; }
            }
        }
    }
}

inline constexpr int nf4_few_rows = 4, nf4_few_warps = 4;

// y = x W^T for at most nf4_few_rows rows of x: a warp an output.
template <class T> __global__ void nf4_matmul_rows(View<T> y, View<const T> x, Nf4Walk weight)
{
    __shared__ float codes[16];
    nf4_table(codes, weight.w.type);
    const std::int64_t cols = x.cols(), j = std::int64_t(blockIdx.x) * nf4_few_warps + threadIdx.y;
    if (j >= weight.w.rows) { return; }  // the whole warp leaves
    const std::int64_t begin = j * cols, end = begin + cols;
    acc<T> sum[nf4_few_rows] = {};
    for (std::int64_t octet = begin / 8 + threadIdx.x; octet * 8 < end; octet += warp) {
        const Octet<T> value = weight.decode<T>(octet, codes);
        const std::int64_t at = octet * 8 - begin;
        for (int n = 0; n < nf4_few_rows; ++n) {
            if (n >= x.rows) { continue; }
            for (int i = 0; i < 8; ++i) {  // an octet at either end of the row has elements of its neighbours
                if (at + i >= 0 && at + i < cols) { sum[n] += acc<T>(x.row(n)[at + i]) * acc<T>(value.at[i]); }
            }
        }
    }
    for (int n = 0; n < nf4_few_rows; ++n) {
        const acc<T> total = warp_sum(sum[n]);
        if (threadIdx.x == 0 && n < y.rows) { y.row(n)[j] = T(total); }
    }
}

struct Nf4Rows {
    static constexpr const char* name = "rows";
    static bool fits(const Nf4MatmulProblem& p, const Machine&) { return p.rows <= nf4_few_rows; }
    template <class T> static std::size_t workspace(const Nf4MatmulProblem&) { return 0; }
    template <class T> static void forward(View<T> y, View<const T> x, const Nf4View& w, void*, const Stream& on)
    {
        if (x.rows == 0) { return; }
        launch(nf4_matmul_rows<T>, "nf4_matmul", blocks_for(w.rows, nf4_few_warps), {warp, nf4_few_warps}, on, y, x,
               Nf4Walk(w));
    }
};

struct Nf4Chunks {
    static constexpr const char* name = "chunks";
    static constexpr std::int64_t most_bytes = std::int64_t{8} << 20;

    static bool fits(const Nf4MatmulProblem&, const Machine&) { return true; }

    // How many of `lines` rows (or columns) of the weight are decoded at once, each of `length` elements of T.
    template <class T> static std::int64_t chunk(std::int64_t lines, std::int64_t length)
    {
        const std::int64_t room = most_bytes / (std::max<std::int64_t>(length, 1) * std::int64_t(sizeof(T)));
        const std::int64_t some = std::clamp<std::int64_t>(lines / 4, 1, std::max<std::int64_t>(room, 1));
        return some < 8 ? some : some / 8 * 8;  // parts of the result begin where 16-byte words do
    }
    template <class T> static std::size_t bytes(std::int64_t rows, std::int64_t cols)
    {
        return (std::size_t(rows * padded(cols)) * sizeof(T) + 255) / 256 * 256;
    }
    static std::int64_t padded(std::int64_t cols) { return (cols + 7) / 8 * 8; }

    template <class T> static std::size_t workspace(const Nf4MatmulProblem& p)
    {
        const std::int64_t some = chunk<T>(p.out, p.in);
        return bytes<T>(some, p.in) + blas_bytes(p.rows, some);
    }
    template <class T> static std::size_t workspace_backward(const Nf4MatmulProblem& p)
    {
        const std::int64_t some = chunk<T>(p.in, p.out);
        return bytes<T>(p.out, some) + blas_bytes(p.rows, some);
    }

    template <class T>
    static void forward(View<T> y, View<const T> x, const Nf4View& w, void* scratch, const Stream& on)
    {
        const std::int64_t some = chunk<T>(w.rows, w.cols);
        void* const rest = static_cast<std::byte*>(scratch) + bytes<T>(some, w.cols);
        for (std::int64_t j = 0; j < w.rows && x.rows > 0; j += some) {
            const View<T> part{static_cast<T*>(scratch), std::min(some, w.rows - j), padded(w.cols), w.cols};
            launch(nf4_decode<T>, "nf4_matmul", part.rows, 256, on, part, Nf4Walk(w), j, 0);
            product(x.rows, part.rows, w.cols, x, false, View<const T>(part), true,
                    Sink<T>{{y.data + j, y.rows, y.stride, part.rows}, false}, acc<T>(1), rest, on);
        }
    }
    template <class T>
    static void backward_x(Sink<T> dx, View<const T> dy, const Nf4View& w, void* scratch, const Stream& on)
    {
        const std::int64_t some = chunk<T>(w.cols, w.rows);
        void* const rest = static_cast<std::byte*>(scratch) + bytes<T>(w.rows, some);
        for (std::int64_t j = 0; j < w.cols && dy.rows > 0; j += some) {
            const std::int64_t width = std::min(some, w.cols - j);
            const View<T> part{static_cast<T*>(scratch), w.rows, padded(width), width};
            launch(nf4_decode<T>, "nf4_matmul", part.rows, 64, on, part, Nf4Walk(w), 0, j);
            product(dy.rows, width, w.rows, dy, false, View<const T>(part), false,
                    Sink<T>{{dx.view.data + j, dx.view.rows, dx.view.stride, width}, dx.add}, acc<T>(1), rest, on);
        }
    }
};

using Nf4MatmulVariants = Variants<Nf4Rows, Nf4Chunks>;

}  // namespace gpu

template <> struct kernel<Nf4MatmulOp, Cuda> {
    using Stream = memory<Cuda>::Stream;
    using Variants = gpu::Nf4MatmulVariants;

    template <class T> static std::size_t workspace(const Nf4MatmulProblem& p)
    {
        std::size_t bytes = 0;
        Variants::first(p, machine(), [&](auto variant) { bytes = variant.template workspace<T>(p); });
        return bytes;
    }
    template <class T> static std::size_t workspace_backward(const Nf4MatmulProblem& p)
    {
        return gpu::Nf4Chunks::workspace_backward<T>(p);
    }
    template <class T>
    static void forward(View<T> y, View<const T> x, const Nf4View& w, void* scratch, const Stream& on)
    {
        Variants::first(Nf4MatmulProblem{x.rows, w.cols, w.rows}, machine(),
                        [&](auto variant) { variant.forward(y, x, w, scratch, on); });
    }
    template <class T>
    static void backward_x(Sink<T> dx, View<const T> dy, const Nf4View& w, void* scratch, const Stream& on)
    {
        gpu::Nf4Chunks::backward_x(dx, dy, w, scratch, on);
    }
};

}  // namespace graft
