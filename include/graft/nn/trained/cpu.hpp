#pragma once
#include "graft/core/parallel.hpp"
#include "graft/nn/trained.hpp"

namespace graft {

template <> struct kernel<RefreshOp, Cpu> {
    template <class T> static void run(View<T> to, View<const acc<T>> from, memory<Cpu>::Stream)
    {
        parallel_rows(to.rows, 64, to.cols(), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                for (std::int64_t j = 0; j < to.cols(); ++j) { to.row(i)[j] = T(from.row(i)[j]); }
            }
        });
    }
};

}  // namespace graft
