#include "graft/core/cuda.cuh"

#include <string>

#include "ops/device_support.hpp"

using namespace graft;
using namespace graft_test;

namespace {

__global__ void memory_test_double(float* at, int n)
{
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) { at[i] *= 2; }
}

template <class Call> std::string refusal(Call&& call)
{
    try {
        call();
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

struct OwnStream {
    cudaStream_t stream = nullptr;
    OwnStream() { gpu::check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream"); }
    OwnStream(const OwnStream&) = delete;
    OwnStream& operator=(const OwnStream&) = delete;
    ~OwnStream() { cudaStreamDestroy(stream); }
};

}  // namespace

TEST_CASE("memory<Cuda>: host to device, device to device, device to host, on a stream of one's own")
{
    if (!ready<Cuda>()) { return; }
    const OwnStream own;
    {
        const auto from = Pool<Cuda>::create({}, {.stream = own.stream});
        const std::vector<float> sent{1, 2, 3, -4, 0.5f};
        const auto n = std::int64_t(sent.size());
        const Buffer<float, Cuda> first(n, from), second(n, from);
        const std::size_t bytes = sent.size() * sizeof(float);
        memory<Cuda>::copy(first.data(), sent.data(), bytes, from->stream());
        memory<Cuda>::copy(second.data(), first.data(), bytes, from->stream());
        gpu::launch(memory_test_double, "double", gpu::blocks_for(n, 32), 32, from->stream(), second.data(), int(n));
        std::vector<float> back(sent.size());
        memory<Cuda>::copy(back.data(), second.data(), bytes, from->stream());
        CHECK(back == std::vector<float>{2, 4, 6, -8, 1});

        Tensor<float, Shape<1>, Cuda> scalar(1, 1, from);
        memory<Cuda>::copy(scalar.data(), &sent[3], sizeof(float), from->stream());
        CHECK(item(scalar) == -4);
    }
}

TEST_CASE("memory<Cuda>: a poisoned pool fills blocks with NaN, given out and given back")
{
    if (!ready<Cuda>()) { return; }
    const auto from = pool<Cuda>(true);
    float seen = 0;
    float* at = nullptr;
    {
        const Buffer<float, Cuda> block(8, from);
        at = block.data();
        memory<Cuda>::copy(&seen, at, sizeof seen, from->stream());
        CHECK(std::isnan(seen));
        seen = 1;
        memory<Cuda>::copy(at, &seen, sizeof seen, from->stream());
    }
    memory<Cuda>::copy(&seen, at, sizeof seen, from->stream());  // the pool still owns the block
    CHECK(std::isnan(seen));
    CHECK(from->live_bytes() == 0);
    CHECK(from->system_calls() == 1);
}

TEST_CASE("memory<Cuda>: what fails is an Error with CUDA's own text")
{
    if (!ready<Cuda>()) { return; }
    const auto from = pool<Cuda>(false);
    const auto large = refusal([&] { Buffer<std::byte, Cuda>(std::int64_t{1} << 50, from); });
    CHECK(large.find("out of memory") == 0);
    const Buffer<float, Cuda> block(8, from);  // and the device is as usable as before
    const auto threads =
        refusal([&] { gpu::launch(memory_test_double, "double", 1, 4096, from->stream(), block.data(), 8); });
    CHECK(threads.find("cuda: double: ") == 0);
    CHECK(threads.find("cudaErrorInvalid") != std::string::npos);
    gpu::launch(memory_test_double, "double", 0, 32, from->stream(), block.data(), 8);  // no blocks: nothing to do
    memory<Cuda>::synchronize(from->stream());
}
