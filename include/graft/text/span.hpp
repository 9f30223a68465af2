#pragma once
#include <cstddef>

namespace graft {

// A piece of a UTF-8 text: bytes [begin, end).
struct TextSpan {
    std::size_t begin = 0, end = 0;
    friend bool operator==(const TextSpan&, const TextSpan&) = default;
};

}  // namespace graft
