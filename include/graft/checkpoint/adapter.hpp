#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
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
//   stack_adapter(model, folder)                 lays a finished adapter over the base, frozen: to generate with, or to
//                                                train another one over it; as often as there are adapters, which add
//   stack_adapter(model, targets)                the same without values: to plan memory
//   save_adapter(model, folder, config, types, metadata, before_last)
//                                                the trained branches alone: adapter_model.safetensors with this
//                                                metadata, then adapter_config.json, which makes it count
//   adapter_metadata(folder)                     what save_adapter wrote beside the tensors
//
// Tensor names in the file are "base_model.model." and the name in the model; a prefix written twice, as a model
// wrapped twice writes it, is read too. Values are f32 on saving, or of the types that load_adapter found where those
// are given.
//
// Metadata, texts by name in the header of the file; foreign adapters have none of them:
//   graft.base    fingerprint of the base that it was trained over (train/fingerprint.hpp)
//   graft.over    fingerprints of the adapters that it was trained over (train/adapter_stack.hpp)
//
// Throws: Error that names the file and lists what is missing, unknown or of another shape (another rank, another
// model). Source: huggingface/peft 0.21, utils/save_and_load.py.
namespace graft {

using AdapterTypes = std::map<std::string, StoredType>;    // by the name in the model

// Is told the name and the text of the file that makes a folder count, when all others are there.
using BeforeLast = std::function<void(const std::string& name, const std::string& text)>;

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

namespace detail {

// adapter_model.safetensors by the names in the model, compared as a whole before anything is read.
class AdapterFile {
public:
    explicit AdapterFile(const std::filesystem::path& folder)
        : file_(open(folder)), where_(printable(file_.path().string(), 1000))
    {
        for (const StoredTensor& t : file_.tensors()) {
            require(stored_.emplace(without_prefix(t.name), &t).second,
                    [&] { return where_ + ": " + printable(t.name) + " is there twice under different prefixes"; });
        }
    }

    AdapterFile(const AdapterFile&) = delete;
    AdapterFile& operator=(const AdapterFile&) = delete;

    void expect(const std::string& name, const std::vector<std::int64_t>& shape)
    {
        const auto at = stored_.find(name);
        if (at == stored_.end()) {
            report_.missing.push_back(name);
            return;
        }
        const StoredTensor& t = *at->second;
        if (t.shape != shape || !is_float(t.type)) {
            report_.misshaped.push_back(name + " (" + std::string(stored_name(t.type)) + " " + shape_text(t.shape) +
                                        ", expected " + shape_text(shape) + ")");
        }
        types_[name] = t.type;
    }
    // The type of each tensor, where all are there, as expected, and none besides.
    AdapterTypes check()
    {
        for (const auto& [name, tensor] : stored_) {
            if (!types_.contains(name)) { report_.extra.push_back(tensor->name); }
        }
        report_.check(where_);
        return types_;
    }
    template <class T> void read(const std::string& name, View<T> to) const { read_dense(*stored_.at(name), to); }

private:
    static SafetensorsFile open(const std::filesystem::path& folder)
    {
        const auto path = folder / "adapter_model.safetensors";
        require(std::filesystem::exists(path), [&] {
            const bool pickled = std::filesystem::exists(folder / "adapter_model.bin");
            return printable(folder.string(), 1000) + ": no adapter_model.safetensors" +
                   (pickled ? "; adapter_model.bin is a pickle, which is not read: save the adapter as safetensors"
                            : "");
        });
        return SafetensorsFile::open(path);
    }

    SafetensorsFile                            file_;
    std::string                                where_;
    std::map<std::string, const StoredTensor*> stored_;
    LoadReport                                 report_;
    AdapterTypes                               types_;
};

}  // namespace detail

template <class Model> AdapterTypes load_adapter(Model& model, const std::filesystem::path& folder)
{
    detail::AdapterFile file(folder);
    const auto each = [&](auto&& use) {
        leaves(model, [&](const std::string& name, auto& leaf) {
            if constexpr (std::remove_cvref_t<decltype(leaf)>::trainable) {
                if (detail::is_adapter_part(name)) { use(name, leaf); }
            }
        });
    };
    each([&](const std::string& name, auto& leaf) { file.expect(name, {leaf.value().rows(), leaf.value().cols()}); });
    const AdapterTypes types = file.check();
    each([&](const std::string& name, auto& leaf) { file.read(name, View(leaf.value().view())); });
    for (const auto& tensor : trained_tensors(model)) { refresh(tensor); }
    return types;
}

inline Metadata adapter_metadata(const std::filesystem::path& folder)
{
    return SafetensorsFile::open(folder / "adapter_model.safetensors").metadata();
}

namespace detail {

// Lays frozen branches over the targeted linears, empty; use(name, branch) fills each.
template <class Model, class Use> void stack_branches(Model& model, const AdapterTargets& targets, Use&& use)
{
    std::map<std::string, const AdapterTarget*> wanted;
    for (const AdapterTarget& target : targets.modules) { wanted.emplace(target.name, &target); }
    modules(model, [&](const std::string& name, auto& module) {
        if constexpr (is_any_linear<std::remove_cvref_t<decltype(module)>>) {
            const auto at = wanted.find(name);
            if (at == wanted.end()) { return; }
            use(name, module.stack(at->second->rank, at->second->scale));
            wanted.erase(at);
        }
    });
    require(wanted.empty(), [&] { return "adapter: the model has no linear " + printable(wanted.begin()->first); });
}

}  // namespace detail

template <class Model> void stack_adapter(Model& model, const AdapterTargets& targets)
{
    detail::stack_branches(model, targets, [](const std::string&, auto&) {});
}

template <class Model> AdapterConfig stack_adapter(Model& model, const std::filesystem::path& folder)
{
    AdapterConfig config = read_adapter_config(folder);
    const AdapterTargets targets = adapter_targets(config, model.config, folder.string());
    detail::AdapterFile file(folder);
    for (const AdapterTarget& target : targets.modules) {
        file.expect(target.name + ".lora_A.weight", {target.rank, target.in});
        file.expect(target.name + ".lora_B.weight", {target.out, target.rank});
    }
    file.check();
    detail::stack_branches(model, targets, [&](const std::string& name, auto& branch) {
        file.read(name + ".lora_A.weight", View(branch.a.value().view()));
        file.read(name + ".lora_B.weight", View(branch.b.value().view()));
    });
    return config;
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
                  const AdapterTypes& types = {}, const Metadata& metadata = {}, const BeforeLast& before_last = {})
{
    std::vector<TensorHead> heads;
    const auto trained = trained_tensors(model);
    for (const auto& tensor : trained) {
        const auto type = types.find(tensor.name);
        heads.push_back({std::string(detail::peft_prefix) + tensor.name,
                         type == types.end() ? StoredType::f32 : type->second,
                         {tensor.value.rows(), tensor.value.cols()}});
    }
    write_safetensors(folder / "adapter_model.safetensors", heads, [&](std::size_t i, const WriteBytes& write) {
        write(detail::stored_values(std::as_const(trained[i].value).view(), heads[i].type));
    }, metadata);
    const auto path = folder / "adapter_config.json";
    const std::string text = adapter_config_text(config, model.config, printable(path.string(), 1000));
    if (before_last) { before_last("adapter_config.json", text); }
    write_file(path, text);
}

}  // namespace graft
