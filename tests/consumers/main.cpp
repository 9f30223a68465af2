#include <graft/core/error.hpp>
#include <graft/version.hpp>

#include <cstring>

bool refuses();

int main() { return refuses() && std::strlen(GRAFT_VERSION_STRING) > 0 ? 0 : 1; }
