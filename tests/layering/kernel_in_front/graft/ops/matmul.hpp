#pragma once
#include "graft/ops/matmul/cpu.hpp"
