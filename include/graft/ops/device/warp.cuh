#pragma once

// What the 32 lanes of a warp do together. All of them must take part.
namespace graft::gpu {

inline constexpr int warp = 32;

// The sum over the lanes, the same bits in each: the order is that of a tree, whatever the device.
template <class A> __device__ A warp_sum(A value)
{
    for (int step = warp / 2; step > 0; step /= 2) { value += __shfl_xor_sync(0xffffffffU, value, step); }
    return value;
}

}  // namespace graft::gpu
