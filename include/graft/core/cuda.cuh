#pragma once
#include <cublasLt.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "graft/core/buffer.hpp"
#include "graft/core/tensor.hpp"

// NVIDIA GPUs: memory, streams, launches and errors.
//
//   memory<Cuda>::Stream    a CUDA stream and the cuBLASLt handle of whoever works on it. Making one touches no device,
//                           so that a counting pool plans memory on a machine without a GPU.
//   copy                    any two of host and device; where one side is the host, it has ended on return
//   gpu::launch             a kernel on a stream; a launch that fails is an Error with CUDA's own text
//
// The stream belongs to whoever made it and must outlive the pool. A pool's blocks are reused in the order of its
// stream: one pool a device and stream.
// The namespace is gpu, not cuda: next to a `using namespace graft`, cuda:: would clash with that of libcu++.
// Throws: Error on any failure of CUDA or cuBLAS. fill and release run in destructors and do not throw: what went wrong
// shows at the next call that may.
namespace graft::gpu {

inline void check(cudaError_t status, const char* what)
{
    if (status != cudaSuccess) {
        throw Error("cuda: " + std::string(what) + ": " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status)
                    + ")");
    }
}

inline void check(cublasStatus_t status, const char* what)
{
    if (status != CUBLAS_STATUS_SUCCESS) {
        throw Error("cuda: " + std::string(what) + ": cuBLASLt says " + cublasLtGetStatusString(status));
    }
}

// A cuBLASLt handle, made when it is first asked for.
class Blas {
public:
    Blas() = default;
    Blas(const Blas&) = delete;
    Blas& operator=(const Blas&) = delete;
    ~Blas()
    {
        int device = 0;  // at the end of a program the driver may be gone before a static pool is
        if (handle_ != nullptr && cudaGetDevice(&device) == cudaSuccess) { cublasLtDestroy(handle_); }
    }
    cublasLtHandle_t handle()
    {
        std::call_once(once_, [this] { check(cublasLtCreate(&handle_), "no cuBLASLt handle"); });
        return handle_;
    }

private:
    std::once_flag once_;
    cublasLtHandle_t handle_ = nullptr;
};

}  // namespace graft::gpu

namespace graft {

template <> struct memory<Cuda> {
    struct Stream {
        cudaStream_t stream = nullptr;
        std::shared_ptr<gpu::Blas> blas = std::make_shared<gpu::Blas>();
    };

    static void* allocate(std::size_t bytes)
    {
        void* at = nullptr;
        const cudaError_t status = cudaMalloc(&at, bytes);
        if (status == cudaErrorMemoryAllocation) {
            cudaGetLastError();  // said by returning nothing: the pool gives free blocks back and asks again
            return nullptr;
        }
        gpu::check(status, "no memory could be had");
        return at;
    }
    static void release(void* at) { cudaFree(at); }
    static void fill(void* at, unsigned char byte, std::size_t bytes, const Stream& on)
    {
        cudaMemsetAsync(at, byte, bytes, on.stream);
    }
    static void copy(void* to, const void* from, std::size_t bytes, const Stream& on)
    {
        if (bytes == 0) { return; }
        gpu::check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, on.stream), "copy");
        if (on_host(to) || on_host(from)) { synchronize(on); }
    }
    static void synchronize(const Stream& on) { gpu::check(cudaStreamSynchronize(on.stream), "a kernel failed"); }

private:
    static bool on_host(const void* at)
    {
        cudaPointerAttributes found{};
        gpu::check(cudaPointerGetAttributes(&found, at), "a pointer is not known");
        return found.type == cudaMemoryTypeUnregistered || found.type == cudaMemoryTypeHost;
    }
};

// The value of a scalar; waits for the stream.
template <Float T> double item(const Tensor<T, Shape<1>, Cuda>& x)
{
    T value;
    memory<Cuda>::copy(&value, x.data(), sizeof value, x.pool()->stream());
    return double(value);
}

}  // namespace graft

namespace graft::gpu {

using Stream = memory<Cuda>::Stream;

// True where this process can use a device. Does not throw.
inline bool available()
{
    int count = 0;
    const bool found = cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
    cudaGetLastError();
    return found;
}

// Runs kernel<<<blocks, threads>>> on the stream; nothing where there are no blocks.
template <class... Want, class... Got>
void launch(void (*kernel)(Want...), const char* name, std::int64_t blocks, dim3 threads, const Stream& on,
            const Got&... arguments)
{
    if (blocks <= 0) { return; }
    require(blocks <= 0x7fffffff, [&] { return std::string(name) + ": more than 2^31 - 1 blocks; pass fewer rows"; });
    kernel<<<unsigned(blocks), threads, 0, on.stream>>>(Want(arguments)...);
    check(cudaGetLastError(), name);
}

// How many blocks of `each` cover n.
constexpr std::int64_t blocks_for(std::int64_t n, std::int64_t each) { return (n + each - 1) / each; }

}  // namespace graft::gpu
