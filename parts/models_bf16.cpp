#define GRAFT_T bf16
#include "models.hpp"
