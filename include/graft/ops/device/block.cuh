#pragma once
#include <cub/block/block_reduce.cuh>

#include <cstdint>

#include "graft/core/view.hpp"

// What the threads of a block do together. CUB is included here and nowhere else.
//
// The order of every sum depends on the number of threads alone, which an op fixes by shape: no atomics.
namespace graft::gpu {

struct Largest {
    template <class A> __device__ A operator()(A a, A b) const { return a < b ? b : a; }
};
struct Plus {
    template <class A> __device__ A operator()(A a, A b) const { return a + b; }
};

// The reduction over a block of Threads threads in one dimension, for all of them. All must call it.
template <int Threads, class A, class Combine> __device__ A block_reduce(A value, Combine combine)
{
    using Reduce = cub::BlockReduce<A, Threads>;
    __shared__ typename Reduce::TempStorage scratch;
    __shared__ A result;
    value = Reduce(scratch).Reduce(value, combine);
    if (threadIdx.x == 0) { result = value; }  // the value is that of the block in thread 0 only,
    __syncthreads();                           // so the others wait for it,
    value = result;
    __syncthreads();  // and the next call waits until all have read it
    return value;
}

inline constexpr int column_lanes = 16;

// Sums term(row, column) down each column into row 0 of `to`. Blocks of (32, column_lanes), one for 32 columns: lane y
// takes rows y, y + column_lanes, …, then the lanes are added in order.
template <class A, class Term> __device__ void sum_columns(Sink<A> to, std::int64_t rows, std::int64_t cols, Term term)
{
    __shared__ A part[column_lanes][33];
    const std::int64_t j = std::int64_t(blockIdx.x) * 32 + threadIdx.x;
    A sum = 0;
    if (j < cols) {
        for (std::int64_t i = threadIdx.y; i < rows; i += column_lanes) { sum += term(i, j); }
    }
    part[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();  // lane 0 reads what the others wrote
    if (threadIdx.y == 0 && j < cols) {
        for (int lane = 1; lane < column_lanes; ++lane) { sum += part[lane][threadIdx.x]; }
        to.put(0, j, sum);
    }
}

}  // namespace graft::gpu
