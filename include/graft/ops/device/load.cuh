#pragma once
#include <cstdint>

#include "graft/core/dtype.hpp"

// Eight neighbours at a time: 16 bytes of bf16, 32 of f32, 64 of f64.
namespace graft::gpu {

template <class T> struct alignas(16) Octet {
    T at[8];
};

// Whether eight elements at this address can be moved as 16-byte words.
template <class T> GRAFT_HOST_DEVICE bool octet_aligned(const T* at)
{
    return reinterpret_cast<std::uintptr_t>(at) % 16 == 0;
}

template <class T> __device__ void store(T* to, const Octet<T>& from)
{
    struct alignas(16) Words {
        uint4 at[sizeof(Octet<T>) / 16];
    };
    const Words words = __builtin_bit_cast(Words, from);
    for (unsigned i = 0; i < sizeof(Words) / 16; ++i) { reinterpret_cast<uint4*>(to)[i] = words.at[i]; }
}

}  // namespace graft::gpu
