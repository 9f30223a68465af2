#pragma once
#include "graft/text/jinja/print.hpp"

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The arguments of a call, matched with the names that the callee gives them.
namespace graft::detail::jinja {

struct Args {
    List positional;
    std::vector<std::pair<std::string, Value>> named;
};

class Bound {
public:
    Bound(Machine& m, const std::string& what, const Args& args, std::initializer_list<std::string_view> names)
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

    bool has(std::string_view name) const { return given_[index(name)]; }
    bool is_set(std::string_view name) const { return has(name) && !get(name).is<None>(); }
    const Value& get(std::string_view name) const { return values_[index(name)]; }
    const Value& needed(std::string_view name) const
    {
        if (!has(name)) { machine_.fail(what_ + ": argument '" + std::string(name) + "' is missing"); }
        return get(name);
    }
    const std::string& text(std::string_view name) const
    {
        const Value& v = needed(name);
        if (!v.is_text()) {
            machine_.fail(what_ + ": argument '" + std::string(name) + "' must be a string, found " + kind_name(v));
        }
        return v.str();
    }
    std::int64_t integer(std::string_view name, std::int64_t fallback) const
    {
        if (!has(name)) { return fallback; }
        const auto n = get(name).integer();
        if (!n) {
            machine_.fail(what_ + ": argument '" + std::string(name) + "' must be an integer, found "
                          + kind_name(get(name)));
        }
        return *n;
    }
    bool flag(std::string_view name, bool fallback = false) const { return has(name) ? truth(get(name)) : fallback; }

private:
    std::size_t index(std::string_view name) const
    {
        std::size_t i = 0;
        while (i < names_.size() && names_[i] != name) { ++i; }
        return i;
    }

    Machine& machine_;
    std::string what_;
    std::vector<std::string_view> names_;
    List values_;
    std::vector<bool> given_;
};

}  // namespace graft::detail::jinja
