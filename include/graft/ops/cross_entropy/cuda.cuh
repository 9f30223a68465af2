#pragma once
#include <cstdint>

#include "graft/core/cuda.cuh"
#include "graft/ops/cross_entropy.hpp"
#include "graft/ops/device/block.cuh"

// A label that is neither ignored nor a column gives a loss of NaN; nothing outside of the row is read.
namespace graft {

namespace gpu {

inline constexpr int cross_entropy_threads = 256;

template <class T, class A>
__global__ void cross_entropy_rows(A* lse, double* each, View<const T> z, const std::int32_t* labels)
{
    constexpr int threads = cross_entropy_threads;
    const std::int64_t i = blockIdx.x, cols = z.cols();
    const std::int32_t label = labels[i];
    if (label == ignore) {  // the whole block leaves
        if (threadIdx.x == 0) { each[i] = 0, lse[i] = 0; }
        return;
    }
    const T* row = z.row(i);
    A top = A(row[0]), sum = 0;
    for (std::int64_t j = threadIdx.x; j < cols; j += threads) { top = Largest{}(top, A(row[j])); }
    top = block_reduce<threads>(top, Largest{});
    for (std::int64_t j = threadIdx.x; j < cols; j += threads) { sum += exp(A(row[j]) - top); }
    sum = block_reduce<threads>(sum, Plus{});
    if (threadIdx.x == 0) {
        lse[i] = top + log(sum);
        const bool known = label >= 0 && label < cols;
        each[i] = known ? double(lse[i]) - double(row[label]) : nan("");
    }
}

// One block: thread t adds rows t, t + threads, …; then the threads are added up. The order follows from N alone.
template <class A> __global__ void cross_entropy_sum(A* loss, const double* each, std::int64_t rows, double scale)
{
    constexpr int threads = cross_entropy_threads;
    double sum = 0;
    for (std::int64_t i = threadIdx.x; i < rows; i += threads) { sum += each[i]; }
    sum = block_reduce<threads>(sum, Plus{});
    if (threadIdx.x == 0) { *loss = A(sum * scale); }
}

template <class T, class A>
__global__ void cross_entropy_backward(Sink<T> dz, const A* dloss, View<const T> z, const A* lse,
                                       const std::int32_t* labels, double scale)
{
    const std::int64_t i = blockIdx.x;
    const std::int32_t label = labels[i];
    const A weight = A(double(*dloss) * scale);
    for (std::int64_t j = threadIdx.x; j < z.cols(); j += cross_entropy_threads) {
        // p - 1 of the label is formed in A before any rounding: near 1 it would lose everything after. A row that is
        // not scored gets 0 whatever its logits are, not a product with 0.
        const A value = label == ignore ? A(0) : weight * (exp(A(z.row(i)[j]) - lse[i]) - (label == j ? A(1) : A(0)));
        dz.put(i, j, value);
    }
}

}  // namespace gpu

template <> struct kernel<CrossEntropyOp, Cuda> {
    using Stream = memory<Cuda>::Stream;

    template <class T, class A>
    static void forward(A* loss, A* lse, double* each, View<const T> z, const std::int32_t* labels, double scale,
                        const Stream& on)
    {
        constexpr int threads = gpu::cross_entropy_threads;
        gpu::launch(gpu::cross_entropy_rows<T, A>, "cross_entropy", z.rows, threads, on, lse, each, z, labels);
        gpu::launch(gpu::cross_entropy_sum<A>, "cross_entropy", 1, threads, on, loss, each, z.rows, scale);
    }
    template <class T, class A>
    static void backward(Sink<T> dz, const A* dloss, View<const T> z, const A* lse, const std::int32_t* labels,
                         double scale, const Stream& on)
    {
        gpu::launch(gpu::cross_entropy_backward<T, A>, "cross_entropy", z.rows, gpu::cross_entropy_threads, on, dz,
                    dloss, z, lse, labels, scale);
    }
};

}  // namespace graft
