#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/print.hpp"
#include "graft/text/jinja/value.hpp"

// The arguments of a call, matched with the names that the callee gives them.
namespace graft::detail::jinja {

struct Args {
    List positional;
    std::vector<std::pair<std::string, Value>> named;
};

class Bound {
public:
    Bound(Machine& m, const std::string& what, const Args& args, std::initializer_list<std::string_view> names);

    bool has(std::string_view name) const { return given_[index(name)]; }
    bool is_set(std::string_view name) const { return has(name) && !get(name).is<None>(); }
    const Value& get(std::string_view name) const { return values_[index(name)]; }
    const Value& needed(std::string_view name) const;
    const std::string& text(std::string_view name) const;
    std::int64_t integer(std::string_view name, std::int64_t fallback) const;
    bool flag(std::string_view name, bool fallback = false) const { return has(name) ? truth(get(name)) : fallback; }

private:
    std::size_t index(std::string_view name) const;

    Machine& machine_;
    std::string what_;
    std::vector<std::string_view> names_;
    List values_;
    std::vector<bool> given_;
};

}  // namespace graft::detail::jinja

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja/arguments.ipp"
#endif
