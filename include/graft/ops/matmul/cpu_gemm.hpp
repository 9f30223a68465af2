#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "graft/core/dtype.hpp"
#include "graft/core/parallel.hpp"
#include "graft/ops/matmul/cpu_micro.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// C[m, n] = A[m, k] B[k, n] over all threads, from three functions that say where the operands come from and where the
// result goes. B may be dense in any order, or NF4 codes: only one panel of it a thread is ever dense.
//
//   a(i, rows, k0, kn, scratch) -> Operand    rows of A as Real: in place, or converted into scratch (rows * kn)
//   b(k0, kn, j, cols, panel, width)          packs rows [k0, k0 + kn), columns [j, j + cols) of B, zeros beyond cols
//   c(i, rows, j, cols, tile, ld)             takes the finished block, in Real
//
// A task is one panel of 64 columns (f32) by up to 512 rows; K is cut into blocks of at most 1024. The cut depends on
// m, n and k alone, and each sum runs over k in order: the same bits for any number of threads.
namespace graft::cpu {

template <class Real> struct Gemm {
    static constexpr std::int64_t panel_cols = full_panel<Real>, slab = 48, task_rows = 512, max_k = 1024;

    std::int64_t m = 0, n = 0, k = 0;

    std::int64_t k_blocks() const { return std::max<std::int64_t>(1, (k + max_k - 1) / max_k); }
    // At least 4, also where k is 0 (the gradient of a weight over no rows): the loop over k must end.
    std::int64_t k_block() const { return (std::max<std::int64_t>(1, (k + k_blocks() - 1) / k_blocks()) + 3) / 4 * 4; }
    std::int64_t panels() const { return (n + panel_cols - 1) / panel_cols; }
    std::int64_t rows_of_task() const
    {
        if (panels() >= 8) { return task_rows; }
        const std::int64_t cut = ((m * panels() + 15) / 16 + slab - 1) / slab * slab;
        return std::clamp<std::int64_t>(cut, slab, task_rows);
    }
    std::int64_t tile_rows() const { return k_blocks() == 1 ? slab : task_rows; }
    // Reals of scratch that one thread needs.
    std::int64_t scratch() const { return k_block() * (panel_cols + slab) + tile_rows() * panel_cols; }
    std::size_t workspace() const { return std::size_t(scratch() * threads()) * sizeof(Real) + 64; }

    template <class A, class B, class C> void run(Target on, void* workspace, A&& a, B&& b, C&& c) const
    {
        if (m == 0 || n == 0) { return; }
        auto* base = reinterpret_cast<Real*>((reinterpret_cast<std::uintptr_t>(workspace) + 63) / 64 * 64);
        const std::int64_t rows_each = rows_of_task(), row_tasks = (m + rows_each - 1) / rows_each;
        parallel_for(panels() * row_tasks, m * n * k / 16, [&](std::int64_t task, int worker) {
            const std::int64_t j = task / row_tasks * panel_cols, cols = std::min(panel_cols, n - j);
            const std::int64_t i0 = task % row_tasks * rows_each, i1 = std::min(m, i0 + rows_each);
            const std::int64_t width = panel_width<Real>(cols);
            Real* panel = base + worker * scratch();
            Real* slab_scratch = panel + k_block() * panel_cols;
            Real* tile = slab_scratch + k_block() * slab;
            const bool whole = k_blocks() == 1;
            for (std::int64_t k0 = 0; k0 == 0 || k0 < k; k0 += k_block()) {
                const std::int64_t kn = std::min(k_block(), k - k0);
                b(k0, kn, j, cols, panel, width);
                for (std::int64_t i = i0; i < i1; i += slab) {
                    const std::int64_t rows = std::min(slab, i1 - i);
                    Real* out = whole ? tile : tile + (i - i0) * panel_cols;
                    multiply_panel<Real>(on, rows, kn, a(i, rows, k0, kn, slab_scratch), panel, width, out, panel_cols,
                                         k0 != 0);
                    if (whole || k0 + kn >= k) { c(i, rows, j, cols, static_cast<const Real*>(out), panel_cols); }
                }
            }
        });
    }
};

namespace detail {

// Four elements of a row as f32.
#if defined(__x86_64__)
inline __m128 load4(const float* at) { return _mm_loadu_ps(at); }
inline __m128 load4(const bf16* at)
{
    const __m128i words = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
    return _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), words));
}
#endif

}  // namespace detail

