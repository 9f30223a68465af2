#pragma once

// Header-only, or compiled once.
//
// What is no template stands in two files: NAME.hpp says what there is, NAME.ipp how it is done. By default the first
// includes the second, all of it inline: a program includes a header and is done. A program that is compiled with
// GRAFT_HEADER_ONLY=0 sees the .hpp alone, compiles in a fraction of the time, and links the library graft_parts, in
// which each .ipp was compiled once (CMake: graft::parts, which sets the macro).
//
//   GRAFT_INLINE    in front of a function of an .ipp that its .hpp declares
#ifndef GRAFT_HEADER_ONLY
#define GRAFT_HEADER_ONLY 1
#endif

#if GRAFT_HEADER_ONLY
#define GRAFT_INLINE inline
#else
#define GRAFT_INLINE
#endif
