#pragma once
#include "graft/checkpoint/adapter/laid.hpp"

#include <cstdio>
#include <string>

#include "graft/core/error.hpp"

namespace graft::detail {

GRAFT_INLINE std::string number_text(double value)
{
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", value);
    return text;
}

}  // namespace graft::detail
