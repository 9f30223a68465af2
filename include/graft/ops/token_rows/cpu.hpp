#pragma once
#include <algorithm>
#include <utility>

#include "graft/core/parallel.hpp"
#include "graft/ops/token_rows.hpp"

namespace graft {

template <> struct kernel<TokenRowsOp, Cpu> {
    using Stream = memory<Cpu>::Stream;

    template <class T>
    static void forward(View<T> y, const std::int32_t* ids, const std::int32_t* slots, View<const T> r, Stream)
    {
        for (std::int64_t i = 0; i < y.rows; ++i) {
            if (slots[ids[i]] >= 0) { std::copy_n(r.row(slots[ids[i]]), y.cols(), y.row(i)); }
        }
    }
    template <class T>
    static void backward(Sink<acc<T>> dr, const std::int32_t* ids, const std::int32_t* slots, View<const T> dy, Stream)
    {
        for (std::int64_t s = 0; s < dr.view.rows && !dr.add; ++s) {
            std::fill_n(dr.view.row(s), dr.view.cols(), acc<T>(0));
        }
        for (std::int64_t i = 0; i < dy.rows; ++i) {
            if (slots[ids[i]] < 0) { continue; }
            acc<T>* to = dr.view.row(slots[ids[i]]);
            for (std::int64_t j = 0; j < dy.cols(); ++j) { to[j] += acc<T>(dy.row(i)[j]); }
        }
    }

    // Row by row of h: z[ids[s]] = h r_s^T.
    template <class Z, class T>
    static void replace(View<Z> z, View<const T> h, View<const T> r, const std::int32_t* ids, Stream)
    {
        using A = acc<T>;
        parallel_rows(z.rows, 1, 2 * r.rows * h.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                for (std::int64_t s = 0; s < r.rows; ++s) {
                    A sum = 0;
                    for (std::int64_t j = 0; j < h.cols(); ++j) { sum += A(h.row(i)[j]) * A(r.row(s)[j]); }
                    z.row(i)[ids[s]] = Z(sum);
                }
            }
        });
    }
    // Moves what dz has in the columns of these tokens to `picked`: the product with the table then adds nothing there.
    template <class A> static void pick(View<A> picked, View<A> dz, const std::int32_t* ids)
    {
        for (std::int64_t i = 0; i < dz.rows; ++i) {
            for (std::int64_t s = 0; s < picked.cols(); ++s) {
                picked.row(i)[s] = std::exchange(dz.row(i)[ids[s]], A(0));
            }
        }
    }
    // dr_s += sum over rows of picked_s h
    template <class A, class T> static void add_products(Sink<A> dr, View<const A> picked, View<const T> h)
    {
        const std::int64_t cols = dr.view.cols();
        parallel_rows(dr.view.rows, 1, 2 * h.rows * cols, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t s = begin; s < end; ++s) {
                A* const to = dr.view.row(s);
                if (!dr.add) { std::fill_n(to, cols, A(0)); }
                for (std::int64_t i = 0; i < h.rows; ++i) {
                    for (std::int64_t j = 0; j < cols; ++j) { to[j] += picked.row(i)[s] * A(h.row(i)[j]); }
                }
            }
        });
    }
    // dh += picked r
    template <class A, class T> static void add_rows(View<T> dh, View<const A> picked, View<const T> r)
    {
        parallel_rows(dh.rows, 1, 2 * r.rows * dh.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                for (std::int64_t j = 0; j < dh.cols(); ++j) {
                    A sum = A(dh.row(i)[j]);
                    for (std::int64_t s = 0; s < r.rows; ++s) { sum += picked.row(i)[s] * A(r.row(s)[j]); }
                    dh.row(i)[j] = T(sum);
                }
            }
        });
    }
};

}  // namespace graft
