#pragma once
#include "graft/checkpoint/load.hpp"
