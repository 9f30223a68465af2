#pragma once
#include <algorithm>

#include "graft/ops/matmul/cpu.hpp"
#include "graft/ops/nf4_matmul.hpp"

namespace graft {

namespace cpu {

// Decodes elements [first, first + n) of the flat weight, rounded to T, as Real.
template <class T, class Real> void nf4_decode(const Nf4View& w, std::int64_t first, std::int64_t n, Real* out)
{
    const nf4::Codes& codes = w.type == nf4::Type::nf4 ? nf4::code : nf4::fp4_code;
    const std::int64_t end = first + n;
    for (std::int64_t i = first; i < end;) {
        const std::int64_t block = i / w.block, stop = std::min(end, (block + 1) * w.block);
        const float scale = w.scale(block);
        Real value[16];  // what the block's sixteen codes stand for
        for (int k = 0; k < 16; ++k) { value[k] = Real(T(codes.at[k] * scale)); }
        Real* to = out + (i - first);
        if (i % 2 == 1) { *to++ = value[w.codes[i++ / 2] & 15]; }
        for (; i + 1 < stop; i += 2, to += 2) {
            const std::uint8_t byte = w.codes[i / 2];
            to[0] = value[byte >> 4];
            to[1] = value[byte & 15];
        }
        if (i < stop) { *to = value[w.codes[i++ / 2] >> 4]; }
    }
}

}  // namespace cpu

template <> struct kernel<Nf4MatmulOp, Cpu> {
    using Stream = memory<Cpu>::Stream;

    template <class T> static std::size_t workspace(const Nf4MatmulProblem& p)
    {
        return cpu::Gemm<acc<T>>{p.rows, p.out, p.in}.workspace();
    }
    template <class T> static std::size_t workspace_backward(const Nf4MatmulProblem& p)
    {
        return cpu::Gemm<acc<T>>{p.rows, p.in, p.out}.workspace();
    }
    template <class T> static void forward(View<T> y, View<const T> x, const Nf4View& w, void* scratch, Stream)
    {
        using Real = acc<T>;
        cpu::Gemm<Real>{x.rows, w.rows, w.cols}.run(
            machine().target, scratch,
            [&](std::int64_t i, std::int64_t rows, std::int64_t k0, std::int64_t kn, Real* room) {
                return cpu::rows_of<Real>(x.data, x.stride, false, i, rows, k0, kn, room);
            },
            [&](std::int64_t k0, std::int64_t kn, std::int64_t j, std::int64_t cols, Real* panel, std::int64_t width) {
                // Four outputs at a time are decoded row by row and turned into columns of the panel.
                Real decoded[4 * cpu::Gemm<Real>::max_k];
                for (std::int64_t q = 0; q < cols; q += 4) {
                    const std::int64_t some = std::min<std::int64_t>(4, cols - q);
                    for (std::int64_t o = 0; o < some; ++o) {
                        cpu::nf4_decode<T>(w, (j + q + o) * w.cols + k0, kn, decoded + o * kn);
                    }
                    const bool last = q + some == cols;
                    cpu::pack_transposed<Real>(decoded, kn, kn, some, panel + q, width, last ? width - q : some);
                }
            },
            cpu::store_to(Sink<T>{y, false}));
    }
    template <class T> static void backward_x(Sink<T> dx, View<const T> dy, const Nf4View& w, void* scratch, Stream)
    {
        using Real = acc<T>;
        cpu::Gemm<Real>{dy.rows, w.cols, w.rows}.run(
            machine().target, scratch,
            [&](std::int64_t i, std::int64_t rows, std::int64_t k0, std::int64_t kn, Real* room) {
                return cpu::rows_of<Real>(dy.data, dy.stride, false, i, rows, k0, kn, room);
            },
            [&](std::int64_t k0, std::int64_t kn, std::int64_t j, std::int64_t cols, Real* panel, std::int64_t width) {
                for (std::int64_t p = 0; p < kn; ++p) {
                    cpu::nf4_decode<T>(w, (k0 + p) * w.cols + j, cols, panel + p * width);
                    std::fill(panel + p * width + cols, panel + (p + 1) * width, Real(0));
                }
            },
            cpu::store_to(dx));
    }
};

}  // namespace graft
