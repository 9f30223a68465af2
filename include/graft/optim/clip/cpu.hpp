#pragma once
#include "graft/optim/clip.hpp"

namespace graft {

template <> struct kernel<GradNormOp, Cpu> {
    template <class A> static double squares(View<const A> g)
    {
        double sum = 0;
        for (std::int64_t i = 0; i < g.rows; ++i) {
            double part[8] = {};
            const A* row = g.row(i);
            for (std::int64_t j = 0; j < g.cols(); ++j) { part[j % 8] += double(row[j]) * double(row[j]); }
            for (double p : part) { sum += p; }
        }
        return sum;
    }
};

}  // namespace graft
