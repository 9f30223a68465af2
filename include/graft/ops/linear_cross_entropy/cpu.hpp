#pragma once
#include <algorithm>
#include <cmath>

#include "graft/ops/linear_cross_entropy.hpp"
#include "graft/ops/matmul/cpu.hpp"
#include "graft/ops/token_rows/cpu.hpp"
#include "graft/ops/vector_math.hpp"

namespace graft {

template <> struct kernel<LinearCrossEntropyOp, Cpu> {
    using Stream = memory<Cpu>::Stream;

    template <class T> static std::size_t workspace(const LinearCrossEntropyProblem& p)
    {
        using G = cpu::Gemm<acc<T>>;
        const std::size_t head =
            std::max({G{p.chunk(), p.vocab, p.dim}.workspace(), G{p.chunk(), p.dim, p.vocab}.workspace(),
                      G{p.vocab, p.dim, p.chunk()}.workspace()});
        if (p.rank == 0) { return head; }
        return std::max({head, G{p.chunk(), p.vocab, p.rank}.workspace(), G{p.chunk(), p.rank, p.vocab}.workspace(),
                         G{p.vocab, p.rank, p.chunk()}.workspace()});
    }

    template <class T, class A>
    static void forward(A* loss, double* each, View<T> dh, View<A> dw, View<T> gathered, View<A> z, View<const T> h,
                        View<const T> w, const HeadParts<T>& with, const std::int32_t* live,
                        const std::int32_t* targets, double scale, const LinearCrossEntropyProblem& p, void* scratch,
                        Stream)
    {
        rows(each, dh, Sink<A>{dw, false}, gathered, z, h, w, with, live, targets, scale, nullptr, p, scratch);
        double total = 0;
        for (std::int64_t n = 0; n < p.live; ++n) { total += each[n]; }
        *loss = A(total * scale);
    }

    // What each live row costs, unscaled; dh and dw where they are wanted, of row n times scale and, where there are
    // weights, times its own.
    template <class T, class A>
    static void rows(double* each, View<T> dh, Sink<A> dw, View<T> gathered, View<A> z, View<const T> h,
                     View<const T> w, const HeadParts<T>& with, const std::int32_t* live, const std::int32_t* targets,
                     double scale, const double* weights, const LinearCrossEntropyProblem& p, void* scratch)
    {
        using Rows = kernel<TokenRowsOp, Cpu>;
        const bool back = dh.data != nullptr || dw || with.dr || with.db || with.du.data != nullptr;
        const std::int64_t chunk = p.chunk();
        for (std::int64_t begin = 0; begin < p.live; begin += chunk) {
            const std::int64_t m = std::min(chunk, p.live - begin);
            for (std::int64_t r = 0; r < m; ++r) {
                std::copy_n(h.row(live[begin + r]), p.dim, gathered.row(r));
                if (p.rank > 0) { std::copy_n(with.u.row(live[begin + r]), p.rank, with.some_u.row(r)); }
            }
            const View<const T> some{gathered.data, m, gathered.stride, p.dim};
            const View<A> logits{z.data, m, z.stride, p.vocab};
            cpu::product<A>(m, p.vocab, p.dim, some, false, w, true, scratch, cpu::store_to(Sink<A>{logits, false}));
            const View<const T> some_u{with.some_u.data, m, with.some_u.stride, p.rank};
            if (p.rank > 0) {
                cpu::product<A>(m, p.vocab, p.rank, some_u, false, with.b, true, scratch,
                                cpu::store_to(Sink<A>{logits, true}, with.scale));
            }
            if (with.ids != nullptr) { Rows::replace(logits, some, with.r, with.ids, {}); }
            cpu::row_loops(machine().target, [&](auto loops) {
                parallel_rows(m, 1, 4 * p.vocab, [&](std::int64_t first, std::int64_t end) {
                    for (std::int64_t r = first; r < end; ++r) {
                        A* const row = logits.row(r);
                        const std::int32_t label = targets[begin + r];
                        const A scored = row[label], top = loops.largest(row, p.vocab);
                        const A sum = loops.exp_sum(row, p.vocab, A(1), top);
                        each[begin + r] = double(top + std::log(sum)) - double(scored);
                        if (back) {
                            const A slope = A(weights == nullptr ? scale : scale * weights[begin + r]);
                            const A weight = slope / sum;
                            for (std::int64_t j = 0; j < p.vocab; ++j) { row[j] *= weight; }
                            row[label] -= slope;
                        }
                    }
                });
            });
            const bool again = begin != 0;
            const View<A> picked{with.picked.data, m, with.picked.stride, with.picked.cols()};
            if (back && with.ids != nullptr) {
                Rows::pick(picked, logits, with.ids);
                if (with.dr) {
                    Rows::add_products(Sink<A>{with.dr.view, with.dr.add || again}, View<const A>(picked), some);
                }
            }
            const View<const A> dz{logits.data, m, logits.stride, p.vocab};
            if (dh.data != nullptr) {
                const View<T> to{dh.row(begin), m, dh.stride, p.dim};
                cpu::product<A>(m, p.dim, p.vocab, dz, false, w, false, scratch, cpu::store_to(Sink<T>{to, false}));
                if (with.ids != nullptr) { Rows::add_rows(to, View<const A>(picked), with.r); }
            }
            if (with.du.data != nullptr) {
                const View<T> to{with.du.row(begin), m, with.du.stride, p.rank};
                cpu::product<A>(m, p.rank, p.vocab, dz, false, with.b, false, scratch,
                                cpu::store_to(Sink<T>{to, false}, with.scale));
            }
            if (with.db) {
                cpu::product<A>(p.vocab, p.rank, m, dz, true, some_u, false, scratch,
                                cpu::store_to(Sink<A>{with.db.view, with.db.add || again}, with.scale));
            }
            if (dw) {
                cpu::product<A>(p.vocab, p.dim, m, dz, true, some, false, scratch,
                                cpu::store_to(Sink<A>{dw.view, dw.add || again}));
            }
        }
    }

    template <class T, class A>
    static void scatter(Sink<T> to, View<const T> dh, const std::int32_t* live, const A* dloss, Stream)
    {
        if (!to.add) {
            parallel_rows(to.view.rows, 64, to.view.cols(), [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t i = begin; i < end; ++i) {
                    std::fill(to.view.row(i), to.view.row(i) + to.view.cols(), T(0.0f));
                }
            });
        }
        parallel_rows(dh.rows, 64, dh.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                for (std::int64_t j = 0; j < dh.cols(); ++j) { to.put(live[i], j, *dloss * A(dh.row(i)[j])); }
            }
        });
    }

    template <class A> static void add_scaled(Sink<A> to, View<const A> dw, const A* dloss, Stream)
    {
        if (!to.add && *dloss == A(1)) { return; }  // dw's memory itself was taken over
        parallel_rows(dw.rows, 64, dw.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                for (std::int64_t j = 0; j < dw.cols(); ++j) { to.put(i, j, *dloss * dw.row(i)[j]); }
            }
        });
    }
};

}  // namespace graft
