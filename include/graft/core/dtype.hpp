#pragma once
#include <concepts>
#include <cstdint>
#include <limits>

// Element types: f64, f32, and the 16-bit bf16 and f16, which are stored and converted but never summed in.
//
//   bf16    the upper half of an f32; conversion from f32 rounds to nearest even, NaN stays NaN
//   f16     IEEE binary16, with subnormals; conversion from f32 rounds to nearest even
//   acc<T>  the type in which sums over T are kept: f64 for f64, f32 for everything else
#if defined(__CUDACC__)
#define GRAFT_HOST_DEVICE __host__ __device__
#else
#define GRAFT_HOST_DEVICE
#endif

namespace graft {

using f32 = float;
using f64 = double;

struct bf16 {
    std::uint16_t bits;

    bf16() = default;
    GRAFT_HOST_DEVICE constexpr explicit bf16(float value) : bits(round(__builtin_bit_cast(std::uint32_t, value))) {}
    GRAFT_HOST_DEVICE constexpr explicit bf16(double value) : bf16(static_cast<float>(value)) {}
    GRAFT_HOST_DEVICE constexpr operator float() const
    {
        return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 16);
    }

private:
    GRAFT_HOST_DEVICE static constexpr std::uint16_t round(std::uint32_t value)
    {
        if ((value & 0x7fffffffU) > 0x7f800000U) { return static_cast<std::uint16_t>((value >> 16) | 0x40U); }
        return static_cast<std::uint16_t>((value + 0x7fffU + ((value >> 16) & 1U)) >> 16);
    }
};

struct f16 {
    std::uint16_t bits;

    f16() = default;
    GRAFT_HOST_DEVICE constexpr explicit f16(float value) : bits(round(__builtin_bit_cast(std::uint32_t, value))) {}
    GRAFT_HOST_DEVICE constexpr operator float() const
    {
        const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
        const std::uint32_t exponent = (bits >> 10) & 31U;
        std::uint32_t mantissa = bits & 0x3ffU;
        if (exponent == 31) { return __builtin_bit_cast(float, sign | 0x7f800000U | (mantissa << 13)); }
        if (exponent != 0) { return __builtin_bit_cast(float, sign | ((exponent + 112) << 23) | (mantissa << 13)); }
        if (mantissa == 0) { return __builtin_bit_cast(float, sign); }
        std::uint32_t shift = 0;
        while ((mantissa & 0x400U) == 0) { mantissa <<= 1, ++shift; }
        return __builtin_bit_cast(float, sign | ((113 - shift) << 23) | ((mantissa & 0x3ffU) << 13));
    }

private:
    GRAFT_HOST_DEVICE static constexpr std::uint16_t round(std::uint32_t value)
    {
        const auto sign = static_cast<std::uint16_t>((value >> 16) & 0x8000U);
        const std::uint32_t rest = value & 0x7fffffffU;
        if (rest > 0x7f800000U) { return static_cast<std::uint16_t>(sign | 0x7e00U); }
        if (rest >= 0x477ff000U) { return static_cast<std::uint16_t>(sign | 0x7c00U); }  // rounds to infinity
        if (rest >= 0x38800000U) {
            return static_cast<std::uint16_t>(sign | ((rest - 0x38000000U + 0xfffU + ((rest >> 13) & 1U)) >> 13));
        }
        if (rest < 0x33000000U) { return sign; }  // below half of 2^-24
        const std::uint32_t shift = 126 - (rest >> 23);
        const std::uint32_t mantissa = (rest & 0x7fffffU) | 0x800000U;
        const std::uint32_t kept = mantissa >> shift, lost = mantissa & ((1U << shift) - 1), half = 1U << (shift - 1);
        return static_cast<std::uint16_t>(sign | (kept + (lost > half || (lost == half && (kept & 1U)) ? 1U : 0U)));
    }
};

// What activations and weights may be made of.
template <class T>
concept Float = std::same_as<T, f32> || std::same_as<T, f64> || std::same_as<T, bf16> || std::same_as<T, f16>;

template <class Got, class Want>
concept same_element = std::same_as<Got, Want>;

namespace detail {
template <class T> struct AccOf {
    using type = float;
};
template <> struct AccOf<double> {
    using type = double;
};
}  // namespace detail

template <Float T> using acc = typename detail::AccOf<T>::type;

template <Float T> constexpr const char* type_name()
{
    if constexpr (std::same_as<T, f32>) {
        return "f32";
    } else if constexpr (std::same_as<T, f64>) {
        return "f64";
    } else if constexpr (std::same_as<T, bf16>) {
        return "bf16";
    } else {
        return "f16";
    }
}

// Distance from 1 to the next value of T: what tolerances are derived from.
template <Float T> constexpr double epsilon()
{
    if constexpr (std::same_as<T, f64>) {
        return std::numeric_limits<double>::epsilon();
    } else if constexpr (std::same_as<T, f32>) {
        return std::numeric_limits<float>::epsilon();
    } else if constexpr (std::same_as<T, bf16>) {
        return 0x1p-7;
    } else {
        return 0x1p-10;
    }
}

}  // namespace graft
