#pragma once
#include "graft/core/cuda.cuh"
#include "graft/ops/add.hpp"
#include "graft/ops/device/block.cuh"

namespace graft {

namespace gpu {

// A block goes along a row; with more rows than blocks, it takes several.
template <class T> __global__ void add_each(View<T> y, View<const T> a, View<const T> b)
{
    for (std::int64_t i = blockIdx.x; i < y.rows; i += gridDim.x) {
        for (std::int64_t j = threadIdx.x; j < y.cols(); j += blockDim.x) {
            y.row(i)[j] = T(acc<T>(a.row(i)[j]) + acc<T>(b.row(i)[j]));
        }
    }
}

template <class T> __global__ void add_into(Sink<T> to, View<const T> from)
{
    for (std::int64_t i = blockIdx.x; i < from.rows; i += gridDim.x) {
        for (std::int64_t j = threadIdx.x; j < from.cols(); j += blockDim.x) { to.put(i, j, acc<T>(from.row(i)[j])); }
    }
}

template <class T> __global__ void add_row_to_each(View<T> y, const T* bias)
{
    for (std::int64_t i = blockIdx.x; i < y.rows; i += gridDim.x) {
        for (std::int64_t j = threadIdx.x; j < y.cols(); j += blockDim.x) {
            y.row(i)[j] = T(acc<T>(y.row(i)[j]) + acc<T>(bias[j]));
        }
    }
}

template <class T> __global__ void add_rows_up(Sink<acc<T>> db, View<const T> dy)
{
    sum_columns(db, dy.rows, dy.cols(), [&](std::int64_t i, std::int64_t j) { return acc<T>(dy.row(i)[j]); });
}

}  // namespace gpu

template <> struct kernel<AddOp, Cuda> {
    using Stream = memory<Cuda>::Stream;

    template <class T> static void forward(View<T> y, View<const T> a, View<const T> b, const Stream& on)
    {
        gpu::launch(gpu::add_each<T>, "add", y.rows, 256, on, y, a, b);
    }
    template <class T> static void accumulate(Sink<T> to, View<const T> from, const Stream& on)
    {
        gpu::launch(gpu::add_into<T>, "add", from.rows, 256, on, to, from);
    }
    template <class T> static void add_row(View<T> y, const T* bias, const Stream& on)
    {
        gpu::launch(gpu::add_row_to_each<T>, "add_bias", y.rows, 256, on, y, bias);
    }
    template <class T> static void sum_rows(Sink<acc<T>> db, View<const T> dy, const Stream& on)
    {
        gpu::launch(gpu::add_rows_up<T>, "add_bias", gpu::blocks_for(dy.cols(), 32), {32, gpu::column_lanes}, on, db,
                    dy);
    }
};

}  // namespace graft
