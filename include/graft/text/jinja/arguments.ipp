#pragma once
#include "graft/text/jinja/arguments.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/value.hpp"

namespace graft::detail::jinja {

GRAFT_INLINE Bound::Bound(Machine& m, const std::string& what, const Args& args,
                          std::initializer_list<std::string_view> names)
    : machine_(m), what_(what), names_(names), values_(names.size()), given_(names.size(), false)
{
    if (args.positional.size() > names_.size()) {
        m.fail(what + " takes at most " + std::to_string(names_.size()) + " arguments, found "
               + std::to_string(args.positional.size()));
    }
    for (std::size_t i = 0; i < args.positional.size(); ++i) { values_[i] = args.positional[i], given_[i] = true; }
    for (const auto& [name, value] : args.named) {
        const std::size_t i = index(name);
        if (i == names_.size()) { m.fail(what + " has no argument '" + name + "'"); }
        if (given_[i]) { m.fail(what + ": argument '" + name + "' is given twice"); }
        values_[i] = value, given_[i] = true;
    }
}

GRAFT_INLINE const Value& Bound::needed(std::string_view name) const
{
    if (!has(name)) { machine_.fail(what_ + ": argument '" + std::string(name) + "' is missing"); }
    return get(name);
}

GRAFT_INLINE const std::string& Bound::text(std::string_view name) const
{
    const Value& v = needed(name);
    if (!v.is_text()) {
        machine_.fail(what_ + ": argument '" + std::string(name) + "' must be a string, found " + kind_name(v));
    }
    return v.str();
}

GRAFT_INLINE std::int64_t Bound::integer(std::string_view name, std::int64_t fallback) const
{
    if (!has(name)) { return fallback; }
    const auto n = get(name).integer();
    if (!n) {
        machine_.fail(what_ + ": argument '" + std::string(name) + "' must be an integer, found "
                      + kind_name(get(name)));
    }
    return *n;
}

GRAFT_INLINE std::size_t Bound::index(std::string_view name) const
{
    std::size_t i = 0;
    while (i < names_.size() && names_[i] != name) { ++i; }
    return i;
}

}  // namespace graft::detail::jinja
