#include "graft/core/dtype.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

using namespace graft;

namespace {

// The value of a 16-bit pattern, from its fields: e exponent bits, m fraction bits.
double value_of(unsigned bits, int e, int m)
{
    const int bias = (1 << (e - 1)) - 1, exponent = int(bits >> m) & ((1 << e) - 1);
    const double fraction = double(bits & ((1U << m) - 1)) / double(1 << m), sign = (bits & 0x8000U) != 0 ? -1.0 : 1.0;
    if (exponent == (1 << e) - 1) { return fraction == 0 ? sign * HUGE_VAL : std::nan(""); }
    if (exponent == 0) { return sign * std::ldexp(fraction, 1 - bias); }
    return sign * std::ldexp(1 + fraction, exponent - bias);
}

template <class T> T from_bits(unsigned bits)
{
    T value{};
    value.bits = std::uint16_t(bits);
    return value;
}

// Every positive finite pattern and its successor: what lies between them rounds to the nearer, a tie to the even one.
template <class T> void rounds_to_nearest_even(int e, int m)
{
    const unsigned infinity = ((1U << e) - 1) << m;
    int wrong = 0;
    for (unsigned bits = 0; bits < infinity; ++bits) {
        const double low = value_of(bits, e, m);
        const double high = bits + 1 == infinity ? std::ldexp(1.0, 1 << (e - 1)) : value_of(bits + 1, e, m);
        const float tie = float((low + high) / 2);  // both types have fewer digits than f32: exact
        const float below = std::nextafterf(tie, 0.0f), above = std::nextafterf(tie, HUGE_VALF);
        const unsigned even = bits % 2 == 0 ? bits : bits + 1;
        wrong += tie > float(low) && T(below).bits != bits;  // for the least subnormals of bf16 the tie is 0 in f32
        wrong += T(tie).bits != even;
        wrong += tie < float(high) && T(above).bits != bits + 1;
        wrong += T(-tie).bits != (even | 0x8000U);
    }
    CHECK(wrong == 0);
}

template <class T> void every_pattern_survives(int e, int m)
{
    int wrong = 0;
    for (unsigned bits = 0; bits < 65536; ++bits) {
        const float value = float(from_bits<T>(bits));
        const double expected = value_of(bits, e, m);
        if (std::isnan(expected)) {
            wrong += !std::isnan(value) || !std::isnan(float(T(value)));
            wrong += (T(value).bits & 0x8000U) != (bits & 0x8000U);
        } else {
            wrong += double(value) != expected || T(value).bits != bits;
        }
    }
    CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("dtype: each of the 65536 patterns of bf16 and f16 is its value, and comes back")
{
    every_pattern_survives<bf16>(8, 7);
    every_pattern_survives<f16>(5, 10);
}

TEST_CASE("dtype: between two neighbours f32 rounds to the nearer, ties to even")
{
    rounds_to_nearest_even<bf16>(8, 7);
    rounds_to_nearest_even<f16>(5, 10);
}

TEST_CASE("dtype: large, tiny and special values")
{
    CHECK(std::isinf(float(bf16(HUGE_VALF))));
    CHECK(std::isinf(float(bf16(3.4e38f))));  // above the largest bf16 by half a step
    CHECK(float(f16(65504.0f)) == 65504.0f);
    CHECK(std::isinf(float(f16(65520.0f))));
    CHECK(float(f16(65519.99f)) == 65504.0f);
    CHECK(float(f16(-1e30f)) == -HUGE_VALF);
    CHECK(f16(-0.0f).bits == 0x8000U);
    CHECK(bf16(-0.0f).bits == 0x8000U);
    CHECK(f16(0x1p-25f).bits == 0);  // a tie with zero
    CHECK(f16(0x1.000002p-25f).bits == 1);
    CHECK(f16(0x1.ff8p-15f).bits == 0x3ff);  // the largest subnormal
    CHECK(f16(0x1.ffcp-15f).bits == 0x400);  // a tie: up to the least normal
    // A NaN whose upper half alone would read as infinity stays NaN.
    const float sly = __builtin_bit_cast(float, 0x7f800001U);
    CHECK(std::isnan(float(bf16(sly))));
    CHECK(std::isnan(float(f16(sly))));
    CHECK(float(bf16(1.0 + 0x1p-9)) == 1.0f);  // from f64
}

TEST_CASE("dtype: sums are kept in f32, and in f64 for f64")
{
    static_assert(std::is_same_v<acc<bf16>, f32> && std::is_same_v<acc<f16>, f32> && std::is_same_v<acc<f32>, f32>);
    static_assert(std::is_same_v<acc<f64>, f64>);
    static_assert(Float<bf16> && Float<f64> && !Float<int> && !Float<long double>);
    CHECK(std::strcmp(type_name<bf16>(), "bf16") == 0);
    CHECK(std::strcmp(type_name<f64>(), "f64") == 0);
    CHECK(float(bf16(1.0f + float(epsilon<bf16>()))) == 1.0f + float(epsilon<bf16>()));
    CHECK(float(bf16(1.0f + float(epsilon<bf16>() / 2))) == 1.0f);
    CHECK(float(f16(1.0f + float(epsilon<f16>()))) == 1.0f + float(epsilon<f16>()));
    CHECK(float(f16(1.0f + float(epsilon<f16>() / 2))) == 1.0f);
}
