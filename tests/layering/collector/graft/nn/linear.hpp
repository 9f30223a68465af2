#pragma once
#include <graft/graft.hpp>
