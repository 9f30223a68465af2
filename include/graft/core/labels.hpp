#pragma once
#include <cstdint>

namespace graft {

// The label of a position that is not scored: no loss, no gradient, no head product.
inline constexpr std::int32_t ignore = -100;

}  // namespace graft
