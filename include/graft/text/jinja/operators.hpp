#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/print.hpp"
#include "graft/text/jinja/value.hpp"

// Python's operators on template values: equality, order, in, arithmetic, indices and slices.
namespace graft::detail::jinja {

bool equal(Machine& m, const Value& a, const Value& b);

[[noreturn]] void fail_undefined(Machine& m, const Value& v);

// -1, 0 or 1; an error where Python has no order. UTF-8 sorts as code points do.
int order(Machine& m, const Value& a, const Value& b);

std::size_t find_text(Machine& m, std::string_view text, std::string_view part, std::size_t from = 0);

bool contains(Machine& m, const Value& container, const Value& item);

// What a for walks, `list` makes and `in` sees: items, the characters of a string, the keys of a dict.
List items_of(Machine& m, const Value& v);

Value repeated(Machine& m, const Value& v, std::int64_t times);

Value integer_math(Machine& m, char op, std::int64_t a, std::int64_t b);

// "%s and %d" % values: %s, %r, %d, %i, %f, %.Nf and %%.
// spare: values may be left over, as Python allows it of one list or dict.
Value percent(Machine& m, const std::string& form, const List& values, bool spare = false);

Value binary(Machine& m, const std::string& op, const Value& a, const Value& b);

// Python's slice: [start, stop) in steps, indices below 0 counted from the end, all of them clamped.
std::vector<std::size_t> slice_indices(Machine& m, std::size_t size, const Value& start, const Value& stop,
                                       const Value& by);

Value slice(Machine& m, const Value& v, const Value& start, const Value& stop, const Value& by);

}  // namespace graft::detail::jinja

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja/operators.ipp"
#endif
