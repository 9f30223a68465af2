#pragma once
#include <chrono>
#include <cstdio>
#include <string>

#include "graft/core/inline.hpp"
#include "graft/text/jinja/machine.hpp"

// strftime_now(format): the date and time of the rendering, in English whatever the locale.
namespace graft::detail::jinja {

std::chrono::sys_seconds local_now();

std::string strftime(Machine& m, const std::string& form);

}  // namespace graft::detail::jinja

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja/clock.ipp"
#endif
