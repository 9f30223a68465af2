#pragma once
#include "graft/train/step.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "graft/train/batches.hpp"

namespace graft::detail {

GRAFT_INLINE Batch document_of(const Batch& batch, std::size_t d)
{
    const auto part = [&](const std::vector<std::int32_t>& of) {
        return std::vector<std::int32_t>(of.begin() + batch.bounds[d], of.begin() + batch.bounds[d + 1]);
    };
    return {.ids = part(batch.ids),
            .labels = part(batch.labels),
            .positions = part(batch.positions),
            .bounds = {0, batch.bounds[d + 1] - batch.bounds[d]},
            .rows = {batch.rows[d]},
            .targets = 0};
}

}  // namespace graft::detail
