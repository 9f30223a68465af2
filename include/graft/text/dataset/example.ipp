#pragma once
#include "graft/text/dataset/example.hpp"

#include <algorithm>
#include <cstdint>

#include "graft/core/labels.hpp"

namespace graft {

GRAFT_INLINE std::int64_t targets(const Example& example)
{
    return std::int64_t(example.labels.size())
           - std::int64_t(std::count(example.labels.begin(), example.labels.end(), ignore));
}

}  // namespace graft
