#pragma once
#include "graft/core/veiw.hpp"
