#include "graft/core/random.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string_view>

using namespace graft;

TEST_CASE("random: Philox-4x32-10 gives the known answers of Random123")
{
    const auto equal = [](Philox::Words found, std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
        return found[0] == a && found[1] == b && found[2] == c && found[3] == d;
    };
    CHECK(equal(Philox{0}(0, 0), 0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U));
    const std::uint64_t ones = ~std::uint64_t{0};
    CHECK(equal(Philox{ones}(ones, ones), 0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU));
    // Key and counter from the digits of pi, as in kat_vectors.
    CHECK(equal(Philox{0x299f31d0a4093822ULL}(0x85a308d3243f6a88ULL, 0x0370734413198a2eULL), 0xd16cfe09U, 0x94fdccebU,
                0x5001e420U, 0x24126ea1U));
}

TEST_CASE("random: a number is a constant expression of key and counter")
{
    static_assert(Philox{0}(0, 0)[0] == 0x6627e8d5U);
    static_assert(Philox::unit(0) == 0.0f && Philox::unit(0xffffffffU) < 1.0f);
    static_assert(stream_of("a", 1) != stream_of("b", 1));
    static_assert(stream_of("", 0) == 0xcbf29ce484222325ULL);
    static_assert(stream_of("a", 1) == 0xaf63dc4c8601ec8cULL);  // the published value of FNV-1a
}

TEST_CASE("random: normal numbers have mean 0 and variance 1, even from zero words")
{
    CHECK(std::isfinite(Philox::normal(0, 0)));
    const Philox random{7};
    double sum = 0, squares = 0;
    const int count = 40000;
    for (int i = 0; i < count; ++i) {
        const auto words = random(std::uint64_t(i), 0);
        const double value = Philox::normal(words[0], words[1]);
        sum += value, squares += value * value;
    }
    CHECK(std::abs(sum / count) < 5 / std::sqrt(double(count)));  // five standard deviations
    CHECK(std::abs(squares / count - 1) < 5 * std::sqrt(2.0 / double(count)));
}

TEST_CASE("random: below(n) stays below n and reaches each value alike")
{
    const Philox random{3};
    int seen[10] = {};
    const int count = 20000;
    for (int i = 0; i < count; ++i) {
        const auto value = random.below(10, std::uint64_t(i), 1);
        REQUIRE(value < 10);
        ++seen[value];
    }
    for (int each : seen) { CHECK(std::abs(each - count / 10) < 5 * std::sqrt(count * 0.09)); }
    CHECK(random.below(1, 5, 5) == 0);
}
