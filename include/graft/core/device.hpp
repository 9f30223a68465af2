#pragma once
#include <concepts>

// Devices, and how an op finds the kernels that run there.
//
// A backend specialises kernel<Op, Device>: ops/rms_norm/cpu.hpp holds kernel<RmsNormOp, Cpu>, cuda.cuh its twin.
namespace graft {

struct Cpu {};
struct Cuda {};

template <class D>
concept Device = std::same_as<D, Cpu> || std::same_as<D, Cuda>;

template <class Got, class Want>
concept same_device = std::same_as<Got, Want>;

namespace detail {
template <class...> inline constexpr bool never = false;
}

template <class Op, Device Dev> struct kernel {
    static_assert(detail::never<Op, Dev>, "no kernels for this device here: include <graft/cpu.hpp>, or "
                                          "<graft/cuda.cuh> in a file compiled by nvcc.");
};

// How a device gets, returns and fills memory, and what a stream is there.
template <Device Dev> struct memory {
    static_assert(detail::never<Dev>, "no memory for this device here: include <graft/cuda.cuh> in a file compiled by "
                                      "nvcc.");
};

}  // namespace graft
