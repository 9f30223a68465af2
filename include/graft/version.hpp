#pragma once

// The version of the library. CMake reads it from here, so this is the only place to change it.
//
// The numbers are macros because a program may have to choose between two versions before the compiler sees either:
//
//   #if GRAFT_VERSION >= 200      // 0.2.0 or later
//
// GRAFT_VERSION = major * 10000 + minor * 100 + patch; GRAFT_VERSION_STRING = "major.minor.patch".
// Until 1.0.0 a new minor version may change interfaces; CHANGELOG.md says which.

#define GRAFT_VERSION_MAJOR 0
#define GRAFT_VERSION_MINOR 1
#define GRAFT_VERSION_PATCH 0

#define GRAFT_VERSION (GRAFT_VERSION_MAJOR * 10000 + GRAFT_VERSION_MINOR * 100 + GRAFT_VERSION_PATCH)
#define GRAFT_VERSION_STRING "0.1.0"
