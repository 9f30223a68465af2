#pragma once
#include "graft/checkpoint/merge.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/checkpoint/checkpoint.hpp"
#include "graft/checkpoint/hf_config.hpp"
#include "graft/checkpoint/load.hpp"
#include "graft/checkpoint/merge/receipt.hpp"
#include "graft/checkpoint/merge/stored_adapter.hpp"
#include "graft/checkpoint/merge/value.hpp"
#include "graft/checkpoint/merge/write.hpp"
#include "graft/checkpoint/modules.hpp"
#include "graft/checkpoint/nf4_state.hpp"
#include "graft/checkpoint/save.hpp"
#include "graft/core/dtype.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/safetensors/write.hpp"
#include "graft/models/config.hpp"

namespace graft::detail {

GRAFT_INLINE std::string dtype_name(StoredType type)
{
    return type == StoredType::bf16  ? "bfloat16"
           : type == StoredType::f16 ? "float16"
           : type == StoredType::f64 ? "float64"
                                     : "float32";
}

inline StoredType dtype_stored(const std::string& name)
{
    return name == "bfloat16" ? StoredType::bf16 : name == "float16" ? StoredType::f16 : StoredType::f32;
}

// "model.layers.0.self_attn.q_proj.weight" is of the kind q_proj.
inline std::string merge_kind(std::string name)
{
    name.erase(std::min(name.rfind('.'), name.size()));
    const auto dot = name.rfind('.');
    return dot == std::string::npos ? name : name.substr(dot + 1);
}

GRAFT_INLINE void check_base(const MergeBase& base, const ModelConfig& config)
{
    const std::string where = base.where();
    LoadReport report;
    std::set<std::string> known;
    for (const TensorInfo& info : checkpoint_tensors(config)) {
        known.insert(info.name);
        std::vector<std::int64_t> shape;
        std::string type;
        if (const auto* parts = base.parts(info.name)) {
            const Nf4State state = read_nf4(info.name, *parts, where);
            shape = state.shape;
        } else if (const StoredTensor* t = base.checkpoint().find(info.name)) {
            shape = t->shape;
            if (!is_float(t->type)) { type = std::string(stored_name(t->type)) + " "; }
        } else {
            report.missing.push_back(info.name);
            continue;
        }
        if (shape != info.shape || !type.empty()) {
            report.misshaped.push_back(info.name + " (" + type + shape_text(shape) + ", expected "
                                       + shape_text(info.shape) + ")");
        }
    }
    for (const auto& [name, tensor] : base.checkpoint().tensors()) {
        const std::string_view weight = nf4_weight_of(name);
        if (known.contains(weight.empty() ? name : std::string(weight))) { continue; }
        const StoredTensor* embedding = base.checkpoint().find("model.embed_tokens.weight");
        if (config.tied && name == "lm_head.weight" && embedding != nullptr) {
            require(same_values(*tensor, *embedding), [&] {
                return where
                       + ": config.json says tie_word_embeddings, but lm_head.weight differs from "
                         "model.embed_tokens.weight: set it to false if the head is one of its own";
            });
            continue;
        }
        report.extra.push_back(name);
    }
    report.check(where, base_hint(report, base.checkpoint()));
}

// A tensor has one value: two adapters that hold it whole cannot both be right.
inline void check_whole(std::span<const StoredAdapter> adapters)
{
    std::map<std::string, std::string> holds;
    for (const StoredAdapter& adapter : adapters) {
        for (const auto& entry : adapter.whole()) {
            const std::string name = printable(adapter.folder().string(), 1000);
            const auto first = holds.emplace(entry.first, name);
            require(first.second, [&] {
                return name + ": holds " + entry.first + " whole, as " + first.first->second
                       + " does: which of the two is meant cannot be known";
            });
        }
    }
    for (const StoredAdapter& adapter : adapters) {
        for (const std::int32_t token : adapter.tokens()) {
            const std::string name = printable(adapter.folder().string(), 1000);
            const auto whole = holds.find(embedding_weight);
            const auto first = holds.emplace("the row of token " + std::to_string(token), name);
            require(first.second && whole == holds.end(), [&] {
                return name + ": holds " + first.first->first + ", as "
                       + (whole == holds.end() ? first.first->second : whole->second)
                       + " does: which of the two is meant cannot be known";
            });
        }
    }
}

// What is written: a head for each tensor of the file, and what gives its bytes.
class MergeWriter {
public:
    MergeWriter(const MergeBase& base, const ModelConfig& config, std::span<const StoredAdapter> adapters,
                const MergeOptions& options)
        : base_(base), adapters_(adapters), options_(options)
    {
        const auto tensors = checkpoint_tensors(config);
        for (const TensorInfo& info : tensors) {  // in the order of the model, which is that of the receipt
            auto& kind = receipt_.of(merge_kind(info.name));
            kind.tensors += 1, kind.elements += elements_of(info.shape);
            const bool merged = info.name.ends_with(".weight") && sits_on(info.name);
            kind.merged += merged, receipt_.merged += merged;
            if (base.parts(info.name) != nullptr && options.requantize) {
                add_quantized(info, merged);
            } else {
                add_dense(info);
            }
        }
        receipt_.dequantized = base.four_bit() && !options.requantize;
        receipt_.requantized = options.requantize;
        receipt_.tensors = std::int64_t(tensors.size());
        if (options.type) {
            receipt_.dtype = dtype_name(*options.type);
        } else if (base.four_bit()) {
            receipt_.dtype =
                read_nf4(base.four_bit_weights().begin()->first, base.four_bit_weights().begin()->second, base.where())
                    .dtype;
        } else {
            receipt_.dtype = config.stored_dtype;
        }
        if (receipt_.dtype.empty()) { receipt_.dtype = dtype_name(type_of(tensors.front())); }
    }

