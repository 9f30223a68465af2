#pragma once
#include "graft/io/safetensors/write.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/io/atomic_file.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/text.hpp"

namespace graft::detail {

inline std::string json_quoted(const std::string& text, const std::string& where)
{
    require(valid_utf8(text), [&] { return where + ": cannot write the name " + printable(text) + ": not UTF-8"; });
    return nlohmann::json(text).dump();
}

struct FileLayout {
    std::string header;              // with its length in front
    std::vector<std::size_t> order;  // indices into heads
    std::vector<std::size_t> bytes;  // of each of heads
};

inline FileLayout lay_out(std::span<const TensorHead> heads, Metadata metadata, const std::string& where)
{
    FileLayout layout;
    layout.order.resize(heads.size());
    std::iota(layout.order.begin(), layout.order.end(), std::size_t(0));
    std::sort(layout.order.begin(), layout.order.end(), [&](std::size_t a, std::size_t b) {
        return heads[a].type != heads[b].type ? heads[a].type > heads[b].type : heads[a].name < heads[b].name;
    });
    std::vector<std::string> names;
    for (const TensorHead& head : heads) {
        const auto bytes = stored_bytes(head.type, head.shape);
        require(bytes.has_value(), [&] {
            return where + ": cannot write tensor " + printable(head.name) + ": shape " + shape_text(head.shape)
                   + " is no whole number of bytes or too large";
        });
        require(!head.name.empty() && head.name != "__metadata__",
                [&] { return where + ": \"" + head.name + "\" cannot be the name of a tensor"; });
        layout.bytes.push_back(*bytes);
        names.push_back(head.name);
    }
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    require(twice == names.end(), [&] { return where + ": two tensors are called " + printable(*twice); });

    metadata.emplace("format", "pt");
    std::string& text = layout.header;
    text = "{\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
        text += (text.back() == '{' ? "" : ",") + json_quoted(key, where) + ":" + json_quoted(value, where);
    }
    text += '}';
    std::uint64_t at = 0;
    for (const std::size_t i : layout.order) {
        const std::uint64_t begin = at;
        require(!__builtin_add_overflow(at, layout.bytes[i], &at),
                [&] { return where + ": the tensors are too large"; });
        text += ',' + json_quoted(heads[i].name, where) + ":{\"dtype\":\"";
        text += stored_name(heads[i].type);
        text += "\",\"shape\":[";
        for (std::size_t axis = 0; axis < heads[i].shape.size(); ++axis) {
            if (axis > 0) { text += ','; }
            text += std::to_string(heads[i].shape[axis]);
        }
        text += "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(at) + "]}";
    }
    text += '}';
    text.resize((text.size() + 7) / 8 * 8, ' ');

    std::string length(8, '\0');
    for (std::size_t i = 0; i < 8; ++i) { length[i] = static_cast<char>(text.size() >> (8 * i) & 0xFF); }
    text.insert(0, length);
    return layout;
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE void write_safetensors(const std::filesystem::path& path, std::span<const TensorHead> heads,
                                    const GiveTensor& give, const Metadata& metadata)
{
    const std::string where = printable(path.string(), 1000);
    const detail::FileLayout layout = detail::lay_out(heads, metadata, where);
    AtomicFile file(path);
    file.write(layout.header);
    for (const std::size_t i : layout.order) {
        std::size_t written = 0;
        const WriteBytes write = [&](std::span<const std::byte> bytes) {
            written += bytes.size();
            require(written <= layout.bytes[i], [&] {
                return where + ": tensor " + printable(heads[i].name) + " was given more than the "
                       + std::to_string(layout.bytes[i]) + " bytes of its shape " + shape_text(heads[i].shape);
            });
            file.write(bytes);
        };
        give(i, write);
        require(written == layout.bytes[i], [&] {
            return where + ": tensor " + printable(heads[i].name) + " was given " + std::to_string(written)
                   + " bytes, its shape " + shape_text(heads[i].shape) + " takes " + std::to_string(layout.bytes[i]);
        });
    }
    file.commit();
}

GRAFT_INLINE void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
                                    const Metadata& metadata)
{
    std::vector<TensorHead> heads;
    for (const TensorToWrite& tensor : tensors) { heads.push_back({tensor.name, tensor.type, tensor.shape}); }
    write_safetensors(
        path, heads, [&](std::size_t i, const WriteBytes& write) { write(tensors[i].bytes); }, metadata);
}

}  // namespace graft
