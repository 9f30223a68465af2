#pragma once
#include "graft/text/span.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace graft {

GRAFT_INLINE std::vector<TextSpan> learnt_spans(const std::vector<AssistantTurn>& turns)
{
    std::vector<TextSpan> out;
    for (const auto& turn : turns) {
        std::size_t from = turn.whole.begin;
        for (const auto& hole : turn.foreign) {
            if (hole.begin > from) { out.push_back({from, hole.begin}); }
            from = std::max(from, hole.end);
        }
        if (turn.foreign.empty() || from < turn.whole.end) { out.push_back({from, turn.whole.end}); }
    }
    return out;
}

}  // namespace graft
