#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "graft/checkpoint/adapter_config.hpp"
#include "graft/checkpoint/load.hpp"
#include "graft/models/any.hpp"

// LoRA adapters in PEFT's form, onto a model of AnyLinear layers and back.
//
//   add_adapter(model, targets, config, seed)    lays branches over the targeted linears; A random by name, B zero
//   load_adapter(model, folder)                  fills all branches from adapter_model.safetensors, strictly both ways
//   save_adapter(model, folder, config, types)   adapter_model.safetensors, then adapter_config.json, which makes it
//                                                count
//
//   adapter_scaling(folder)                      the rotary scaling that an option named when it was trained, or ""
//
// That name is kept in the metadata of the tensors' file, "rope_scaling", as adapter_config.json has no place for it.
// Tensor names in the file are "base_model.model." and the name in the model; a prefix written twice, as a model
// wrapped twice writes it, is read too. Values are f32 on saving, or of the types that load_adapter found where those
// are given.
//
// Throws: Error that names the file and lists what is missing, unknown or of another shape (another rank, another
// model). Source: huggingface/peft 0.21, utils/save_and_load.py.
namespace graft {

using AdapterTypes = std::map<std::string, StoredType>;    // by the name in the model

namespace detail {

inline constexpr std::string_view peft_prefix = "base_model.model.";

inline std::string without_prefix(std::string_view name)
{
    if (name.starts_with(peft_prefix)) { name.remove_prefix(peft_prefix.size()); }
    if (name.starts_with(peft_prefix)) { name.remove_prefix(peft_prefix.size()); }
    return std::string(name);
}

}  // namespace detail

template <class Model>
void add_adapter(Model& model, const AdapterTargets& targets, const AdapterConfig& config, std::uint64_t seed)
{
    std::map<std::string, const AdapterTarget*> wanted;
    for (const AdapterTarget& target : targets.modules) { wanted.emplace(target.name, &target); }
    std::uint32_t index = 0;
    modules(model, [&](const std::string& name, auto& module) {
        if constexpr (is_any_linear<std::remove_cvref_t<decltype(module)>>) {
            ++index;
            const auto at = wanted.find(name);
            if (at == wanted.end()) { return; }
            const AdapterTarget& target = *at->second;
            auto& branch = module.adapt({.rank = target.rank, .alpha = target.alpha, .rslora = config.rslora,
                                         .dropout = config.dropout});
            branch.scale = target.scale;
            branch.module = index;
            compute(branch.a.value().pool(), [&] {
                init_lora_a(branch.a.value(), seed, name);
                auto b = branch.b.value().view();
                for (std::int64_t i = 0; i < b.rows; ++i) { std::fill(b.row(i), b.row(i) + b.cols(), 0); }
            });
            wanted.erase(at);
        }
    });
    require(wanted.empty(), [&] { return "adapter: the model has no linear " + printable(wanted.begin()->first); });
    for (const auto& tensor : trained_tensors(model)) { refresh(tensor); }
}

inline std::string adapter_scaling(const std::filesystem::path& folder)
{
    const auto path = folder / "adapter_model.safetensors";
    if (!std::filesystem::exists(path)) { return ""; }
    const auto file = SafetensorsFile::open(path);
    const auto at = file.metadata().find("rope_scaling");
    return at == file.metadata().end() ? "" : at->second;
}

template <class Model> AdapterTypes load_adapter(Model& model, const std::filesystem::path& folder)
{
    const auto path = folder / "adapter_model.safetensors";
    require(std::filesystem::exists(path), [&] {
        const bool pickled = std::filesystem::exists(folder / "adapter_model.bin");
        return printable(folder.string(), 1000) + ": no adapter_model.safetensors" +
               (pickled ? "; adapter_model.bin is a pickle, which is not read: save the adapter as safetensors" : "");
    });
    const auto file = SafetensorsFile::open(path);
    std::map<std::string, const StoredTensor*> stored;
    for (const StoredTensor& t : file.tensors()) {
        require(stored.emplace(detail::without_prefix(t.name), &t).second, [&] {
            return printable(path.string(), 1000) + ": " + printable(t.name)
                   + " is there twice under different prefixes";
        });
    }
    detail::LoadReport report;
    AdapterTypes types;
    const auto each = [&](auto&& use) {
        leaves(model, [&](const std::string& name, auto& leaf) {
            if constexpr (std::remove_cvref_t<decltype(leaf)>::trainable) {
                if (detail::is_adapter_part(name)) { use(name, leaf); }
            }
        });
    };
    each([&](const std::string& name, auto& leaf) {
        const auto at = stored.find(name);
        if (at == stored.end()) {
            report.missing.push_back(name);
            return;
        }
        const StoredTensor& t = *at->second;
        const std::vector<std::int64_t> shape{leaf.value().rows(), leaf.value().cols()};
        if (t.shape != shape || !detail::is_float(t.type)) {
            report.misshaped.push_back(name + " (" + std::string(stored_name(t.type)) + " " + shape_text(t.shape) +
                                       ", expected " + shape_text(shape) + ")");
        }
        types[name] = t.type;
    });
    for (const auto& [name, tensor] : stored) {
        if (!types.contains(name)) { report.extra.push_back(tensor->name); }
    }
    report.check(printable(path.string(), 1000));
    each([&](const std::string& name, auto& leaf) { detail::read_dense(*stored.at(name), View(leaf.value().view())); });
    for (const auto& tensor : trained_tensors(model)) { refresh(tensor); }
    return types;
}

namespace detail {

// The values of a trained tensor in an element type of a file, without row padding.
template <class A> std::vector<std::byte> stored_values(View<const A> view, StoredType type)
{
    const std::size_t width = std::size_t(stored_bits(type) / 8);
    std::vector<std::byte> out(std::size_t(view.rows * view.cols()) * width);
    std::byte* at = out.data();
    const auto put = [&](auto value) {
        std::memcpy(at, &value, sizeof value);
        at += sizeof value;
    };
    for (std::int64_t i = 0; i < view.rows; ++i) {
        for (std::int64_t j = 0; j < view.cols(); ++j) {
            const A value = view.row(i)[j];
            switch (type) {
            case StoredType::bf16: put(bf16(float(value))); break;
            case StoredType::f16: put(f16(float(value))); break;
            case StoredType::f64: put(double(value)); break;
            default: put(float(value)); break;
            }
        }
    }
    return out;
}

}  // namespace detail

template <class Model>
void save_adapter(Model& model, const std::filesystem::path& folder, const AdapterConfig& config,
                  const AdapterTypes& types = {})
{
    std::vector<TensorHead> heads;
    const auto trained = trained_tensors(model);
    for (const auto& tensor : trained) {
        const auto type = types.find(tensor.name);
        heads.push_back({std::string(detail::peft_prefix) + tensor.name,
                         type == types.end() ? StoredType::f32 : type->second,
                         {tensor.value.rows(), tensor.value.cols()}});
    }
    Metadata metadata;
    if (!model.config.rope_named.empty()) { metadata["rope_scaling"] = model.config.rope_named; }
    const auto give = [&](std::size_t i, const WriteBytes& write) {
        write(detail::stored_values(std::as_const(trained[i].value).view(), heads[i].type));
    };
    write_safetensors(folder / "adapter_model.safetensors", heads, give, metadata);
    write_adapter_config(folder / "adapter_config.json", config, model.config);
}

}  // namespace graft
