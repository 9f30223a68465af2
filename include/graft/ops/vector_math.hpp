#pragma once
#include <cmath>
#include <cstdint>

#include "graft/core/dtype.hpp"
#include "graft/core/machine.hpp"

// Loops over a row that need exp or a fixed-order sum, compiled once for each CPU target and chosen at run time.
//
// exp in f32: x = n ln 2 + r, |r| <= ln 2 / 2, a Taylor polynomial of degree 6 in r, n put into the exponent:
// relative error below 3e-7. Inputs are held to [-87.3, 88.3]. In f64 it is the library's.
// Sums keep 16 partial sums, added in order at the end: the same bits on every target that has fused
// multiply-add (avx2, avx512); the portable one rounds products first.
namespace graft::cpu {

[[gnu::always_inline]] inline float exp_of(float x)
{
    x = x < -87.3f ? -87.3f : (x > 88.3f ? 88.3f : x);
    const float shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the integer lands in the low bits
    const float n = shifted - 12582912.0f;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const std::int32_t scale = (__builtin_bit_cast(std::int32_t, shifted) - 0x4B400000 + 127) << 23;
    return p * __builtin_bit_cast(float, scale);
}
[[gnu::always_inline]] inline double exp_of(double x) { return std::exp(x); }

namespace detail {

#define GRAFT_ROW_LOOPS(NAME, TARGET)                                                                                  \
    struct NAME {                                                                                                      \
        template <class Real> TARGET static Real exp_sum(Real* x, std::int64_t n, Real scale, Real shift)              \
        {                                                                                                              \
            Real part[16] = {};                                                                                        \
            std::int64_t j = 0;                                                                                        \
            for (; j + 16 <= n; j += 16) {                                                                             \
                for (int q = 0; q < 16; ++q) {                                                                         \
                    x[j + q] = exp_of(x[j + q] * scale - shift);                                                       \
                    part[q] += x[j + q];                                                                               \
                }                                                                                                      \
            }                                                                                                          \
            for (; j < n; ++j) {                                                                                       \
                x[j] = exp_of(x[j] * scale - shift);                                                                   \
                part[j % 16] += x[j];                                                                                  \
            }                                                                                                          \
            Real sum = 0;                                                                                              \
            for (Real p : part) { sum += p; }                                                                          \
            return sum;                                                                                                \
        }                                                                                                              \
        template <class Real> TARGET static Real largest(const Real* x, std::int64_t n)                                \
        {                                                                                                              \
            Real part[16];                                                                                             \
            for (int q = 0; q < 16; ++q) { part[q] = x[q < n ? q : 0]; }                                               \
            std::int64_t j = 0;                                                                                        \
            for (; j + 16 <= n; j += 16) {                                                                             \
                for (int q = 0; q < 16; ++q) { part[q] = x[j + q] > part[q] ? x[j + q] : part[q]; }                    \
            }                                                                                                          \
            for (; j < n; ++j) { part[0] = x[j] > part[0] ? x[j] : part[0]; }                                          \
            Real top = part[0];                                                                                        \
            for (Real p : part) { top = p > top ? p : top; }                                                           \
            return top;                                                                                                \
        }                                                                                                              \
        template <class T> TARGET static acc<T> dot(const T* x, const T* y, std::int64_t n)                            \
        {                                                                                                              \
            acc<T> part[16] = {};                                                                                      \
            std::int64_t j = 0;                                                                                        \
            for (; j + 16 <= n; j += 16) {                                                                             \
                for (int q = 0; q < 16; ++q) { part[q] += acc<T>(x[j + q]) * acc<T>(y[j + q]); }                       \
            }                                                                                                          \
            for (; j < n; ++j) { part[j % 16] += acc<T>(x[j]) * acc<T>(y[j]); }                                        \
            acc<T> sum = 0;                                                                                            \
            for (acc<T> p : part) { sum += p; }                                                                        \
            return sum;                                                                                                \
        }                                                                                                              \
        template <class T> TARGET static void silu_mul(T* h, const T* g, const T* u, std::int64_t n)                   \
        {                                                                                                              \
            using A = acc<T>;                                                                                          \
            for (std::int64_t j = 0; j < n; ++j) { h[j] = T(A(g[j]) / (A(1) + exp_of(-A(g[j]))) * A(u[j])); }          \
        }                                                                                                              \
        template <class T>                                                                                             \
        TARGET static void silu_mul_backward(T* dg, bool add_g, T* du, bool add_u, const T* dh, const T* g,            \
                                             const T* u, std::int64_t n)                                               \
        {                                                                                                              \
            using A = acc<T>;                                                                                          \
            for (std::int64_t j = 0; j < n; ++j) {                                                                     \
                const A s = A(1) / (A(1) + exp_of(-A(g[j]))), d = A(dh[j]), x = A(g[j]);                               \
                const A to_g = d * A(u[j]) * s * (A(1) + x * (A(1) - s)), to_u = d * x * s;                            \
                if (dg != nullptr) { dg[j] = T(add_g ? A(dg[j]) + to_g : to_g); }                                      \
                if (du != nullptr) { du[j] = T(add_u ? A(du[j]) + to_u : to_u); }                                      \
            }                                                                                                          \
        }                                                                                                              \
    };

GRAFT_ROW_LOOPS(RowsPortable, )
#if defined(__x86_64__)
GRAFT_ROW_LOOPS(RowsAvx2, __attribute__((target("avx2,fma"))))
GRAFT_ROW_LOOPS(RowsAvx512, __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma"))))
#else
using RowsAvx2 = RowsPortable;
using RowsAvx512 = RowsPortable;
#endif
#undef GRAFT_ROW_LOOPS

}  // namespace detail

// Calls use(loops) with the loops of the target.
template <class Use> decltype(auto) row_loops(Target on, Use&& use)
{
    if (on == Target::avx512) { return use(detail::RowsAvx512{}); }
    if (on == Target::avx2) { return use(detail::RowsAvx2{}); }
    return use(detail::RowsPortable{});
}

}  // namespace graft::cpu
