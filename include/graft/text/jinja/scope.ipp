#pragma once
#include "graft/text/jinja/scope.hpp"

#include <string>
#include <utility>

#include "graft/text/jinja/value.hpp"

namespace graft::detail::jinja {

GRAFT_INLINE const Value* Scope::find(const std::string& name) const
{
    for (const Scope* s = this; s != nullptr; s = s->parent.get()) {
        for (const auto& [key, value] : s->names) {
            if (key == name) { return &value; }
        }
    }
    return nullptr;
}

GRAFT_INLINE void Scope::set(const std::string& name, Value value)
{
    for (auto& [key, old] : names) {
        if (key == name) {
            old = std::move(value);
            return;
        }
    }
    names.emplace_back(name, std::move(value));
}

}  // namespace graft::detail::jinja
