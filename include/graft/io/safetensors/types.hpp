#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/inline.hpp"

// The element types of safetensors, and what a tensor in a file is.
//
// The order of the enumerators is the order in which the reference writer lays out a file, from last to first.
// F4, F6: 4 and 6 bits an element, packed. C64: two f32.
// Source: huggingface/safetensors, safetensors/src/tensor.rs.
namespace graft {

enum class StoredType : std::uint8_t {
    boolean,
    f4,
    f6_e2m3,
    f6_e3m2,
    u8,
    i8,
    f8_e5m2,
    f8_e4m3,
    f8_e8m0,
    f8_e4m3fnuz,
    f8_e5m2fnuz,
    i16,
    u16,
    f16,
    bf16,
    i32,
    u32,
    f32,
    c64,
    f64,
    i64,
    u64,
};

namespace detail {

struct StoredTypeInfo {
    std::string_view name;
    int bits;
};

inline constexpr std::array<StoredTypeInfo, 22> stored_types{{
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
    {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64},
}};

}  // namespace detail

constexpr std::string_view stored_name(StoredType type)
{
    return detail::stored_types[static_cast<std::size_t>(type)].name;
}

constexpr int stored_bits(StoredType type) { return detail::stored_types[static_cast<std::size_t>(type)].bits; }

constexpr std::optional<StoredType> stored_type(std::string_view name)
{
    for (std::size_t i = 0; i < detail::stored_types.size(); ++i) {
        if (detail::stored_types[i].name == name) { return static_cast<StoredType>(i); }
    }
    return std::nullopt;
}

// The bytes of a tensor; nothing where a product overflows, an extent is negative, or the bits fill no whole bytes.
constexpr std::optional<std::size_t> stored_bytes(StoredType type, std::span<const std::int64_t> shape)
{
    std::uint64_t elements = 1, bits = 0;
    for (const std::int64_t extent : shape) {
        if (extent < 0 || __builtin_mul_overflow(elements, static_cast<std::uint64_t>(extent), &elements)) {
            return std::nullopt;
        }
    }
    if (__builtin_mul_overflow(elements, static_cast<std::uint64_t>(stored_bits(type)), &bits)) { return std::nullopt; }
    if (bits % 8 != 0) { return std::nullopt; }
    return static_cast<std::size_t>(bits / 8);
}

// The product of extents that were checked before.
constexpr std::int64_t elements_of(std::span<const std::int64_t> shape)
{
    std::int64_t n = 1;
    for (const std::int64_t extent : shape) { n *= extent; }
    return n;
}

std::string shape_text(std::span<const std::int64_t> shape);

// A tensor in a file: a view of bytes that the file owns. The bytes need not be aligned to the element.
struct StoredTensor {
    std::string name;
    StoredType type = StoredType::f32;
    std::vector<std::int64_t> shape;
    std::span<const std::byte> bytes;
};

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/io/safetensors/types.ipp"
#endif
