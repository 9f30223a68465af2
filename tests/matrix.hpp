#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

// Rows of numbers in double on the host: what references are computed in.
namespace graft_test {

struct Matrix {
    std::int64_t rows = 0, cols = 0;
    std::vector<double> at;

    Matrix() = default;
    Matrix(std::int64_t n, std::int64_t d, double value = 0) : rows(n), cols(d), at(std::size_t(n * d), value) {}
    double& operator()(std::int64_t i, std::int64_t j) { return at[std::size_t(i * cols + j)]; }
    const double& operator()(std::int64_t i, std::int64_t j) const { return at[std::size_t(i * cols + j)]; }
};

}  // namespace graft_test
