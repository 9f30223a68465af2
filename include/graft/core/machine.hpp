#pragma once
#include <cstddef>
#include <cstdlib>
#include <cstring>

// What this processor can do: which targets its CPU kernels may be compiled for, found once by CPUID.
//
// A kernel variant's fits(problem, machine) reads it, so that one binary runs everywhere. The environment variable
// GRAFT_TARGET (portable, avx2, avx512) lowers the choice, never raises it: for tests, and to compare.
namespace graft {

enum class Target { portable, avx2, avx512 };

struct Machine {
    Target target = Target::portable;
    std::size_t l2_bytes = std::size_t{1} << 20;
};

namespace detail {

inline Machine detect_machine()
{
    Machine found;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        found.target = Target::avx2;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
            && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
            found.target = Target::avx512;
        }
    }
#endif
    if (const char* wanted = std::getenv("GRAFT_TARGET")) {
        const Target limit = std::strcmp(wanted, "portable") == 0 ? Target::portable
                             : std::strcmp(wanted, "avx2") == 0   ? Target::avx2
                                                                  : Target::avx512;
        if (limit < found.target) { found.target = limit; }
    }
    return found;
}

}  // namespace detail

inline const Machine& machine()
{
    static const Machine found = detail::detect_machine();
    return found;
}

constexpr const char* name(Target target)
{
    switch (target) {
    case Target::avx2: return "avx2";
    case Target::avx512: return "avx512";
    default: return "portable";
    }
}

// Several kernels that compute one op, in order of preference. Each has a name and fits(problem, machine).
template <class... Each> struct Variants {
    // Calls use(variant) for the first that fits; false if none does.
    template <class Problem, class Use> static bool first(const Problem& problem, const Machine& on, Use&& use)
    {
        return ((Each::fits(problem, on) && (use(Each{}), true)) || ...);
    }
    // Calls use(variant) for every one that fits: tests and benchmarks.
    template <class Problem, class Use> static void all(const Problem& problem, const Machine& on, Use&& use)
    {
        ((Each::fits(problem, on) ? void(use(Each{})) : void()), ...);
    }
};

}  // namespace graft
