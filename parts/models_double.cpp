#define GRAFT_T double
#include "models.hpp"
