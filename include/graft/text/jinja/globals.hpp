#pragma once
#include <string>

#include "graft/core/inline.hpp"
#include "graft/text/jinja/arguments.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/value.hpp"

// The functions that every template sees: range, dict, namespace, raise_exception, strftime_now.
namespace graft::detail::jinja {

Value call_range(Machine& m, const Args& args);

Value call_global(Machine& m, const std::string& name, const Args& args);

}  // namespace graft::detail::jinja

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja/globals.ipp"
#endif
