#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/jinja/value.hpp"

namespace graft::detail::jinja {

// The names of one block, above those of the blocks around it. A for, a macro, and a block that captures or marks its
// text have a scope of their own; an if has not.
struct Scope {
    std::shared_ptr<Scope> parent;
    std::vector<std::pair<std::string, Value>> names;

    const Value* find(const std::string& name) const;
    void set(const std::string& name, Value value);
};

}  // namespace graft::detail::jinja

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja/scope.ipp"
#endif
