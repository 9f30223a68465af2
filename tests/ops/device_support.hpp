#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "graft/core/tensor.hpp"
#include "matrix.hpp"
#include "support.hpp"
#if defined(__CUDACC__)
#include "graft/cuda.cuh"
#else
#include "graft/cpu.hpp"
#endif

// What the op tests that run on every device share. A file of such tests is compiled as C++ for the CPU, and once more
// by nvcc for Cuda (tests/cuda/). References are formulas in double on values that T holds exactly.
namespace graft_test {

template <graft::Device D, graft::Float E> struct On {
    using Dev = D;
    using T = E;
};

}  // namespace graft_test

#if defined(__CUDACC__)
#define GRAFT_TEST_DEVICE graft::Cuda
TYPE_TO_STRING_AS("Cuda, f32", graft_test::On<graft::Cuda, float>);
TYPE_TO_STRING_AS("Cuda, f64", graft_test::On<graft::Cuda, double>);
TYPE_TO_STRING_AS("Cuda, bf16", graft_test::On<graft::Cuda, graft::bf16>);
#else
#define GRAFT_TEST_DEVICE graft::Cpu
TYPE_TO_STRING_AS("Cpu, f32", graft_test::On<graft::Cpu, float>);
TYPE_TO_STRING_AS("Cpu, f64", graft_test::On<graft::Cpu, double>);
TYPE_TO_STRING_AS("Cpu, bf16", graft_test::On<graft::Cpu, graft::bf16>);
#endif

// The device that this compilation is for, with each element type.
#define GRAFT_TEST_TYPES                                                                                               \
    graft_test::On<GRAFT_TEST_DEVICE, float>, graft_test::On<GRAFT_TEST_DEVICE, double>,                               \
        graft_test::On<GRAFT_TEST_DEVICE, graft::bf16>

namespace graft_test {

// False, having said so, where there is no such device.
template <graft::Device Dev> bool ready()
{
#if defined(__CUDACC__)
    if constexpr (std::same_as<Dev, graft::Cuda>) {
        if (!graft::gpu::available()) {
            skip("no CUDA device");
            return false;
        }
    }
#endif
    return true;
}

template <graft::Device Dev> std::shared_ptr<graft::Pool<Dev>> pool(bool poison = true)
{
    return graft::Pool<Dev>::create({.poison = poison});
}

// Numbers in (-1, 1) that T holds exactly, the same for the same seed.
template <class T> Matrix numbers(std::int64_t rows, std::int64_t cols, std::uint64_t seed)
{
    Matrix made(rows, cols);
    std::uint64_t state = seed * 0x9e3779b97f4a7c15U + 1;
    for (double& value : made.at) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        value = double(T(float(double(state >> 40) / double(1 << 23) - 1.0)));
    }
    return made;
}

// a b^T
inline Matrix times_transposed(const Matrix& a, const Matrix& b)
{
    Matrix c(a.rows, b.rows);
    for (std::int64_t i = 0; i < a.rows; ++i) {
        for (std::int64_t j = 0; j < b.rows; ++j) {
            for (std::int64_t k = 0; k < a.cols; ++k) { c(i, j) += a(i, k) * b(j, k); }
        }
    }
    return c;
}

inline double dot(const Matrix& a, const Matrix& b)
{
    double sum = 0;
    for (std::size_t i = 0; i < a.at.size(); ++i) { sum += a.at[i] * b.at[i]; }
    return sum;
}

template <class T, class Dev>
void put(graft::View<T> to, const Matrix& from, const std::shared_ptr<graft::Pool<Dev>>& pool)
{
    std::vector<T> row(std::size_t(from.cols));
    for (std::int64_t i = 0; i < from.rows; ++i) {
        for (std::int64_t j = 0; j < from.cols; ++j) { row[std::size_t(j)] = T(from(i, j)); }
        graft::memory<Dev>::copy(to.row(i), row.data(), row.size() * sizeof(T), pool->stream());
    }
}

