#pragma once
#include "graft/train/probe.hpp"

#include <algorithm>
#include <cstdint>

#include "graft/core/random.hpp"
#include "graft/models/config.hpp"
#include "graft/text/dataset/example.hpp"

namespace graft {

GRAFT_INLINE Example probe_example(const ModelConfig& config)
{
    const std::int64_t length =
        std::min({std::int64_t{64}, config.max_positions, config.sliding_window.value_or(config.max_positions)});
    const Philox random{.seed = stream_of("probe", 5)};
    Example out;
    for (std::int64_t t = 0; t < length; ++t) {
        out.ids.push_back(std::int32_t(random.below(std::uint64_t(config.vocab), 0, std::uint64_t(t))));
    }
    out.labels = out.ids;
    out.labels[0] = ignore;
    return out;
}

}  // namespace graft
