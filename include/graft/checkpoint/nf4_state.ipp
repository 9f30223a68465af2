#pragma once
#include "graft/checkpoint/nf4_state.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/dtype.hpp"
#include "graft/core/error.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/text.hpp"
#include "graft/ops/nf4_matmul/format.hpp"

namespace graft {

GRAFT_INLINE std::size_t Nf4State::elements() const
{
    std::size_t count = 1;
    for (const auto extent : shape) { count *= std::size_t(extent); }
    return count;
}

}  // namespace graft

namespace graft::detail {

inline constexpr std::string_view nf4_state_prefix = ".quant_state.";

inline constexpr std::array<std::string_view, 4> nf4_parts = {".absmax", ".quant_map", ".nested_absmax",
                                                              ".nested_quant_map"};

struct Nf4Tensors {
    const StoredTensor* weight = nullptr;
    std::array<const StoredTensor*, nf4_parts.size()> parts{};  // in the order of nf4_parts
    const StoredTensor* state = nullptr;
    nf4::Type type = nf4::Type::nf4;
};

struct Nf4Fields {
    std::vector<std::int64_t> shape;
    std::string dtype;
    std::int64_t block = 0, nested_block = 0;
    float nested_offset = 0;
    bool nested = false;
};

inline Nf4Tensors find_nf4(const std::string& weight, std::span<const StoredTensor> tensors, const std::string& where)
{
    Nf4Tensors found;
    const auto take = [&](const StoredTensor*& slot, const StoredTensor& tensor) {
        require(slot == nullptr, [&] {
            return where + ": " + (slot == found.state ? "two quantisation states: " : "there twice: ")
                   + printable(slot->name) + " and " + printable(tensor.name);
        });
        slot = &tensor;
    };
    for (const auto& tensor : tensors) {
        const std::string_view name = tensor.name;
        if (!name.starts_with(weight)) { continue; }
        const auto rest = name.substr(weight.size());
        if (rest.empty()) {
            take(found.weight, tensor);
            continue;
        }
        if (rest[0] != '.') { continue; }
        bool known = false;
        for (std::size_t i = 0; i < nf4_parts.size() && !known; ++i) {
            if (rest == nf4_parts[i]) { take(found.parts[i], tensor), known = true; }
        }
        if (rest == ".quant_state.bitsandbytes__nf4" || rest == ".quant_state.bitsandbytes__fp4") {
            take(found.state, tensor), known = true;
            found.type = rest.ends_with("nf4") ? nf4::Type::nf4 : nf4::Type::fp4;
        }
        require(known, [&] { return where + ": unknown part " + printable(name) + " of a 4-bit weight"; });
    }
    require(found.weight != nullptr, [&] { return where + ": the packed weight is missing"; });
    require(found.state != nullptr, [&] {
        return where + ": has no .quant_state.bitsandbytes__nf4 or …__fp4 beside it: not a weight of 4 bits";
    });
    return found;
}

// The values of a tensor that must be there, of the type and length.
template <class T>
std::vector<T> nf4_values(const StoredTensor* tensor, std::string_view part, StoredType type, std::size_t count,
                          const std::string& where)
{
    const std::string name(part.substr(1));
    require(tensor != nullptr, [&] { return where + ": " + name + " is missing"; });
    require(tensor->type == type, [&] {
        return where + ": " + name + " must be " + std::string(stored_name(type)) + ", found "
               + std::string(stored_name(tensor->type));
    });
    require(tensor->bytes.size() / sizeof(T) == count && tensor->bytes.size() % sizeof(T) == 0, [&] {
        return where + ": " + name + " must have " + std::to_string(count) + " elements, found shape "
               + shape_text(tensor->shape);
    });
    std::vector<T> values(count);
    if (count != 0) { std::memcpy(values.data(), tensor->bytes.data(), tensor->bytes.size()); }  // maybe unaligned
    if constexpr (sizeof(T) == 4) {
        for (std::size_t i = 0; i < count; ++i) {
            require(std::isfinite(values[i]),
                    [&] { return where + ": " + name + "[" + std::to_string(i) + "] is not finite"; });
        }
    }
    return values;
}

inline Nf4Fields read_nf4_fields(const StoredTensor& state, nf4::Type type, const std::string& where)
{
    constexpr std::size_t longest = 1 << 16;
    require(state.type == StoredType::u8 && state.bytes.size() <= longest,
            [&] { return where + ": the quantisation state must be JSON text in at most 65536 elements of U8"; });
    const std::string at = where + ": quant_state";
    const auto json = parse_json({reinterpret_cast<const char*>(state.bytes.data()), state.bytes.size()}, at);

    const std::string wanted = type == nf4::Type::nf4 ? "nf4" : "fp4", named = json_string(json, "quant_type", at);
    require(named == wanted,
            [&] { return at + ": quant_type is " + printable(named) + ", but the tensor's name says " + wanted; });

    constexpr std::array<std::string_view, 7> known = {"quant_type",       "blocksize",    "dtype",        "shape",
                                                       "nested_blocksize", "nested_dtype", "nested_offset"};
    for (const auto& item : json.items()) {
        require(std::find(known.begin(), known.end(), item.key()) != known.end(),
                [&] { return at + ": unknown field " + printable(item.key()) + ": it may change the meaning"; });
    }

    const auto block_size = [&](const char* key) {
        const auto block = json_int(json, key, at);
        require(nf4::block_fits(block), [&] {
            return at + ": " + key + " must be a power of two from 32 to 4096, found " + std::to_string(block);
        });
        return block;
    };
    Nf4Fields fields{.shape = {}, .dtype = json_string(json, "dtype", at), .block = block_size("blocksize")};
    require(fields.dtype == "float32" || fields.dtype == "float16" || fields.dtype == "bfloat16",
            [&] { return at + ": dtype must be float32, float16 or bfloat16, found " + printable(fields.dtype); });

    if (!json_at(json, "shape", at).is_array()) { json_field_error(at, "shape", "a list of extents", json["shape"]); }
    fields.shape = json_ints(json, "shape", at);
    require(!fields.shape.empty() && fields.shape.size() <= 8, [&] { return at + ": shape must have 1 to 8 extents"; });

    fields.nested =
        json.contains("nested_blocksize") || json.contains("nested_dtype") || json.contains("nested_offset");
    if (fields.nested) {
        fields.nested_block = block_size("nested_blocksize");
        const auto dtype = json_string(json, "nested_dtype", at);
        require(dtype == "float32", [&] { return at + ": nested_dtype must be float32, found " + printable(dtype); });
        const double offset = json_number(json, "nested_offset", at);
        require(std::abs(offset) <= double(std::numeric_limits<float>::max()),
                [&] { return at + ": nested_offset must fit into float32, found " + std::to_string(offset); });
        fields.nested_offset = float(offset);
    }
    return fields;
}

inline void require_nf4_codes(std::span<const float> map, nf4::Type type, const std::string& where)
{
    for (unsigned i = 0; i < 16; ++i) {
        const float wanted = nf4::value_of(i, type);
        require(std::abs(map[i] - wanted) <= 1e-6f, [&] {  // fp4's thirds may differ in the last bit
            return where + ": quant_map[" + std::to_string(i) + "] is " + std::to_string(map[i]) + ", expected "
                   + std::to_string(wanted) + ": not the codes of " + (type == nf4::Type::nf4 ? "nf4" : "fp4");
        });
    }
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE std::string_view nf4_weight_of(std::string_view tensor)
{
    if (const auto at = tensor.rfind(detail::nf4_state_prefix); at != std::string_view::npos) {
        return tensor.substr(0, at);
    }
    for (const auto part : detail::nf4_parts) {
        if (tensor.ends_with(part)) { return tensor.substr(0, tensor.size() - part.size()); }
    }
    return {};
}

GRAFT_INLINE Nf4State read_nf4(const std::string& weight, std::span<const StoredTensor> tensors,
                               const std::string& file)
{
    const std::string where = file + ": " + printable(weight);
    const auto found = detail::find_nf4(weight, tensors, where);
    auto fields = detail::read_nf4_fields(*found.state, found.type, where);

    // The product of the extents is bounded by the bytes before it can overflow.
    const auto bytes = found.weight->bytes;
    const std::size_t most = bytes.size() * 2;
    std::size_t count = 1;
    bool fits = true;
    for (const auto extent : fields.shape) {
        fits = fits && extent > 0 && std::uint64_t(extent) <= most / count;
        if (fits) { count *= std::size_t(extent); }
    }
    require(fits && nf4::bytes_of(count) == bytes.size(), [&] {
        return where + ": the shape " + shape_text(fields.shape) + " does not fit " + std::to_string(bytes.size())
               + " bytes of two elements each";
    });

    Nf4State state{.type = found.type,
                   .shape = std::move(fields.shape),
                   .dtype = std::move(fields.dtype),
                   .block = int(fields.block),
                   .packed = {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()},
                   .absmax = {},
                   .nested = std::nullopt};
    const auto& [absmax, map, nested_absmax, nested_map] = found.parts;
    const auto& [absmax_name, map_name, nested_absmax_name, nested_map_name] = detail::nf4_parts;
    detail::require_nf4_codes(detail::nf4_values<float>(map, map_name, StoredType::f32, 16, where), state.type, where);

    const std::size_t blocks = nf4::blocks_of(count, std::size_t(state.block));
    if (!fields.nested) {
        require(nested_absmax == nullptr && nested_map == nullptr,
                [&] { return where + ": has nested scales, but its quant_state has no nested_offset"; });
        state.absmax = detail::nf4_values<float>(absmax, absmax_name, StoredType::f32, blocks, where);
        return state;
    }
    nf4::Nested nested{.codes = detail::nf4_values<std::uint8_t>(absmax, absmax_name, StoredType::u8, blocks, where),
                       .scales =
                           detail::nf4_values<float>(nested_absmax, nested_absmax_name, StoredType::f32,
                                                     nf4::blocks_of(blocks, std::size_t(fields.nested_block)), where),
                       .map = {},
                       .offset = fields.nested_offset,
                       .block = int(fields.nested_block)};
    const auto entries = detail::nf4_values<float>(nested_map, nested_map_name, StoredType::f32, 256, where);
    std::copy(entries.begin(), entries.end(), nested.map.begin());
    state.absmax.resize(blocks);
    nf4::unnest(nested, state.absmax);
    for (std::size_t i = 0; i < blocks; ++i) {
        require(std::isfinite(state.absmax[i]),
                [&] { return where + ": the decoded absmax[" + std::to_string(i) + "] is not finite"; });
    }
    state.nested = std::move(nested);
    return state;
}

GRAFT_INLINE std::string nf4_state_text(const Nf4State& state)
{
    std::string text = std::string("{\"quant_type\": \"") + (state.type == nf4::Type::nf4 ? "nf4" : "fp4")
                       + "\", \"blocksize\": " + std::to_string(state.block) + ", \"dtype\": \"" + state.dtype
                       + "\", \"shape\": " + shape_text(state.shape);
    if (state.nested) {
        text += ", \"nested_blocksize\": " + std::to_string(state.nested->block)
                + ", \"nested_dtype\": \"float32\", \"nested_offset\": "
                + nlohmann::json(double(state.nested->offset)).dump();
    }
    return text + "}";
}

}  // namespace graft
