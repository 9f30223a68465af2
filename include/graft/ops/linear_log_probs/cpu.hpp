#pragma once
#include <algorithm>

#include "graft/ops/linear_cross_entropy/cpu.hpp"
#include "graft/ops/linear_log_probs.hpp"

namespace graft {

template <> struct kernel<LinearLogProbsOp, Cpu> {
    using Stream = memory<Cpu>::Stream;
    using Head = kernel<LinearCrossEntropyOp, Cpu>;

    template <class T> static std::size_t workspace(const LinearCrossEntropyProblem& p)
    {
        return Head::template workspace<T>(p);
    }

    // The cross-entropy with the other sign: each[i] is what one token costs, dh and dw are of its log-probability.
    template <class T, class A>
    static void rows(double* each, View<T> dh, Sink<A> dw, View<T> gathered, View<A> z, View<const T> h,
                     View<const T> w, const HeadParts<T>& with, const std::int32_t* rows, const std::int32_t* targets,
                     const double* weights, const LinearCrossEntropyProblem& p, void* scratch, Stream)
    {
        Head::rows(each, dh, dw, gathered, z, h, w, with, rows, targets, -1.0, weights, p, scratch);
    }

    static void sum(double* sums, std::int64_t count, const double* each, const std::int32_t* owners, std::int64_t n,
                    Stream)
    {
        std::fill(sums, sums + count, 0.0);
        for (std::int64_t i = 0; i < n; ++i) { sums[owners[i]] -= each[i]; }
    }

    static void weigh(double* weights, const double* dsums, const std::int32_t* owners, std::int64_t n, Stream)
    {
        for (std::int64_t i = 0; i < n; ++i) { weights[i] = dsums[owners[i]]; }
    }

    // Rows [0, once) of dh go to different rows; those behind them come to rows that were written already.
    template <class T>
    static void scatter(Sink<T> to, View<const T> dh, const std::int32_t* rows, std::int64_t once,
                        const double* weights, Stream)
    {
        using A = acc<T>;
        if (!to.add) {
            parallel_rows(to.view.rows, 64, to.view.cols(), [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t i = begin; i < end; ++i) {
                    std::fill(to.view.row(i), to.view.row(i) + to.view.cols(), T(0.0f));
                }
            });
        }
        const auto put = [&](const Sink<T>& into, std::int64_t i) {
            const A weight = weights == nullptr ? A(1) : A(weights[i]);
            for (std::int64_t j = 0; j < dh.cols(); ++j) { into.put(rows[i], j, weight * A(dh.row(i)[j])); }
        };
        parallel_rows(once, 64, dh.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) { put(to, i); }
        });
        for (std::int64_t i = once; i < dh.rows; ++i) { put({to.view, true}, i); }
    }
};

}  // namespace graft
