#pragma once
#include "graft/text/jinja/machine.hpp"

#include <cstddef>
#include <string>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/text/jinja/value.hpp"

namespace graft::detail::jinja {

GRAFT_INLINE std::string located(const std::string& name, Position at, const std::string& what)
{
    return "chat template \"" + name + "\", line " + std::to_string(at.line) + ", column " + std::to_string(at.column)
           + ": " + what;
}

GRAFT_INLINE void Machine::step(std::size_t count)
{
    if (count > options.limits.steps - steps_) {
        fail("more than " + std::to_string(options.limits.steps) + " steps; the template loops too long");
    }
    steps_ += count;
}

GRAFT_INLINE void Machine::reserve(std::size_t bytes)
{
    if (bytes > options.limits.output) {
        fail("a string of " + std::to_string(bytes) + " bytes; at most " + std::to_string(options.limits.output)
             + " are allowed");
    }
    made_ += bytes;
    if (made_ / 16 > options.limits.output) {
        fail("strings of more than 16 times " + std::to_string(options.limits.output)
             + " bytes in all; the template builds text without end");
    }
    look_at(bytes);
}

GRAFT_INLINE Value Machine::text(std::string s)
{
    reserve(s.size());
    return Value::text(std::move(s));
}

GRAFT_INLINE Machine::~Machine()
{
    for (const Value& v : changed_) {
        if (const auto* list = v.as<ListRef>()) { List().swap(*list->items); }
        if (const auto* dict = v.as<DictRef>()) { Dict().entries.swap(dict->dict->entries); }
    }
}

GRAFT_INLINE Value Machine::holding(Value v) const
{
    if (v.nesting() > options.limits.depth) {
        fail("values nested deeper than " + std::to_string(options.limits.depth) + " levels");
    }
    return v;
}

GRAFT_INLINE Level::Level(Machine& m) : machine_(m)
{
    if (++m.depth > m.options.limits.depth) {
        --m.depth;
        m.fail("nested deeper than " + std::to_string(m.options.limits.depth) + " levels");
    }
}

}  // namespace graft::detail::jinja
