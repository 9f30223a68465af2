#pragma once
#include <algorithm>

#include "graft/ops/matmul.hpp"
#include "graft/ops/matmul/cpu_gemm.hpp"

namespace graft {

namespace cpu {

// Stores scale times a finished block: assigned, or added to what is there in acc<T> with one rounding.
template <class T> auto store_to(Sink<T> to, acc<T> scale = 1)
{
    return [to, scale](std::int64_t i, std::int64_t rows, std::int64_t j, std::int64_t cols, const acc<T>* tile,
                       std::int64_t ld) {
        for (std::int64_t r = 0; r < rows; ++r) {
            T* out = to.view.row(i + r) + j;
            const acc<T>* from = tile + r * ld;
            if (to.add) {
                for (std::int64_t c = 0; c < cols; ++c) { out[c] = T(acc<T>(out[c]) + scale * from[c]); }
            } else {
                for (std::int64_t c = 0; c < cols; ++c) { out[c] = T(scale * from[c]); }
            }
        }
    };
}

// The same into the transpose: block (i, j) lands at (j, i). For few rows of a long result, computed the other way.
template <class T> auto store_transposed(Sink<T> to, acc<T> scale = 1)
{
    return [to, scale](std::int64_t i, std::int64_t rows, std::int64_t j, std::int64_t cols, const acc<T>* tile,
                       std::int64_t ld) {
        for (std::int64_t c = 0; c < cols; ++c) {
            for (std::int64_t r = 0; r < rows; ++r) { to.put(j + c, i + r, scale * tile[r * ld + c]); }
        }
    };
}

// m x n = A B with dense operands, either of them transposed as it lies: the general product behind the ops.
template <class Real, class TA, class TB, class Store>
void product(std::int64_t m, std::int64_t n, std::int64_t k, View<const TA> a, bool transpose_a, View<const TB> b,
             bool transpose_b, void* scratch, Store&& store)
{
    Gemm<Real>{m, n, k}.run(
        machine().target, scratch,
        [&](std::int64_t i, std::int64_t rows, std::int64_t k0, std::int64_t kn, Real* room) {
            return rows_of<Real>(a.data, a.stride, transpose_a, i, rows, k0, kn, room);
        },
        [&](std::int64_t k0, std::int64_t kn, std::int64_t j, std::int64_t cols, Real* panel, std::int64_t width) {
            if (transpose_b) {
                pack_transposed<Real>(b.row(j) + k0, b.stride, kn, cols, panel, width);
            } else {
                pack_rows<Real>(b.row(k0) + j, b.stride, kn, cols, panel, width);
            }
        },
        store);
}

}  // namespace cpu

template <> struct kernel<MatmulOp, Cpu> {
    using Stream = memory<Cpu>::Stream;

    template <class T> static std::size_t workspace(const MatmulProblem& p)
    {
        return cpu::Gemm<acc<T>>{p.rows, p.out, p.in}.workspace();
    }
    template <class T> static std::size_t workspace_backward(const MatmulProblem& p)
    {
        return std::max(cpu::Gemm<acc<T>>{p.rows, p.in, p.out}.workspace(),
                        cpu::Gemm<acc<T>>{p.out, p.in, p.rows}.workspace());
    }
    template <class T> static void forward(View<T> y, View<const T> x, View<const T> w, void* scratch, Stream)
    {
        cpu::product<acc<T>>(x.rows, w.rows, x.cols(), x, false, w, true, scratch, cpu::store_to(Sink<T>{y, false}));
    }
    template <class T> static void backward_x(Sink<T> dx, View<const T> dy, View<const T> w, void* scratch, Stream)
    {
        cpu::product<acc<T>>(dy.rows, w.cols(), w.rows, dy, false, w, false, scratch, cpu::store_to(dx));
    }
    template <class T> static void backward_w(Sink<acc<T>> dw, View<const T> dy, View<const T> x, void* scratch, Stream)
    {
        cpu::product<acc<T>>(dy.cols(), x.cols(), x.rows, dy, true, x, false, scratch, cpu::store_to(dw));
    }
};

}  // namespace graft
