#pragma once
#include <charconv>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

#include "graft/core/inline.hpp"
#include "graft/text/jinja/arguments.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/strings.hpp"
#include "graft/text/jinja/value.hpp"

// `value | name(args)`. What is a generator in Jinja is a list here.
namespace graft::detail::jinja {

inline Value filter(Machine& m, const std::string& name, const Value& v, const Args& args);

// "a.b.0" → v["a"]["b"][0], as the `attribute` arguments of map, sort and others mean it.
Value dotted(Machine& m, Value v, const Value& path);

Args rest_of(const Args& args, std::size_t from);

Value map_filter(Machine& m, const Value& v, const Args& args);

// select, reject: the test on the item; selectattr, rejectattr: on one of its fields. No test: truth.
Value select_filter(Machine& m, const std::string& name, const Value& v, const Args& args);

Value folded(Machine& m, const Value& v, bool exact);  // what sort and unique compare

Value sort_filter(Machine& m, const Value& v, const Args& args);

Value dictsort_filter(Machine& m, const Value& v, const Args& args);

Value unique_filter(Machine& m, const Value& v, const Args& args);

Value indent_filter(Machine& m, const Value& v, const Args& args);

Value tojson_filter(Machine& m, const Value& v, const Args& args);

// Python's int(text) and float(text): white space around it, nothing else.
template <class Number> std::optional<Number> read_number(std::string_view text)
{
    text = trim_right(trim_left(text));
    if (text.starts_with('+')) { text.remove_prefix(1); }
    Number out{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size()) { return std::nullopt; }
    return out;
}

Value number_filter(Machine& m, const std::string& name, const Value& v, const Args& args);

Value escaped(Machine& m, const std::string& text);

Value round_filter(Machine& m, const Value& v, const Args& args);

Value extreme(Machine& m, const std::string& name, const Value& v, const Args& args);

Value sum_filter(Machine& m, const Value& v, const Args& args);

Value length_of(Machine& m, const Value& v);

}  // namespace graft::detail::jinja

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja/filters.ipp"
#endif
