#pragma once
#include <algorithm>

#include "graft/ops/lora.hpp"
#include "graft/ops/matmul/cpu.hpp"

namespace graft {

template <> struct kernel<LoraOp, Cpu> {
    using Stream = memory<Cpu>::Stream;

    template <class T> static std::size_t workspace(const LoraProblem& p)
    {
        using G = cpu::Gemm<acc<T>>;
        return std::max(G{p.rows, p.rank, p.in}.workspace(), G{p.rows, p.out, p.rank}.workspace());
    }
    template <class T> static std::size_t workspace_backward(const LoraProblem& p)
    {
        using G = cpu::Gemm<acc<T>>;
        return std::max({G{p.out, p.rank, p.rows}.workspace(), G{p.rows, p.rank, p.out}.workspace(),
                         G{p.in, p.rank, p.rows}.workspace(), G{p.rows, p.in, p.rank}.workspace()});
    }

    template <class T, class A>
    static void forward(View<T> y, View<A> h, View<const T> x, View<const T> a, View<const T> b, A scale, void* scratch,
                        Stream)
    {
        cpu::product<A>(x.rows, a.rows, x.cols(), x, false, a, true, scratch, cpu::store_to(Sink<A>{h, false}, scale));
        cpu::product<A>(x.rows, b.rows, a.rows, View<const A>(h), false, b, true, scratch,
                        cpu::store_to(Sink<T>{y, true}));
    }

    template <class T, class A>
    static void backward(Sink<T> dx, Sink<A> da, Sink<A> db, View<A> dh, View<const T> dy, View<const A> h,
                         View<const T> x, View<const T> a, View<const T> b, A scale, void* scratch, Stream)
    {
        const std::int64_t n = x.rows, rank = a.rows;
        if (db) { cpu::product<A>(dy.cols(), rank, n, dy, true, h, false, scratch, cpu::store_to(db)); }
        if (!da && !dx) { return; }
        cpu::product<A>(n, rank, dy.cols(), dy, false, b, false, scratch, cpu::store_to(Sink<A>{dh, false}, scale));
        if (da) {
            // (In, R) and stored transposed: the long side is cut among threads, the short one is one panel.
            cpu::product<A>(x.cols(), rank, n, x, true, View<const A>(dh), false, scratch, cpu::store_transposed(da));
        }
        if (dx) { cpu::product<A>(n, x.cols(), rank, View<const A>(dh), false, a, false, scratch, cpu::store_to(dx)); }
    }
};

}  // namespace graft
