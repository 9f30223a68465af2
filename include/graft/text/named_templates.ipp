#pragma once
#include "graft/text/named_templates.hpp"

#include <string>
#include <vector>

namespace graft {

GRAFT_INLINE std::vector<std::string> named_template_names()
{
    std::vector<std::string> names;
    for (const auto& each : detail::named_templates) { names.emplace_back(each.name); }
    return names;
}

}  // namespace graft