// Packs columns j of B where column j is a row of memory: B(k, j) = source[j * stride + k]. (A weight in y = x W^T.)
// Columns from cols up to `filled` (all of the panel unless named) become zero.
template <class Real, class T>
void pack_transposed(const T* source, std::int64_t stride, std::int64_t kn, std::int64_t cols, Real* panel,
                     std::int64_t width, std::int64_t filled = -1)
{
    std::int64_t j = 0;
#if defined(__x86_64__)
    if constexpr (std::is_same_v<Real, float> && (std::is_same_v<T, float> || std::is_same_v<T, bf16>)) {
        for (; j + 4 <= cols; j += 4) {
            const T* row = source + j * stride;
            std::int64_t p = 0;
            for (; p + 4 <= kn; p += 4) {
                __m128 r0 = detail::load4(row + p), r1 = detail::load4(row + stride + p);
                __m128 r2 = detail::load4(row + 2 * stride + p), r3 = detail::load4(row + 3 * stride + p);
                _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
                _mm_storeu_ps(panel + p * width + j, r0);
                _mm_storeu_ps(panel + (p + 1) * width + j, r1);
                _mm_storeu_ps(panel + (p + 2) * width + j, r2);
                _mm_storeu_ps(panel + (p + 3) * width + j, r3);
            }
            for (; p < kn; ++p) {
                for (int q = 0; q < 4; ++q) { panel[p * width + j + q] = Real(row[q * stride + p]); }
            }
        }
    }
#endif
    for (; j < cols; ++j) {
        for (std::int64_t p = 0; p < kn; ++p) { panel[p * width + j] = Real(source[j * stride + p]); }
    }
    const std::int64_t end = filled < 0 ? width : filled;
    for (std::int64_t p = 0; p < kn && cols < end; ++p) {
        std::fill(panel + p * width + cols, panel + p * width + end, Real(0));
    }
}

// Packs columns of B that lie in rows of memory: B(k, j) = source[k * stride + j].
template <class Real, class T>
void pack_rows(const T* source, std::int64_t stride, std::int64_t kn, std::int64_t cols, Real* panel,
               std::int64_t width)
{
    for (std::int64_t p = 0; p < kn; ++p) {
        Real* to = panel + p * width;
        const T* from = source + p * stride;
        for (std::int64_t j = 0; j < cols; ++j) { to[j] = Real(from[j]); }
        for (std::int64_t j = cols; j < width; ++j) { to[j] = Real(0); }
    }
}

// A as it lies in memory, transposed or not, converted to Real where it is of another type.
template <class Real, class T>
Operand<Real> rows_of(const T* source, std::int64_t stride, bool transposed, std::int64_t i, std::int64_t rows,
                      std::int64_t k0, std::int64_t kn, Real* scratch)
{
    if constexpr (std::is_same_v<Real, T>) {
        return transposed ? Operand<Real>{source + k0 * stride + i, 1, stride}
                          : Operand<Real>{source + i * stride + k0, stride, 1};
    } else if (transposed) {
        for (std::int64_t p = 0; p < kn; ++p) {
            const T* from = source + (k0 + p) * stride + i;
            for (std::int64_t r = 0; r < rows; ++r) { scratch[p * rows + r] = Real(from[r]); }
        }
        return {scratch, 1, rows};
    } else {
        for (std::int64_t r = 0; r < rows; ++r) {
            const T* from = source + (i + r) * stride + k0;
            for (std::int64_t p = 0; p < kn; ++p) { scratch[r * kn + p] = Real(from[p]); }
        }
        return {scratch, kn, 1};
    }
}

}  // namespace graft::cpu
