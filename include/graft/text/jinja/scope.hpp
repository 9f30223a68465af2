#pragma once
#include "graft/text/jinja/value.hpp"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace graft::detail::jinja {

// The names of one block, above those of the blocks around it. A for, a macro, and a block that captures or marks its
// text have a scope of their own; an if has not.
struct Scope {
    std::shared_ptr<Scope> parent;
    std::vector<std::pair<std::string, Value>> names;

    const Value* find(const std::string& name) const
    {
        for (const Scope* s = this; s != nullptr; s = s->parent.get()) {
            for (const auto& [key, value] : s->names) {
                if (key == name) { return &value; }
            }
        }
        return nullptr;
    }
    void set(const std::string& name, Value value)
    {
        for (auto& [key, old] : names) {
            if (key == name) {
                old = std::move(value);
                return;
            }
        }
        names.emplace_back(name, std::move(value));
    }
};

}  // namespace graft::detail::jinja
