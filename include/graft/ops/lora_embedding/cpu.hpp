#pragma once
#include <algorithm>

#include "graft/ops/lora_embedding.hpp"
#include "graft/ops/matmul/cpu.hpp"

namespace graft {

template <> struct kernel<LoraEmbeddingOp, Cpu> {
    using Stream = memory<Cpu>::Stream;

    template <class T> static std::size_t workspace(std::int64_t rows, std::int64_t dim, std::int64_t rank)
    {
        using G = cpu::Gemm<acc<T>>;
        return std::max(
            {G{rows, dim, rank}.workspace(), G{dim, rank, rows}.workspace(), G{rows, rank, dim}.workspace()});
    }

    template <class T, class A>
    static void forward(View<T> y, View<A> u, const std::int32_t* ids, View<const T> a, View<const T> b, A scale,
                        void* scratch, Stream)
    {
        for (std::int64_t n = 0; n < y.rows; ++n) {
            for (std::int64_t k = 0; k < a.rows; ++k) { u.row(n)[k] = scale * A(a.row(k)[ids[n]]); }
        }
        cpu::product<A>(y.rows, b.rows, a.rows, View<const A>(u), false, b, true, scratch,
                        cpu::store_to(Sink<T>{y, true}));
    }

    template <class T, class A>
    static void backward(Sink<A> da, bool fresh, Sink<A> db, View<A> du, const std::int32_t* ids, View<const T> dy,
                         View<const A> u, View<const T> b, A scale, void* scratch, Stream)
    {
        const std::int64_t n = dy.rows, rank = b.cols(), dim = b.rows;
        cpu::product<A>(dim, rank, n, dy, true, u, false, scratch, cpu::store_to(db));
        cpu::product<A>(n, rank, dim, dy, false, b, false, scratch, cpu::store_to(Sink<A>{du, false}, scale));
        parallel_rows(rank, 1, n + (fresh ? da.view.cols() : 0), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t k = begin; k < end; ++k) {
                A* const to = da.view.row(k);
                if (fresh) { std::fill_n(to, da.view.cols(), A(0)); }
                for (std::int64_t i = 0; i < n; ++i) { to[ids[i]] += du.row(i)[k]; }
            }
        });
    }
};

}  // namespace graft
