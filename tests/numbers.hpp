#pragma once
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "graft/autograd/param.hpp"
#include "graft/core/machine.hpp"
#include "graft/core/parallel.hpp"
#include "graft/core/random.hpp"
#include "matrix.hpp"

// What tests of ops and models need: made-up numbers, comparisons, several targets and numbers of threads.
namespace graft_test {

inline graft::Buffer<std::int32_t, graft::Cpu> ids_of(const std::vector<std::int32_t>& ids)
{
    return graft::uploaded(std::span(ids), graft::Pool<graft::Cpu>::common());
}

template <class T> Matrix matrix(graft::View<T> view)
{
    Matrix out(view.rows, view.cols());
    for (std::int64_t i = 0; i < out.rows; ++i) {
        for (std::int64_t j = 0; j < out.cols; ++j) { out(i, j) = double(view.row(i)[j]); }
    }
    return out;
}
template <class T, class S> Matrix matrix(const graft::Tensor<T, S, graft::Cpu>& x)
{
    return matrix(graft::View<const T>(x.view()));
}
template <class T> Matrix matrix(const graft::Grad<T, graft::Cpu>& grad)
{
    REQUIRE(grad.written());
    return matrix(grad.view());
}

// Standard normal times size, rounded to T; the seed decides.
template <class T, class S> void fill(graft::Tensor<T, S, graft::Cpu>& x, std::uint64_t seed, double size = 1.0)
{
    const graft::Philox random{seed};
    for (std::int64_t i = 0; i < x.rows(); ++i) {
        for (std::int64_t j = 0; j < x.cols(); ++j) {
            const auto words = random(std::uint64_t(i), std::uint64_t(j));
            x.view().row(i)[j] = T(graft::acc<T>(size * graft::Philox::normal(words[0], words[1])));
        }
    }
}

// Rows of D filled with such numbers.
template <class T, int D = graft::dyn>
graft::Acts<T, D, graft::Cpu> filled(std::int64_t rows, std::int64_t cols, std::uint64_t seed, double size = 1.0)
{
    auto x = graft::Acts<T, D, graft::Cpu>(rows, cols, graft::Pool<graft::Cpu>::common());
    fill(x, seed, size);
    return x;
}

// Brings a Param's working copy up to its master values, as the optimiser does after each step.
template <class T, class S> void refresh(graft::Param<T, S, graft::Cpu>& w)
{
    if constexpr (!std::is_same_v<T, graft::acc<T>>) {
        auto to = w.working();
        for (std::int64_t i = 0; i < to.rows(); ++i) {
            for (std::int64_t j = 0; j < to.cols(); ++j) { to.view().row(i)[j] = T(w.value().view().row(i)[j]); }
        }
    }
}

template <class T>
graft::Param<T, graft::Shape<graft::dyn, graft::dyn>, graft::Cpu> param(std::int64_t rows, std::int64_t cols,
                                                                        std::uint64_t seed, double size = 1.0)
{
    using S = graft::Shape<graft::dyn, graft::dyn>;
    auto value = graft::Tensor<graft::acc<T>, S, graft::Cpu>(rows, cols);
    fill(value, seed, size);
    auto w = graft::Param<T, S, graft::Cpu>(std::move(value));
    refresh(w);
    return w;
}

// The same values in another type, which must hold them: what is run in T is checked by a run in double.
template <class To, class T, class S>
graft::Tensor<To, S, graft::Cpu> converted(const graft::Tensor<T, S, graft::Cpu>& x)
{
    auto out = graft::Tensor<To, S, graft::Cpu>(x.rows(), x.cols());
    for (std::int64_t i = 0; i < x.rows(); ++i) {
        for (std::int64_t j = 0; j < x.cols(); ++j) { out.view().row(i)[j] = To(graft::acc<T>(x.view().row(i)[j])); }
    }
    return out;
}
// Numbers of To that Rounded can hold.
template <class To, class Rounded>
graft::Acts<To, graft::dyn, graft::Cpu> filled_as(std::int64_t rows, std::int64_t cols, std::uint64_t seed,
                                                  double size = 1.0)
{
    return converted<To>(filled<Rounded>(rows, cols, seed, size));
}
template <class To, class Rounded>
graft::Param<To, graft::Shape<graft::dyn, graft::dyn>, graft::Cpu> param_as(std::int64_t rows, std::int64_t cols,
                                                                            std::uint64_t seed, double size = 1.0)
{
    auto w = graft::Param<To, graft::Shape<graft::dyn, graft::dyn>, graft::Cpu>(
        converted<graft::acc<To>>(filled_as<To, Rounded>(rows, cols, seed, size)));
    refresh(w);
    return w;
}

// The product of a and b, either of them transposed, in double.
inline Matrix times(const Matrix& a, const Matrix& b, bool transpose_a = false, bool transpose_b = false)
{
    const std::int64_t m = transpose_a ? a.cols : a.rows, k = transpose_a ? a.rows : a.cols;
    const std::int64_t n = transpose_b ? b.rows : b.cols;
    REQUIRE(k == (transpose_b ? b.cols : b.rows));
    Matrix c(m, n);
    for (std::int64_t i = 0; i < m; ++i) {
        for (std::int64_t j = 0; j < n; ++j) {
            double sum = 0;
            for (std::int64_t p = 0; p < k; ++p) {
                sum += (transpose_a ? a(p, i) : a(i, p)) * (transpose_b ? b(j, p) : b(p, j));
            }
            c(i, j) = sum;
        }
    }
    return c;
}

// The largest difference, as a share of the largest value expected, or of `size` where that is larger: for results that
// are sums of large terms and may cancel to nothing.
inline double difference(const Matrix& found, const Matrix& expected, double size = 0)
{
    REQUIRE(found.rows == expected.rows);
    REQUIRE(found.cols == expected.cols);
    double off = 0;
    for (std::size_t i = 0; i < found.at.size(); ++i) {
        if (!std::isfinite(found.at[i])) { return HUGE_VAL; }
        off = std::fmax(off, std::abs(found.at[i] - expected.at[i]));
        size = std::fmax(size, std::abs(expected.at[i]));
    }
    return off == 0 ? 0 : size == 0 ? HUGE_VAL : off / size;
}

// All elements of what a run gave, to compare runs bit by bit.
class Bits {
public:
    template <class T> void add(graft::View<T> view)
    {
        for (std::int64_t i = 0; i < view.rows; ++i) {
            const auto* from = reinterpret_cast<const unsigned char*>(view.row(i));
            bytes_.insert(bytes_.end(), from, from + std::size_t(view.cols()) * sizeof(T));
        }
    }
    template <class T, class S> void add(const graft::Tensor<T, S, graft::Cpu>& x)
    {
        add(graft::View<const T>(x.view()));
    }
    template <class T> void add(const graft::Grad<T, graft::Cpu>& grad)
    {
        REQUIRE(grad.written());
        add(grad.view());
    }
    bool operator==(const Bits&) const = default;

private:
    std::vector<unsigned char> bytes_;
};

// True if run(bits) gives the same bits for 1, 2, 3 and 5 threads.
template <class Run> bool same_for_threads(Run&& run)
{
    const int before = graft::threads();
    bool same = true;
    Bits first;
    graft::share_work_from(0);
    for (int count : {1, 2, 3, 5}) {
        graft::set_threads(count);
        Bits bits;
        run(bits);
        if (count == 1) {
            first = bits;
        } else if (!(bits == first)) {
            same = false;
        }
    }
    graft::set_threads(before);
    graft::share_work_from(graft::default_shared_work);
    return same;
}

// The CPU targets that this machine has, least first.
inline std::vector<graft::Target> targets()
{
    std::vector<graft::Target> all{graft::Target::portable};
    const graft::Target most = graft::machine().target;
    if (most != graft::Target::portable) { all.push_back(graft::Target::avx2); }
    if (most == graft::Target::avx512) { all.push_back(graft::Target::avx512); }
    return all;
}

}  // namespace graft_test
