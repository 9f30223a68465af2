#pragma once
#include <string>
#include <string_view>

#include "graft/core/inline.hpp"
#include "graft/text/jinja/arguments.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/value.hpp"

// `value is name(args)`.
namespace graft::detail::jinja {

bool test(Machine& m, const std::string& name, const Value& v, const Args& args);

}  // namespace graft::detail::jinja

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja/tests.ipp"
#endif
