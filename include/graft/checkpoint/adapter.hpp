#pragma once
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "graft/checkpoint/adapter_config.hpp"
#include "graft/checkpoint/load.hpp"
#include "graft/models/any.hpp"

// LoRA adapters in PEFT's form, onto a model of AnyLinear layers and back.
//
//   add_adapter(model, targets, config, seed)    lays branches over the targeted linears; A random by name, B zero
//   load_adapter(model, folder, targets.saved)   fills all branches, and the modules that are saved whole, from
//                                                adapter_model.safetensors, strictly both ways
//   save_adapter(model, folder, config, types, metadata, kept)
//                                                adapter_model.safetensors, then adapter_config.json, which makes it
//                                                count
//   kept_tensors(model, folder)                  tensors of the file that the model does not train, to be saved as
//                                                they are
//   adapter_metadata(folder)                     what save_adapter wrote beside the tensors
//
// Tensor names in the file are "base_model.model." and the name in the model; a prefix written twice, as a model
// wrapped twice writes it, is read too. Values are f32 on saving, or of the types that load_adapter found where those
// are given.
//
// Modules that are saved whole (adapter_config/saved_modules.hpp) are loaded whether the model trains them or not. A
// file may hold the embedding or the head although its config names neither: PEFT adds them on its own when it thinks
// that they changed. They are loaded into the base and kept. Older names, ….modules_to_save.weight, are read.
//
// Metadata, texts by name in the header of the file; foreign adapters have none of them:
//   graft.base    fingerprint of the base that it was trained over (train/fingerprint.hpp)
//
// Throws: Error that names the file and lists what is missing, unknown or of another shape (another rank, another
// model). Source: huggingface/peft 0.21, utils/save_and_load.py.
namespace graft {

using AdapterTypes = std::map<std::string, StoredType>;    // by the name in the model

// Tensors of an adapter's file that go back into the next one byte by byte.
struct KeptTensors {
    std::optional<SafetensorsFile> file{};       // whose memory they are in
    std::vector<StoredTensor>      tensors{};    // by the names in the model
};

namespace detail {

inline constexpr std::string_view peft_prefix = "base_model.model.";

inline std::string without_prefix(std::string_view name)
{
    if (name.starts_with(peft_prefix)) { name.remove_prefix(peft_prefix.size()); }
    if (name.starts_with(peft_prefix)) { name.remove_prefix(peft_prefix.size()); }
    return std::string(name);
}

// The name in the model of a tensor in the file.
inline std::string name_in_model(std::string_view stored)
{
    std::string name = without_prefix(stored);
    for (const char* part : {".modules_to_save.default.", ".modules_to_save."}) {
        const auto at = name.find(part);
        if (at != std::string::npos) { name.replace(at, std::string_view(part).size(), "."); }
    }
    return name;
}

inline const std::string embedding_weight = std::string(embedding_module) + ".weight";
inline const std::string head_weight      = std::string(head_module) + ".weight";

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
        } else if constexpr (requires { module.train(); }) {
            const auto trained = targets.saved.trained();
            if (std::find(trained.begin(), trained.end(), name) != trained.end()) { module.train(); }
        }
    });
    require(!targets.saved.untie || !model.config.tied, [&] {
        return "adapter: it trains the tied head or embedding on its own: make the model with a head of its own "
               "(tied false, LoadOptions::untie), or set ensure_weight_tying";
    });
    require(wanted.empty(), [&] { return "adapter: the model has no linear " + printable(wanted.begin()->first); });
    for (const auto& tensor : trained_tensors(model)) { refresh(tensor); }
}

namespace detail {

// The head of a tied model is its embedding, whichever of the two names a file has.
inline void join_tied(std::map<std::string, const StoredTensor*>& stored, AdapterTypes& types, const std::string& where)
{
    const auto head = stored.find(head_weight);
    if (head == stored.end()) { return; }
    const auto [embedding, alone] = stored.emplace(embedding_weight, head->second);
    require(alone || same_values(*embedding->second, *head->second), [&] {
        return where + ": lm_head.weight differs from model.embed_tokens.weight, but the model's head is its embedding";
    });
    types[head_weight] = head->second->type;
    stored.erase(head);
}

}  // namespace detail

