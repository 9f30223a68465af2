#pragma once
#include "graft/text/dataset/answers.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "graft/core/labels.hpp"

namespace graft::detail::dataset {

GRAFT_INLINE Answers answers_of(const std::vector<std::int32_t>& labels, bool each_run)
{
    Answers out;
    for (std::size_t t = 0; t < labels.size(); ++t) {
        if (labels[t] == ignore) { continue; }
        if (!out.empty() && (!each_run || out.back().second + 1 == t)) {
            out.back().second = t;
        } else {
            out.emplace_back(t, t);
        }
    }
    return out;
}

}  // namespace graft::detail::dataset
