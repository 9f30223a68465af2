#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "graft/core/dtype.hpp"
#include "graft/core/error.hpp"

// NF4: 4-bit weights in blocks that share one scale, as bitsandbytes stores them; FP4 for reading only.
//
//   weights   n elements, flat and row-major; blocks of `block` run along the flat array, straddle rows, may end short
//   absmax    B = blocks_of(n, block) scales, f32:  absmax[b] = max |x| over the block
//   index     the number of thresholds t with x (1 / absmax) > t, so a value on a threshold takes the lower index;
//             a reciprocal and a product, not a quotient: files by others agree bit for bit only so
//   packed    bytes_of(n) bytes; element 2k in the high nibble of byte k, 2k+1 in the low one; odd n: index 7 pads
//   decoded   code[index] absmax[b], one rounding to f32, one more to the type asked for
//
// A block of zeros is written with index 7 (code 0) and absmax 0; other writers use index 0, and both read as zeros.
// Blocks below 2^-128, whose reciprocal overflows, are first scaled by a power of two, so they keep their values too.
//
// Nested ("double quantisation"): the scales less their mean, in blocks of 256, as indices into a map of 256 values:
//
//   absmax[i] = map[codes[i]] scales[i / 256] + offset       a product, rounded, then a sum, rounded: never contracted
//
// nest() picks the nearest entry, the lower one on a tie. A decoded scale may be slightly negative, and that of a block
// of zeros is seldom 0. Readers use the map of the file, writers store the one they used (dynamic_map).
//
// All arithmetic is f32 unless said otherwise and immune to -ffp-contract; not to -ffast-math.
// Throws graft::Error: a block size other than 32, 64, …, 4096; spans of the wrong length; a weight or a scale that
// is not finite (its index is named).
// Source: bitsandbytes 0.50, csrc/kernels.cu and bitsandbytes/functional.py; Dettmers et al. 2023, arXiv:2305.14314.
namespace graft::nf4 {

enum class Type : std::uint8_t { nf4, fp4 };

struct Codes {
    float at[16];
};
struct Thresholds {
    float at[15];
};

// Quantiles of the normal distribution as published: not to be computed again.
inline constexpr Codes code{{-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
                             -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
                             0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
                             0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f}};

// In the order of the bits: sign, then three bits that are not in the order of the values. Index 8 is plus zero.
inline constexpr Codes fp4_code{{0.0f, 0.0625f / 12, 8.0f / 12, 1.0f, 4.0f / 12, 6.0f / 12, 2.0f / 12, 3.0f / 12, 0.0f,
                                 -0.0625f / 12, -8.0f / 12, -1.0f, -4.0f / 12, -6.0f / 12, -2.0f / 12, -3.0f / 12}};

// Between index i and i + 1: the f32 midpoints of the codes. Computed, because four of them lie so close to half an ulp
// in the decimals that other code prints that a literal would read as the neighbour.
constexpr Thresholds midpoints(const Codes& codes)
{
    Thresholds t{};
    for (int i = 0; i < 15; ++i) { t.at[i] = (codes.at[i] + codes.at[i + 1]) / 2; }
    return t;
}
inline constexpr Thresholds thresholds = midpoints(code);

inline constexpr int default_block = 64;
inline constexpr int nested_block = 256;

constexpr bool block_fits(std::int64_t block) { return block >= 32 && block <= 4096 && (block & (block - 1)) == 0; }

GRAFT_HOST_DEVICE constexpr std::size_t bytes_of(std::size_t elements) { return elements / 2 + elements % 2; }
GRAFT_HOST_DEVICE constexpr std::size_t blocks_of(std::size_t elements, std::size_t block)
{
    return elements / block + (elements % block != 0);
}

// The code of an index 0 … 15, for kernels that fill a table of their own; host loops read `code` itself.
GRAFT_HOST_DEVICE constexpr float value_of(unsigned index, Type type = Type::nf4)
{
    constexpr Codes nf4 = code, fp4 = fp4_code;  // copies: a device function cannot index a host constant
    return type == Type::nf4 ? nf4.at[index & 15] : fp4.at[index & 15];
}

// The index of a value already divided by its block's absmax; NaN gives 0, as every comparison fails.
GRAFT_HOST_DEVICE constexpr int index_of(float x)
{
    // Fifteen comparisons without a branch: compilers turn a loop of these into vector code, a search they do not.
    constexpr Thresholds t = thresholds;
    return int(x > t.at[0]) + int(x > t.at[1]) + int(x > t.at[2]) + int(x > t.at[3]) + int(x > t.at[4])
           + int(x > t.at[5]) + int(x > t.at[6]) + int(x > t.at[7]) + int(x > t.at[8]) + int(x > t.at[9])
           + int(x > t.at[10]) + int(x > t.at[11]) + int(x > t.at[12]) + int(x > t.at[13]) + int(x > t.at[14]);
}

// The index of an element, from the byte that holds it.
GRAFT_HOST_DEVICE constexpr unsigned index_in(std::uint8_t byte, std::size_t element)
{
    return element % 2 == 0 ? byte >> 4 : byte & 15u;
}

// Quantised scales. `scales` has one entry for each `block` codes.
struct Nested {
    std::vector<std::uint8_t> codes;
    std::vector<float> scales;
    std::array<float, 256> map{};
    float offset = 0;
    int block = nested_block;
};

// The signed 8-bit map, ascending: for e = 0 … 6 the midpoints of 2^e equal parts of [0.1, 1] times 10^(e-6), their
// negatives, 0 and 1. There is no -1. Computed in double: entries differ from bitsandbytes' by at most one ulp.
constexpr std::array<float, 256> dynamic_map()
{
    constexpr double power[7] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0};
    std::array<float, 256> map{};
    int up = 127, down = 127;
    map[127] = 0.0f;
    for (int e = 0; e < 7; ++e) {
        const int parts = 1 << e;
        for (int k = 0; k < parts; ++k) {
            const float value = float((0.1 + 0.9 * (k + 0.5) / parts) * power[e]);
            map[std::size_t(++up)] = value, map[std::size_t(--down)] = -value;
        }
    }
    map[255] = 1.0f;
    return map;
}

}  // namespace graft::nf4