template <class Model>
AdapterTypes load_adapter(Model& model, const std::filesystem::path& folder, const SavedModules& saved = {})
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
        require(stored.emplace(detail::name_in_model(t.name), &t).second, [&] {
            return printable(path.string(), 1000) + ": " + printable(t.name)
                   + " is there twice under different prefixes";
        });
    }
    AdapterTypes types;
    if (model.config.tied) { detail::join_tied(stored, types, printable(path.string(), 1000)); }
    detail::LoadReport report;
    const auto each = [&](auto&& use) {
        leaves(model, [&](const std::string& name, auto& leaf) {
            if constexpr (requires { leaf.value(); }) {
                const bool extra = (name == detail::embedding_weight || name == detail::head_weight)
                                && stored.contains(name);
                const bool part = std::remove_cvref_t<decltype(leaf)>::trainable && detail::is_adapter_part(name);
                if (part || saved.has(name) || extra) { use(name, leaf); }
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
        using Extents = typename std::remove_cvref_t<decltype(leaf)>::Extents;
        const auto shape = detail::shape_of<Extents>(leaf.value().rows(), leaf.value().cols());
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
    each([&](const std::string& name, auto& leaf) {
        auto to = leaf.value().view();
        detail::read_dense(*stored.at(name), View<std::remove_pointer_t<decltype(to.data)>>(to));
    });
    for (const auto& tensor : trained_tensors(model)) { refresh(tensor); }
    return types;
}

template <class Model> KeptTensors kept_tensors(Model& model, const std::filesystem::path& folder)
{
    KeptTensors kept;
    kept.file = SafetensorsFile::open(folder / "adapter_model.safetensors");
    std::set<std::string> trained;
    for (const auto& tensor : trained_tensors(model)) { trained.insert(tensor.name); }
    if (model.config.tied && trained.contains(detail::embedding_weight)) { trained.insert(detail::head_weight); }
    for (StoredTensor tensor : kept.file->tensors()) {
        tensor.name = detail::name_in_model(tensor.name);
        if (!trained.contains(tensor.name)) { kept.tensors.push_back(std::move(tensor)); }
    }
    return kept;
}

inline Metadata adapter_metadata(const std::filesystem::path& folder)
{
    return SafetensorsFile::open(folder / "adapter_model.safetensors").metadata();
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
                  const AdapterTypes& types = {}, const Metadata& metadata = {}, const KeptTensors& kept = {})
{
    std::vector<TensorHead> heads;
    auto trained = trained_tensors(model);
    for (std::size_t i = 0; i < trained.size(); ++i) {
        const auto& tensor = trained[i];
        const auto type = types.find(tensor.name);
        std::vector<std::int64_t> shape{tensor.value.cols()};
        if (!tensor.vector) { shape.insert(shape.begin(), tensor.value.rows()); }
        heads.push_back({std::string(detail::peft_prefix) + tensor.name,
                         type == types.end() ? StoredType::f32 : type->second, std::move(shape)});
        if (model.config.tied && tensor.name == detail::embedding_weight) {
            auto head = tensor;
            head.name = detail::head_weight;
            trained.insert(trained.begin() + std::ptrdiff_t(i) + 1, std::move(head));
        }
    }
    for (const StoredTensor& tensor : kept.tensors) {
        heads.push_back({std::string(detail::peft_prefix) + tensor.name, tensor.type, tensor.shape});
    }
    write_safetensors(folder / "adapter_model.safetensors", heads, [&](std::size_t i, const WriteBytes& write) {
        if (i >= trained.size()) { return write(kept.tensors[i - trained.size()].bytes); }
        write(detail::stored_values(std::as_const(trained[i].value).view(), heads[i].type));
    }, metadata);
    write_adapter_config(folder / "adapter_config.json", config, model.config);
}

}  // namespace graft
