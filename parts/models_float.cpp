#define GRAFT_T float
#include "models.hpp"
