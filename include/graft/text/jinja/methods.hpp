#pragma once
#include <string>
#include <string_view>

#include "graft/core/inline.hpp"
#include "graft/text/jinja/arguments.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/value.hpp"

// x.y, x[y], and the methods of strings, dicts and lists.
namespace graft::detail::jinja {

bool is_method(const Value& v, std::string_view name);

Value method(const Value& v, std::string_view name);

Value loop_field(const LoopState& loop, std::string_view name, bool& found);

std::string object_name(const Value& v);

// What Jinja's sandbox hides. It can be tested and printed, as nothing, and not be used.
Value hidden(const Value& v, const std::string& name);

// x.y: a method or field of the value first, then a key of a dict.
Value attribute(Machine& m, const Value& v, const std::string& name);

// x[y]: an element or key first, then a method of the value.
Value item(Machine& m, const Value& v, const Value& key);

Value text_method(Machine& m, const std::string& s, const std::string& name, const Args& args);

Value list_method(Machine& m, const ListRef& list, const std::string& name, const Args& args);

List entries_of(Machine& m, const Dict& dict);

Value dict_method(Machine& m, const Value& v, const std::string& name, const Args& args);

Value loop_method(Machine& m, LoopState& loop, const std::string& name, const Args& args);

Value call_method(Machine& m, const Function& function, const Args& args);

}  // namespace graft::detail::jinja

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja/methods.ipp"
#endif
