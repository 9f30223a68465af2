#pragma once
#include <cmath>
#include <memory>
#include <span>
#include <vector>

#include "graft/ops/rope.hpp"

// The table behind rope(): cos and sin of position times inverse frequency, times the attention factor of scalings that
// have one, formed in f64 and rounded once to A. A row does not depend on how many there are.
namespace graft {

struct RopeAngles {
    std::vector<double> frequencies;  // per position, one a pair
    double attention = 1;             // scores grow by its square, as q and k are both turned
};

template <Float A, Device Dev>
std::shared_ptr<const RopeTable<A, Dev>> rope_table(const RopeAngles& angles, std::int64_t positions,
                                                    const std::shared_ptr<Pool<Dev>>& pool = Pool<Dev>::common())
{
    const auto half = std::int64_t(angles.frequencies.size());
    require(positions >= 0,
            [&] { return "rope_table: " + std::to_string(positions) + " positions: there must be at least 0"; });
    auto table = std::make_shared<RopeTable<A, Dev>>();
    table->cos = Tensor<A, Shape<dyn, dyn>, Dev>(positions, half, pool);
    table->sin = Tensor<A, Shape<dyn, dyn>, Dev>(positions, half, pool);
    const std::int64_t stride = table->cos.stride();
    std::vector<A> cos(std::size_t(positions * stride)), sin(cos.size());
    for (std::int64_t p = 0; p < positions; ++p) {
        for (std::int64_t i = 0; i < half; ++i) {
            const double angle = double(p) * angles.frequencies[std::size_t(i)];
            cos[std::size_t(p * stride + i)] = A(angles.attention * std::cos(angle));
            sin[std::size_t(p * stride + i)] = A(angles.attention * std::sin(angle));
        }
    }
    compute(pool, [&] {
        const std::size_t bytes = std::size_t(positions > 1 ? positions * stride : positions * half) * sizeof(A);
        memory<Dev>::copy(table->cos.data(), cos.data(), bytes, pool->stream());
        memory<Dev>::copy(table->sin.data(), sin.data(), bytes, pool->stream());
    });
    return table;
}

template <Float A, Device Dev>
std::shared_ptr<const RopeTable<A, Dev>> rope_table(std::span<const double> inverse_frequencies, std::int64_t positions,
                                                    const std::shared_ptr<Pool<Dev>>& pool = Pool<Dev>::common())
{
    return rope_table<A, Dev>(RopeAngles{{inverse_frequencies.begin(), inverse_frequencies.end()}}, positions, pool);
}

}  // namespace graft
