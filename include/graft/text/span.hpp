#pragma once
#include <cstddef>
#include <vector>

#include "graft/core/inline.hpp"

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
std::vector<TextSpan> learnt_spans(const std::vector<AssistantTurn>& turns);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/text/span.ipp"
#endif
