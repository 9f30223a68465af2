#pragma once
#include "graft/text/jinja/tests.hpp"

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>

#include "graft/text/jinja/arguments.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/operators.hpp"
#include "graft/text/jinja/strings.hpp"
#include "graft/text/jinja/value.hpp"

namespace graft::detail::jinja {

GRAFT_INLINE bool test(Machine& m, const std::string& name, const Value& v, const Args& args)
{
    const auto is = [&](auto&... names) { return ((name == names) || ...); };
    const auto other = [&]() -> Value { return Bound(m, "the test '" + name + "'", args, {"other"}).needed("other"); };
    const auto number = [&] {
        if (!v.number()) { m.fail("the test '" + name + "' needs a number, found " + kind_name(v)); }
        return *v.number();
    };

    if (is("equalto", "eq", "==")) { return equal(m, v, other()); }
    if (is("ne", "!=")) { return !equal(m, v, other()); }
    if (is("lt", "lessthan", "<")) { return order(m, v, other()) < 0; }
    if (is("le", "<=")) { return order(m, v, other()) <= 0; }
    if (is("gt", "greaterthan", ">")) { return order(m, v, other()) > 0; }
    if (is("ge", ">=")) { return order(m, v, other()) >= 0; }
    if (is("in")) { return contains(m, other(), v); }
    if (is("divisibleby")) { return *binary(m, "%", Value(number()), other()).number() == 0; }
    if (is("sameas")) {
        const Value b = other();
        if (v.is<ListRef>() && b.is<ListRef>()) { return v.as<ListRef>()->items == b.as<ListRef>()->items; }
        if (v.is<DictRef>() && b.is<DictRef>()) { return v.as<DictRef>()->dict == b.as<DictRef>()->dict; }
        return kind_name(v) == kind_name(b) && equal(m, v, b);
    }

    const Bound none(m, "the test '" + name + "'", args, {});
    const auto* dict = v.as<DictRef>();
    const bool mapping = dict != nullptr && !dict->is_namespace;
    if (is("defined")) { return !v.is_undefined(); }
    if (is("undefined")) { return v.is_undefined(); }
    if (is("none")) { return v.is<None>(); }
    if (is("string")) { return v.is_text(); }
    if (is("boolean")) { return v.is<bool>(); }
    if (is("true")) { return v.is<bool>() && truth(v); }
    if (is("false")) { return v.is<bool>() && !truth(v); }
    if (is("integer")) { return v.is<std::int64_t>(); }
    if (is("float")) { return v.is<double>(); }
    if (is("number")) { return v.number().has_value(); }
    if (is("mapping")) { return mapping; }
    if (is("iterable", "sequence")) { return v.is_text() || v.is<ListRef>() || mapping || v.is_undefined(); }
    if (is("callable")) { return v.is<std::shared_ptr<const Function>>() || v.is_undefined(); }
    if (is("even")) { return std::fmod(number(), 2) == 0; }
    if (is("odd")) { return std::abs(std::fmod(number(), 2)) == 1; }
    if (is("upper")) { return same_case(to_text(m, v), to_upper); }
    if (is("lower")) { return same_case(to_text(m, v), to_lower); }
    if (is("escaped")) { return false; }
    m.fail("there is no test '" + name + "'");
}

}  // namespace graft::detail::jinja