template <class Dev, class T> Matrix get(graft::View<const T> from, const std::shared_ptr<graft::Pool<Dev>>& pool)
{
    Matrix to(from.rows, from.cols());
    std::vector<T> row(std::size_t(to.cols));
    for (std::int64_t i = 0; i < to.rows; ++i) {
        graft::memory<Dev>::copy(row.data(), from.row(i), row.size() * sizeof(T), pool->stream());
        for (std::int64_t j = 0; j < to.cols; ++j) { to(i, j) = double(row[std::size_t(j)]); }
    }
    return to;
}

template <graft::Float T, class S, class Dev>
graft::Tensor<T, S, Dev> upload(const Matrix& from, const std::shared_ptr<graft::Pool<Dev>>& pool)
{
    graft::Tensor<T, S, Dev> made(from.rows, from.cols, pool);
    put<T>(made.view(), from, pool);
    return made;
}
template <class T, class Dev>
graft::Buffer<T, Dev> upload(const std::vector<T>& from, const std::shared_ptr<graft::Pool<Dev>>& pool)
{
    graft::Buffer<T, Dev> made(std::int64_t(from.size()), pool);
    graft::memory<Dev>::copy(made.data(), from.data(), from.size() * sizeof(T), pool->stream());
    return made;
}
template <graft::Float T, class S, class Dev> Matrix download(const graft::Tensor<T, S, Dev>& x)
{
    return get<Dev, T>(x.view(), x.pool());
}
template <graft::Float T, class Dev> Matrix download(const graft::Grad<T, Dev>& x)
{
    return get<Dev, T>(x.view(), x.pool());
}

// Writes the gradient that backward starts from.
template <graft::Float T, class S, class Dev> void seed(const graft::Tensor<T, S, Dev>& y, const Matrix& dy)
{
    put<T>(y.grad().sink().view, dy, y.pool());
}

// The largest difference, as a share of the largest magnitude wanted, or of `terms` where what is wanted is a small
// difference of such. NaN counts as infinite.
inline double distance(const Matrix& got, const Matrix& want, double terms = 0)
{
    if (got.rows != want.rows || got.cols != want.cols) { return std::numeric_limits<double>::infinity(); }
    double difference = 0, size = terms;
    for (std::size_t i = 0; i < want.at.size(); ++i) {
        size = std::max(size, std::abs(want.at[i]));
        const double d = std::abs(got.at[i] - want.at[i]);
        if (!(d <= difference)) { difference = std::isnan(d) ? std::numeric_limits<double>::infinity() : d; }
    }
    return size == 0 ? difference : difference / size;
}

// By how much a result in T may differ from the exact one, relative to the largest: a rounding of T here and there, and
// a sum of n terms in acc<T>, whose errors add up as a random walk does.
template <class T> double tolerance(std::int64_t n)
{
    using graft::epsilon;
    return 2 * epsilon<T>() + 8 * std::sqrt(double(n) + 1) * epsilon<graft::acc<T>>();
}

// The gradient of f with respect to x by central differences: f is a formula in double. Good to about 1e-9.
inline Matrix differences(Matrix x, const std::function<double(const Matrix&)>& f)
{
    constexpr double step = 1e-4;
    Matrix slope(x.rows, x.cols);
    for (std::size_t i = 0; i < x.at.size(); ++i) {
        const double at = x.at[i];
        double value[4];
        const double where[4] = {at - 2 * step, at - step, at + step, at + 2 * step};
        for (int k = 0; k < 4; ++k) { x.at[i] = where[k], value[k] = f(x); }
        x.at[i] = at;
        slope.at[i] = (8 * (value[2] - value[1]) - (value[3] - value[0])) / (12 * step);  // error of order step^4
    }
    return slope;
}

// The same for a gradient: the differences themselves are good to 1e-9, and have no more than that from f64.
template <class T> double gradient_tolerance(std::int64_t n) { return 4 * tolerance<T>(n) + 1e-8; }

}  // namespace graft_test
