#pragma once
#include <array>
#include <cstdint>

// Extents in a type. Each one is a number known at compile time or dyn, known at run time.
//
//   Shape<dyn, 576>    (N, 576)    N rows of 576: how activations are held, all documents of a batch back to back
//
// Arithmetic on extents is dyn-aware: mul(dyn, 3) is dyn. The letters are those of docs/shapes.md.
namespace graft {

inline constexpr int dyn = -1;

constexpr bool agree(std::int64_t got, std::int64_t want) { return got == dyn || want == dyn || got == want; }

// A named concept over values: where it fails, the compiler prints both numbers.
template <int Got, int Want>
concept same_extent = agree(Got, Want);

constexpr bool divides(std::int64_t part, std::int64_t whole)
{
    return part == dyn || whole == dyn || (part > 0 && whole % part == 0);
}
template <int Whole, int Part>
concept multiple_of = divides(Part, Whole);

constexpr int mul(int a, int b) { return a == dyn || b == dyn ? dyn : a * b; }

template <int... Extents> struct Shape {
    static constexpr int rank = sizeof...(Extents);
    static constexpr std::array<int, rank> extents{Extents...};
    static constexpr int last = extents[rank - 1];
};

}  // namespace graft
