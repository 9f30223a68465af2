#pragma once
#include <cstdint>
#include <type_traits>

#include "graft/core/machine.hpp"

// The innermost product of all CPU kernels: C (+)= A B for a few rows of A and one packed panel of B.
//
//   A        element (i, k) at a[i * row + k * col]: plain and transposed alike, nothing is packed
//   panel    element (k, j) at panel[k * width + j], width 16, 32 or 64 times 4 bytes (panel_width), zero beyond N
//   C        rows of ldc elements
//
// The accumulators of MR rows by NV vectors stay in registers over the whole of K; a k costs NV loads of the panel and
// MR broadcasts. 24 accumulators of 64 bytes (6 x 64 f32) run within 1 to 3 % of the FMA peak from L2 on AVX-512.
// Sums run over k in order, one accumulator each: the result does not depend on how rows are cut.
namespace graft::cpu {

template <class Real> struct Operand {
    const Real* at = nullptr;
    std::int64_t row = 0, col = 0;
};

template <class Real> inline constexpr int full_panel = 256 / int(sizeof(Real));

// Columns of a packed panel that holds n of them (n at most full_panel).
template <class Real> constexpr std::int64_t panel_width(std::int64_t n)
{
    constexpr int vector = 64 / int(sizeof(Real));
    return n <= vector ? vector : n <= 2 * vector ? 2 * vector : 4 * vector;
}

namespace detail {

#if defined(__CUDACC__)  // its front end knows no GCC pragma, and hands it on to g++, which does
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675
#endif

#if defined(__clang__)
#define GRAFT_UNROLL _Pragma("unroll")
#else
#define GRAFT_UNROLL _Pragma("GCC unroll 16")
#endif

// One kernel for each target, from the same text: a function template cannot take its target as a parameter, and vector
// code of an untargeted inline function is split to 16 bytes before it is inlined (g++ 12).
#define GRAFT_MICRO(NAME, TARGET, BYTES)                                                                               \
    template <class Real, int NV, int MR>                                                                              \
    TARGET void NAME(std::int64_t k, Operand<Real> a, const Real* panel, std::int64_t width, Real* c,                  \
                     std::int64_t ldc, bool add)                                                                       \
    {                                                                                                                  \
        typedef Real Vector __attribute__((vector_size(BYTES), aligned(alignof(Real)), may_alias));                    \
        constexpr int lanes = BYTES / int(sizeof(Real));                                                               \
        Vector sum[MR][NV] = {};                                                                                       \
        const Real* row[MR];                                                                                           \
        GRAFT_UNROLL for (int i = 0; i < MR; ++i) { row[i] = a.at + i * a.row; }                                       \
        for (std::int64_t p = 0; p < k; ++p) {                                                                         \
            Vector b[NV];                                                                                              \
            GRAFT_UNROLL for (int j = 0; j < NV; ++j)                                                                  \
            {                                                                                                          \
                b[j] = *reinterpret_cast<const Vector*>(panel + p * width + j * lanes);                                \
            }                                                                                                          \
            GRAFT_UNROLL for (int i = 0; i < MR; ++i)                                                                  \
            {                                                                                                          \
                const Real value = *row[i];                                                                            \
                const Vector wide = value - Vector{};                                                                  \
                row[i] += a.col;                                                                                       \
                GRAFT_UNROLL for (int j = 0; j < NV; ++j) { sum[i][j] += wide * b[j]; }                                \
            }                                                                                                          \
        }                                                                                                              \
        GRAFT_UNROLL for (int i = 0; i < MR; ++i)                                                                      \
        {                                                                                                              \
            GRAFT_UNROLL for (int j = 0; j < NV; ++j)                                                                  \
            {                                                                                                          \
                Vector* at = reinterpret_cast<Vector*>(c + i * ldc + j * lanes);                                       \
                *at = add ? *at + sum[i][j] : sum[i][j];                                                               \
            }                                                                                                          \
        }                                                                                                              \
    }

GRAFT_MICRO(micro_portable, , 16)
#if defined(__x86_64__)
GRAFT_MICRO(micro_avx2, __attribute__((target("avx2,fma"))), 32)
GRAFT_MICRO(micro_avx512, __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma"))), 64)
#endif
#undef GRAFT_MICRO
#undef GRAFT_UNROLL
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

template <Target On, class Real, int NV, int MR>
void micro(std::int64_t k, Operand<Real> a, const Real* panel, std::int64_t width, Real* c, std::int64_t ldc, bool add)
{
#if defined(__x86_64__)
    if constexpr (On == Target::avx512) { return micro_avx512<Real, NV, MR>(k, a, panel, width, c, ldc, add); }
    if constexpr (On == Target::avx2) { return micro_avx2<Real, NV, MR>(k, a, panel, width, c, ldc, add); }
#endif
    micro_portable<Real, NV, MR>(k, a, panel, width, c, ldc, add);
}

// The rows left over when MR does not divide m.
template <Target On, class Real, int NV, int MR>
void micro_tail(std::int64_t m, std::int64_t k, Operand<Real> a, const Real* panel, std::int64_t width, Real* c,
                std::int64_t ldc, bool add)
{
    if constexpr (MR > 0) {
        if (m == MR) { return micro<On, Real, NV, MR>(k, a, panel, width, c, ldc, add); }
        micro_tail<On, Real, NV, MR - 1>(m, k, a, panel, width, c, ldc, add);
    }
}

template <Target On, class Real, int NV, int MR>
void micro_rows(std::int64_t m, std::int64_t k, Operand<Real> a, const Real* panel, std::int64_t width, Real* c,
                std::int64_t ldc, bool add)
{
    std::int64_t i = 0;
    for (; i + MR <= m; i += MR) {
        micro<On, Real, NV, MR>(k, {a.at + i * a.row, a.row, a.col}, panel, width, c + i * ldc, ldc, add);
    }
    micro_tail<On, Real, NV, MR - 1>(m - i, k, {a.at + i * a.row, a.row, a.col}, panel, width, c + i * ldc, ldc, add);
}

}  // namespace detail

// C[m, width] (+)= A[m, k] panel[k, width]: writes all `width` columns of the panel.
template <class Real>
void multiply_panel(Target on, std::int64_t m, std::int64_t k, Operand<Real> a, const Real* panel, std::int64_t width,
                    Real* c, std::int64_t ldc, bool add)
{
    constexpr int vector = 64 / int(sizeof(Real));
    if (on == Target::avx512) {
        if (width == vector) {
            detail::micro_rows<Target::avx512, Real, 1, 8>(m, k, a, panel, width, c, ldc, add);
        } else if (width == 2 * vector) {
            detail::micro_rows<Target::avx512, Real, 2, 8>(m, k, a, panel, width, c, ldc, add);
        } else {
            detail::micro_rows<Target::avx512, Real, 4, 6>(m, k, a, panel, width, c, ldc, add);
        }
    } else if (on == Target::avx2) {
        for (std::int64_t j = 0; j < width; j += vector) {
            detail::micro_rows<Target::avx2, Real, 2, 6>(m, k, a, panel + j, width, c + j, ldc, add);
        }
    } else {
        for (std::int64_t j = 0; j < width; j += vector / 2) {
            detail::micro_rows<Target::portable, Real, 2, 6>(m, k, a, panel + j, width, c + j, ldc, add);
        }
    }
}

}  // namespace graft::cpu
