#pragma once
#include "graft/ops/add.hpp"
