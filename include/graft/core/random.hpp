#pragma once
#include <cmath>
#include <cstdint>

#include "graft/core/dtype.hpp"

// Philox-4x32-10: a counter-based generator. A number is a pure function of (key, counter), so that it does not
// depend on threads, devices or on what was drawn before, and a resumed run draws what the whole one would have.
// Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", section 4.3.
namespace graft {

struct Philox {
    struct Words {
        std::uint32_t word[4];
        GRAFT_HOST_DEVICE constexpr std::uint32_t operator[](int i) const { return word[i]; }
    };

    std::uint64_t seed = 0;

    // Four independent 32-bit words for the counter (a, b).
    GRAFT_HOST_DEVICE constexpr Words operator()(std::uint64_t a, std::uint64_t b) const
    {
        std::uint32_t c0 = std::uint32_t(a), c1 = std::uint32_t(a >> 32), c2 = std::uint32_t(b),
                      c3 = std::uint32_t(b >> 32);
        std::uint32_t k0 = std::uint32_t(seed), k1 = std::uint32_t(seed >> 32);
        for (int round = 0; round < 10; ++round) {
            const std::uint64_t p0 = std::uint64_t{0xD2511F53U} * c0, p1 = std::uint64_t{0xCD9E8D57U} * c2;
            const std::uint32_t n0 = std::uint32_t(p1 >> 32) ^ c1 ^ k0, n2 = std::uint32_t(p0 >> 32) ^ c3 ^ k1;
            c1 = std::uint32_t(p1), c3 = std::uint32_t(p0), c0 = n0, c2 = n2;
            k0 += 0x9E3779B9U, k1 += 0xBB67AE85U;
        }
        return {c0, c1, c2, c3};
    }

    // Uniform in [0, 1) with 24 bits.
    GRAFT_HOST_DEVICE static constexpr float unit(std::uint32_t word) { return float(word >> 8) * 0x1p-24f; }

    // Standard normal by Box and Muller from two words.
    static double normal(std::uint32_t u, std::uint32_t v)
    {
        const double radius = std::sqrt(-2.0 * std::log((double(u) + 1.0) * 0x1p-32));
        return radius * std::cos(6.283185307179586 * (double(v) * 0x1p-32));
    }

    // Uniform integer in [0, n), without bias worth naming for n below 2^32: 64 random bits times n.
    constexpr std::uint64_t below(std::uint64_t n, std::uint64_t a, std::uint64_t b) const
    {
        const auto words = (*this)(a, b);
        const std::uint64_t high = words[0], low = words[1];
        return (high * n + ((low * n) >> 32)) >> 32;
    }
};

// A stable 64-bit number for a name (FNV-1a): keys random streams by what they are for.
constexpr std::uint64_t stream_of(const char* text, std::size_t length)
{
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (std::size_t i = 0; i < length; ++i) { hash = (hash ^ static_cast<unsigned char>(text[i])) * 0x100000001b3ULL; }
    return hash;
}

}  // namespace graft
