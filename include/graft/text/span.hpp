#pragma once
#include <algorithm>
#include <cstddef>
#include <vector>

namespace graft {

// A piece of a UTF-8 text: bytes [begin, end).
struct TextSpan {
    std::size_t begin = 0, end = 0;
    friend bool operator==(const TextSpan&, const TextSpan&) = default;
};

// What the assistant says in one turn, and what others say within it: a tool's results, where a template prints them
// there. The latter lie in the former, in order.
struct AssistantTurn {
    TextSpan whole;
    std::vector<TextSpan> foreign{};
};

// What is learnt of the turns, in order: without what others say.
inline std::vector<TextSpan> learnt_spans(const std::vector<AssistantTurn>& turns)
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
