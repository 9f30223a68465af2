#pragma once
#include "graft/core/parallel.hpp"
#include "graft/ops/dropout.hpp"

namespace graft {

template <> struct kernel<DropoutOp, Cpu> {
    template <class T>
    static void apply(Sink<T> y, View<const T> x, double p, std::uint32_t module, RandomKey key,
                      const std::vector<Segment>& segments, const std::int32_t* positions, memory<Cpu>::Stream)
    {
        const Philox random{key.seed};
        const auto scale = acc<T>(1.0 / (1.0 - p));
        const auto limit = std::uint32_t(p * 4294967296.0);
        for (const Segment& segment : segments) {
            parallel_rows(segment.count, 16, 8 * x.cols(), [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t i = segment.rows + begin; i < segment.rows + end; ++i) {
                    const std::uint64_t place =
                        (std::uint64_t(segment.sample) << 40) | (std::uint64_t(std::uint32_t(positions[i])) << 16);
                    for (std::int64_t j = 0; j < x.cols(); j += 4) {
                        const auto words = random(std::uint64_t(key.step) | (std::uint64_t(module) << 32),
                                                  place + std::uint64_t(j / 4));
                        for (int q = 0; q < 4 && j + q < x.cols(); ++q) {
                            y.put(i, j + q, words[q] >= limit ? acc<T>(x.row(i)[j + q]) * scale : acc<T>(0));
                        }
                    }
                }
            });
        }
    }
};

}  // namespace graft
