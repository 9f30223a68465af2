#pragma once
#include "graft/text/dataset/load.hpp"

#include <cstddef>
#include <string>
#include <vector>

#include "graft/core/error.hpp"

namespace graft::detail::dataset {

GRAFT_INLINE std::size_t common_prefix(const std::string& all, const std::string& part)
{
    std::size_t n = 0;
    while (n < all.size() && n < part.size() && all[n] == part[n]) { ++n; }
    while (n > 0 && n < all.size() && (all[n] & 0xC0) == 0x80) { --n; }  // never inside a character
    return n;
}

GRAFT_INLINE std::string join_marked(const std::vector<MarkedPart>& parts)
{
    std::string out;
    for (const auto& part : parts) { out += part.learnt ? "«" + part.text + "»" : part.text; }
    return out;
}

}  // namespace graft::detail::dataset