namespace graft::detail {

inline void require_nf4_block(int block)
{
    require(nf4::block_fits(block),
            [&] { return "nf4: block size " + std::to_string(block) + "; it must be a power of two from 32 to 4096"; });
}

inline void require_nf4_length(const char* what, std::size_t found, std::size_t expected)
{
    require(found == expected, [&] {
        return std::string("nf4: ") + what + " has " + std::to_string(found) + " elements, expected "
               + std::to_string(expected);
    });
}

// The largest magnitude of values[0 … count), and an error that names the first value that is not finite.
// Magnitudes compare as integers in the order of their values, with infinity and NaN on top: one loop does both, in
// vector code, which a maximum of floats with its rules for NaN is not.
template <class T> float nf4_absmax(const T* values, std::size_t count, const char* what, std::size_t first)
{
    constexpr std::uint32_t magnitude = 0x7fffffffu, infinity = 0x7f800000u;
    std::uint32_t largest = 0;
    for (std::size_t i = 0; i < count; ++i) {
        largest = std::max(largest, std::bit_cast<std::uint32_t>(float(values[i])) & magnitude);
    }
    if (largest >= infinity) {
        std::size_t i = 0;
        while ((std::bit_cast<std::uint32_t>(float(values[i])) & magnitude) < infinity) { ++i; }
        require(false, std::string("nf4: ") + what + " " + std::to_string(first + i)
                           + " is not finite: only finite values can be quantised");
    }
    return std::bit_cast<float>(largest);
}

// A product that no compiler may contract with the sum it goes into. (A way through double is not enough: g++ narrows
// double(a) * double(b) back to a product of floats, and then contracts that.)
GRAFT_HOST_DEVICE inline float rounded(float product)
{
#if defined(__CUDA_ARCH__)
    asm volatile("" : "+f"(product));
#else
    asm("" : "+m"(product));
#endif
    return product;
}

// What a value is multiplied by, twice, to come into [-1, 1]: lift, then reciprocal.
struct Nf4Scale {
    float lift, reciprocal;

    explicit Nf4Scale(float absmax)
        : lift(absmax < 0x1p-126f ? 0x1p64f : 1.0f),              // exact, so the rule above is kept where it can be
          reciprocal(absmax > 0 ? 1.0f / (absmax * lift) : 0.0f)  // zeros stay zeros, and take index 7
    {}
    float operator()(float x) const { return x * lift * reciprocal; }
};

}  // namespace graft::detail

