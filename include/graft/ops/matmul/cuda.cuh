#pragma once
#include <algorithm>
#include <cstdint>

#include "graft/core/cuda.cuh"
#include "graft/ops/matmul.hpp"

// Dense products by cuBLASLt: sums in f32 (never TF32) for f32 and 16-bit operands, in f64 for f64.
namespace graft {

namespace gpu {

template <Float T> constexpr cudaDataType_t blas_type()
{
    if constexpr (std::same_as<T, f64>) {
        return CUDA_R_64F;
    } else if constexpr (std::same_as<T, f32>) {
        return CUDA_R_32F;
    } else if constexpr (std::same_as<T, bf16>) {
        return CUDA_R_16BF;
    } else {
        return CUDA_R_16F;
    }
}

// Scratch for one product: splits of the inner extent keep their sums there. It follows from the shape alone, as the
// choice of algorithm, and so the order of sums, follows from it.
constexpr std::size_t blas_bytes(std::int64_t m, std::int64_t n)
{
    const auto wanted = (std::size_t(m) * std::size_t(n) * 16 + 65536) / 256 * 256;
    return std::min<std::size_t>(wanted, std::size_t{32} << 20);
}

namespace detail {

struct BlasLayout {
    cublasLtMatrixLayout_t at = nullptr;
    BlasLayout(cudaDataType_t type, std::int64_t length, std::int64_t lines, std::int64_t stride)
    {
        check(cublasLtMatrixLayoutCreate(&at, type, std::uint64_t(length), std::uint64_t(lines), stride), "matmul");
    }
    BlasLayout(const BlasLayout&) = delete;
    BlasLayout& operator=(const BlasLayout&) = delete;
    ~BlasLayout() { cublasLtMatrixLayoutDestroy(at); }
};

struct BlasProduct {
    cublasLtMatmulDesc_t at = nullptr;
    BlasProduct(cublasComputeType_t compute, cudaDataType_t scale)
    {
        check(cublasLtMatmulDescCreate(&at, compute, scale), "matmul");
    }
    BlasProduct(const BlasProduct&) = delete;
    BlasProduct& operator=(const BlasProduct&) = delete;
    ~BlasProduct() { cublasLtMatmulDescDestroy(at); }
    void transpose(cublasLtMatmulDescAttributes_t which, bool yes)
    {
        const cublasOperation_t op = yes ? CUBLAS_OP_T : CUBLAS_OP_N;
        check(cublasLtMatmulDescSetAttribute(at, which, &op, sizeof op), "matmul");
    }
};

struct BlasPreference {
    cublasLtMatmulPreference_t at = nullptr;
    BlasPreference() { check(cublasLtMatmulPreferenceCreate(&at), "matmul"); }
    BlasPreference(const BlasPreference&) = delete;
    BlasPreference& operator=(const BlasPreference&) = delete;
    ~BlasPreference() { cublasLtMatmulPreferenceDestroy(at); }
    template <class V> void set(cublasLtMatmulPreferenceAttributes_t which, V value)
    {
        check(cublasLtMatmulPreferenceSetAttribute(at, which, &value, sizeof value), "matmul");
    }
    // The heuristics take 256 bytes for granted.
    void alignment(cublasLtMatmulPreferenceAttributes_t which, const void* of)
    {
        const auto address = reinterpret_cast<std::uintptr_t>(of);
        set(which, std::uint32_t(std::min<std::uintptr_t>(address & (~address + 1), 256)));
    }
};

}  // namespace detail

// c (m, n) = scale A B, or added to what is there, one rounding to TC. Operands as they lie in memory: a is (m, k), or
// (k, m) where it is transposed; b is (k, n), or (n, k). The same bits for the same shapes and device.
template <class T, class TC>
void product(std::int64_t m, std::int64_t n, std::int64_t k, View<const T> a, bool transpose_a, View<const T> b,
             bool transpose_b, Sink<TC> c, acc<T> scale, void* scratch, const Stream& on)
{
    if (m == 0 || n == 0) { return; }
    if (k == 0) {  // a sum of nothing, which cuBLASLt refuses
        if (!c.add) {
            const std::size_t width = std::size_t(n) * sizeof(TC), pitch = std::size_t(c.view.stride) * sizeof(TC);
            check(cudaMemset2DAsync(c.view.data, pitch, 0, width, std::size_t(m), on.stream), "matmul");
        }
        return;
    }
    // cuBLASLt thinks in columns: rows of ours are its columns, so it is asked for c^T = b^T a^T.
    constexpr bool wide = std::same_as<T, f64>;
    detail::BlasProduct how(wide ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F, wide ? CUDA_R_64F : CUDA_R_32F);
    how.transpose(CUBLASLT_MATMUL_DESC_TRANSA, transpose_b);
    how.transpose(CUBLASLT_MATMUL_DESC_TRANSB, transpose_a);
    const detail::BlasLayout first(blas_type<T>(), transpose_b ? k : n, transpose_b ? n : k, b.stride);
    const detail::BlasLayout second(blas_type<T>(), transpose_a ? m : k, transpose_a ? k : m, a.stride);
    const detail::BlasLayout out(blas_type<TC>(), n, m, c.view.stride);

    detail::BlasPreference wish;
    wish.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t(blas_bytes(m, n)));
    wish.alignment(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, b.data);
    wish.alignment(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, a.data);
    wish.alignment(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, c.view.data);
    wish.alignment(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, c.view.data);

    const cublasLtHandle_t handle = on.blas->handle();
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    check(
        cublasLtMatmulAlgoGetHeuristic(handle, how.at, first.at, second.at, out.at, out.at, wish.at, 1, &found, &count),
        "matmul: no algorithm for this product");
    require(count > 0, "matmul: cuBLASLt has no algorithm for this product");
    const acc<T> add = c.add ? 1 : 0;
    check(cublasLtMatmul(handle, how.at, &scale, b.data, first.at, a.data, second.at, &add, c.view.data, out.at,
                         c.view.data, out.at, &found.algo, scratch, found.workspaceSize, on.stream),
          "matmul");
}

}  // namespace gpu

template <> struct kernel<MatmulOp, Cuda> {
    using Stream = memory<Cuda>::Stream;

    template <class T> static std::size_t workspace(const MatmulProblem& p) { return gpu::blas_bytes(p.rows, p.out); }
    template <class T> static std::size_t workspace_backward(const MatmulProblem& p)
    {
        return std::max(gpu::blas_bytes(p.rows, p.in), gpu::blas_bytes(p.out, p.in));
    }
    template <class T> static void forward(View<T> y, View<const T> x, View<const T> w, void* scratch, const Stream& on)
    {
        gpu::product(x.rows, w.rows, x.cols(), x, false, w, true, Sink<T>{y, false}, acc<T>(1), scratch, on);
    }
    template <class T>
    static void backward_x(Sink<T> dx, View<const T> dy, View<const T> w, void* scratch, const Stream& on)
    {
        gpu::product(dy.rows, w.cols(), w.rows, dy, false, w, false, dx, acc<T>(1), scratch, on);
    }
    template <class T>
    static void backward_w(Sink<acc<T>> dw, View<const T> dy, View<const T> x, void* scratch, const Stream& on)
    {
        gpu::product(dy.cols(), x.cols(), x.rows, dy, true, x, false, dw, acc<T>(1), scratch, on);
    }
};

}  // namespace graft