    MergeReceipt write(const std::filesystem::path& path)
    {
        write_safetensors(path, heads_, [&](std::size_t i, const WriteBytes& to) {
            give_[i]([&](std::span<const std::byte> bytes) {
                receipt_.bytes += std::int64_t(bytes.size());
                to(bytes);
            });
        });
        return receipt_;
    }

private:
    using Give = std::function<void(const WriteBytes&)>;

    bool sits_on(const std::string& name) const
    {
        const std::string module = name.substr(0, name.rfind('.'));
        for (const StoredAdapter& adapter : adapters_) {
            if (adapter.find(module) != nullptr || adapter.whole(name) != nullptr) { return true; }
            if (adapter.rows() != nullptr && name == embedding_weight) { return true; }
        }
        return false;
    }
    StoredType type_of(const TensorInfo& info) const
    {
        if (options_.type) { return *options_.type; }
        if (const auto* parts = base_.parts(info.name)) {
            return dtype_stored(read_nf4(info.name, *parts, base_.where()).dtype);
        }
        const StoredTensor* found = base_.checkpoint().find(info.name);
        return (found != nullptr ? found : base_.checkpoint().find(embedding_weight))->type;  // a head that was tied
    }
    void add(const std::string& name, StoredType type, std::vector<std::int64_t> shape, Give give)
    {
        heads_.push_back({name, type, std::move(shape)});
        give_.push_back(std::move(give));
    }
    void add_dense(const TensorInfo& info)
    {
        const StoredType type = type_of(info);
        add(info.name, type, info.shape, [this, info, type](const WriteBytes& write) {
            const MergedTensor t(info, base_, adapters_);
            write_rounded(t, type, receipt_.of(merge_kind(info.name)), write);
        });
    }
    void add_quantized(const TensorInfo& info, bool merged)
    {
        const std::string& name = info.name;
        if (!merged) {  // its bytes as they are
            for (const StoredTensor& part : *base_.parts(name)) {
                add(part.name, part.type, part.shape, [part](const WriteBytes& write) { write(part.bytes); });
            }
            return;
        }
        const auto made = std::make_shared<const Requantized>(MergedTensor(info, base_, adapters_));
        const Nf4State& state = made->state();
        const auto count = std::int64_t(state.absmax.size());
        add(name, StoredType::u8, {std::int64_t(nf4::bytes_of(state.elements())), 1},
            [this, info, made](const WriteBytes& write) {
                made->write(MergedTensor(info, base_, adapters_), receipt_.of(merge_kind(info.name)), write);
            });
        const auto values = [made](const auto& list) {
            return [made, &list](const WriteBytes& write) { write(std::as_bytes(std::span(list))); };
        };
        add(name + ".quant_map", StoredType::f32, {16},
            [](const WriteBytes& write) { write(std::as_bytes(std::span(nf4::code.at))); });
        if (state.nested) {
            add(name + ".absmax", StoredType::u8, {count}, values(state.nested->codes));
            add(name + ".nested_absmax", StoredType::f32, {std::int64_t(state.nested->scales.size())},
                values(state.nested->scales));
            add(name + ".nested_quant_map", StoredType::f32, {256}, values(state.nested->map));
        } else {
            add(name + ".absmax", StoredType::f32, {count}, values(state.absmax));
        }
        const auto text = std::make_shared<const std::string>(nf4_state_text(state));
        add(name + ".quant_state.bitsandbytes__nf4", StoredType::u8, {std::int64_t(text->size())},
            [text](const WriteBytes& write) { write(std::as_bytes(std::span(text->data(), text->size()))); });
    }

    const MergeBase& base_;
    std::span<const StoredAdapter> adapters_;
    MergeOptions options_;
    MergeReceipt receipt_;
    std::vector<TensorHead> heads_;
    std::vector<Give> give_;
};

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE MergeReceipt merge_weights(const std::filesystem::path& base, std::span<const StoredAdapter> adapters,
                                        const std::filesystem::path& folder, const MergeOptions& options)
{
    ModelConfig config = read_config(base);
    const auto checkpoint = Checkpoint::open(base);
    const MergeBase source(checkpoint);
    require(!options.requantize || source.four_bit(), [&] {
        return source.where()
               + ": --requantize writes NF4 where the base is NF4, and this base is dense: merge "
                 "without it, and quantise when the result is loaded";
    });
    require(!options.requantize || !options.type,
            "merge: --requantize writes NF4, so there is no --dtype to choose: give one of the two");
    detail::check_base(source, config);
    detail::check_whole(adapters);
    const bool untied = config.tied && unties(adapters);
    if (untied) { config.tied = false; }
    auto receipt = detail::MergeWriter(source, config, adapters, options).write(folder / "model.safetensors");
    receipt.untied = untied;
    return receipt;
}

GRAFT_INLINE std::string merged_config(const std::filesystem::path& base, const MergeReceipt& receipt)
{
    const std::string text = receipt.requantized ? config_text(base) : config_text(base, receipt.dtype);
    if (!receipt.untied) { return text; }
    auto json = parse_json<OrderedJson>(text, "config.json");
    json["tie_word_embeddings"] = false;
    return json.dump(2) + "\n";
}

GRAFT_INLINE MergeReceipt merge_adapter(const std::filesystem::path& base, std::span<const StoredAdapter> adapters,
                                        const std::filesystem::path& folder, const MergeOptions& options)
{
    const MergeReceipt receipt = merge_weights(base, adapters, folder, options);
    finish_checkpoint(base, folder, merged_config(base, receipt));
    return receipt;
}

}  // namespace graft