namespace graft::nf4 {

// Quantises n weights into bytes_of(n) bytes and blocks_of(n, block) scales. T: any type that converts to float.
template <class T>
void quantize(std::span<const T> weights, int block, std::span<std::uint8_t> packed, std::span<float> absmax)
{
    detail::require_nf4_block(block);
    const std::size_t n = weights.size(), step = std::size_t(block);
    detail::require_nf4_length("packed", packed.size(), bytes_of(n));
    detail::require_nf4_length("absmax", absmax.size(), blocks_of(n, step));

    constexpr std::size_t chunk = 32;  // divides every block, so no byte has elements of two blocks
    for (std::size_t b = 0; b < absmax.size(); ++b) {
        const std::size_t begin = b * step, end = std::min(n, begin + step);
        absmax[b] = detail::nf4_absmax(weights.data() + begin, end - begin, "weight", begin);
        const detail::Nf4Scale scale(absmax[b]);
        for (std::size_t i = begin; i < end; i += chunk) {
            const std::size_t count = std::min(chunk, end - i);
            float x[chunk] = {};  // a missing last element is 0 and so takes index 7
            int index[chunk];
            for (std::size_t k = 0; k < count; ++k) { x[k] = scale(float(weights[i + k])); }
            for (std::size_t k = 0; k < chunk; ++k) { index[k] = index_of(x[k]); }
            std::uint8_t pairs[chunk / 2];
            for (std::size_t k = 0; k < chunk; k += 2) { pairs[k / 2] = std::uint8_t(index[k] << 4 | index[k + 1]); }
            std::memcpy(packed.data() + i / 2, pairs, bytes_of(count));
        }
    }
}

// Decodes elements first … first + out.size() of a weight whose packed bytes and scales are given from its beginning.
template <class T>
void dequantize(std::span<const std::uint8_t> packed, std::span<const float> absmax, int block, std::size_t first,
                std::span<T> out, Type type = Type::nf4)
{
    detail::require_nf4_block(block);
    const std::size_t step = std::size_t(block), end = first + out.size();
    require(end >= first && bytes_of(end) <= packed.size() && blocks_of(end, step) <= absmax.size(), [&] {
        return "nf4: elements up to " + std::to_string(end) + " were asked for, more than "
               + std::to_string(packed.size()) + " bytes and " + std::to_string(absmax.size()) + " scales hold";
    });

    const Codes& codes = type == Type::nf4 ? code : fp4_code;
    for (std::size_t i = first; i < end;) {
        const std::size_t stop = std::min(end, (i / step + 1) * step);
        T value[16];  // what the block's sixteen indices stand for: one product and one rounding each
        for (int k = 0; k < 16; ++k) { value[k] = T(codes.at[k] * absmax[i / step]); }
        T* to = out.data() + (i - first);
        if (i % 2 == 1) { *to++ = value[packed[i++ / 2] & 15]; }
        for (; i + 1 < stop; i += 2, to += 2) {
            const std::uint8_t byte = packed[i / 2];
            to[0] = value[byte >> 4];
            to[1] = value[byte & 15];
        }
        if (i < stop) { *to = value[packed[i++ / 2] >> 4]; }
    }
}

// Quantises scales. The mean is summed in double, in order.
inline Nested nest(std::span<const float> absmax)
{
    Nested nested{.codes = std::vector<std::uint8_t>(absmax.size()), .scales = {}, .map = dynamic_map()};
    if (absmax.empty()) { return nested; }
    detail::nf4_absmax(absmax.data(), absmax.size(), "scale", 0);

    double sum = 0;
    for (const float a : absmax) { sum += a; }
    nested.offset = float(sum / double(absmax.size()));

    double midpoint[255];  // exact in double: no rounding moves a tie
    for (std::size_t i = 0; i < 255; ++i) { midpoint[i] = (double(nested.map[i]) + double(nested.map[i + 1])) / 2; }

    std::vector<float> rest(nested_block);
    for (std::size_t begin = 0; begin < absmax.size(); begin += nested_block) {
        const std::size_t count = std::min<std::size_t>(nested_block, absmax.size() - begin);
        for (std::size_t k = 0; k < count; ++k) { rest[k] = absmax[begin + k] - nested.offset; }
        nested.scales.push_back(detail::nf4_absmax(rest.data(), count, "scale", begin));
        const detail::Nf4Scale scale(nested.scales.back());
        for (std::size_t k = 0; k < count; ++k) {
            const auto* nearest = std::lower_bound(midpoint, midpoint + 255, double(scale(rest[k])));
            nested.codes[begin + k] = std::uint8_t(nearest - midpoint);
        }
    }
    return nested;
}

// Decodes scales into absmax, one for each code.
inline void unnest(const Nested& nested, std::span<float> absmax)
{
    require(nested.block > 0, "nf4: the block size of nested scales must be positive");
    const std::size_t block = std::size_t(nested.block);
    detail::require_nf4_length("absmax", absmax.size(), nested.codes.size());
    detail::require_nf4_length("nested absmax", nested.scales.size(), blocks_of(nested.codes.size(), block));
    for (std::size_t i = 0; i < absmax.size(); ++i) {
        absmax[i] = detail::rounded(nested.map[nested.codes[i]] * nested.scales[i / block]) + nested.offset;
    }
}

}  // namespace graft::nf4
