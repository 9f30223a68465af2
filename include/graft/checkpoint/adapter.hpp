#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/checkpoint/adapter/laid.hpp"
#include "graft/checkpoint/adapter/tensors.hpp"
#include "graft/checkpoint/adapter_config.hpp"
#include "graft/checkpoint/adapter_config/saved_modules.hpp"
#include "graft/checkpoint/adapter_config/targets.hpp"
#include "graft/checkpoint/load.hpp"
#include "graft/checkpoint/modules.hpp"
#include "graft/checkpoint/tensor_names.hpp"
#include "graft/core/device.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/core/tensor.hpp"
#include "graft/core/view.hpp"
#include "graft/io/atomic_file.hpp"
#include "graft/io/safetensors.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/safetensors/write.hpp"
#include "graft/models/adapter_config.hpp"
#include "graft/models/any.hpp"
#include "graft/nn/lora.hpp"

// LoRA adapters in PEFT's form, onto a model of AnyLinear layers, or of a static LoRA kit, and back.
//
//   add_adapter(model, targets, config, seed)    lays branches over the targeted linears; A random by name, B zero;
//                                                over the embedding the other way round; rows of tokens as they are.
//                                                config.init is what it is in PEFT: gaussian draws A normal with
//                                                deviation 1 / rank, none draws B too, so that the model begins
//                                                changed. The model keeps the config. A static kit has branches, which
//                                                begin so
//   remove_adapter(model)                        takes it off again; modules that are saved whole stay as they are
//   load_adapter(model, folder, targets.saved)   fills all branches, rows, and the modules that are saved whole, from
//                                                adapter_model.safetensors, strictly both ways
//   stack_adapter(model, folder)                 lays a finished adapter over the base, frozen: to generate with, or to
//                                                train another one over it; as often as there are adapters, which add
//   stack_adapter(model, targets)                the same without values: to plan memory
//   kept_tensors(model, folder)                  tensors of the file that the model does not train, to be saved as
//                                                they are
//   save_adapter(model, folder, types, {.metadata, .kept, .before_last})
//                                                what is trained: adapter_model.safetensors, then adapter_config.json,
//                                                which makes it count: the config that the model keeps
//   adapter_metadata(folder)                     what save_adapter wrote beside the tensors
//   adapter_scaling(folder)                      the rotary scaling that an option named when it was trained, or ""
//
// Tensor names in the file are "base_model.model." and the name in the model; other prefixes, and the adapter's name
// in its keys, are read too (adapter/tensors.hpp). Values are f32 on saving, or of the types that load_adapter found
// where those are given.
//
// Modules that are saved whole (adapter_config/saved_modules.hpp) are loaded whether the model trains them or not. A
// file may hold the embedding or the head although its config names neither: PEFT adds them on its own when it thinks
// that they changed. They are loaded into the base and kept. Older names, ….modules_to_save.weight, are read. An
// adapter with such modules cannot be stacked: there is one embedding.
//
// Metadata, texts by name in the header of the file; foreign adapters have none of them:
//   graft.base    fingerprint of the base that it was trained over (train/fingerprint.hpp)
//   graft.quantized    how the base's linears were held meanwhile: dense, nf4, nf4 double (examples/cli/quantized.hpp)
//   graft.rope    the rotary scaling that an option named (checkpoint/rope_config.hpp), as adapter_config.json has no
//                 place for it
//   graft.over    fingerprints of the adapters that it was trained over (train/adapter_stack.hpp)
//
// Settings and tensors of one adapter stay together: what is loaded or saved must have the rank, scale and targets of
// the branches that lie on the model (adapter/laid.hpp).
//
// Throws: Error that names the file and lists what is missing, unknown or of another shape (another rank, another
// model); for settings that are not those of the branches; for a second adapter over a first; for a fresh one with the
// init mica, which is not trained here. Source: huggingface/peft 0.21, utils/save_and_load.py.
namespace graft {

// Is told the name and the text of the file that makes a folder count, when all others are there.
using BeforeLast = std::function<void(const std::string& name, const std::string& text)>;

// Tensors of an adapter's file that go back into the next one byte by byte.
struct KeptTensors {
    std::optional<SafetensorsFile> file{};  // whose memory they are in
    std::vector<StoredTensor> tensors{};    // by the names in the model
};

struct SaveAdapterOptions {
    Metadata metadata{};
    KeptTensors kept{};
    BeforeLast before_last{};
};

namespace detail {

template <Float A, class S> void fill_zero(Tensor<A, S, Cpu>& tensor)
{
    const auto to = tensor.view();
    for (std::int64_t i = 0; i < to.rows; ++i) { std::fill(to.row(i), to.row(i) + to.cols(), A(0)); }
}

// Of the static kits: branches that somebody has trained or loaded are an adapter, fresh ones are not.
template <class Model> void require_bare(Model& model, const std::map<std::string, const AdapterTarget*>& wanted)
{
    const auto refuse = [](const std::string& name) {
        throw Error("add_adapter: " + name
                    + " carries an adapter already, which would be lost: take it off first "
                      "(remove_adapter), or lay it below as a finished one (stack_adapter)");
    };
    bool known = false;
    if constexpr (requires { model.adapter.has_value(); }) { known = model.adapter.has_value(); }
    modules(model, [&](const std::string& name, auto& module) {
        using Module = std::remove_cvref_t<decltype(module)>;
        if constexpr (is_any_linear<Module>) {
            if (module.branch()) { refuse(name); }
        } else if constexpr (is_any_table<Module>) {
            if (module.adapted()) { refuse(name); }
        } else if constexpr (is_lora<Module>) {
            if (known || module.branch.a.grad().version() > 1) { refuse(name); }
            const auto at = wanted.find(name);
            require(at != wanted.end(), [&] {
                return "add_adapter: the model's type lays an adapter over " + name
                       + ", which the config does not "
                         "target: target it too, or use AnyKit";
            });
            require(at->second->rank == Module::rank, [&] {
                return "add_adapter: the model's type gives " + name + " the rank " + std::to_string(Module::rank)
                       + ", the config " + std::to_string(at->second->rank);
            });
        }
    });
}

// The values that a branch of a linear begins with. Source: huggingface/peft 0.21, tuners/lora/layer.py
// (reset_lora_parameters): gaussian has the deviation 1 / r; with none B is not zero either, but drawn as A is.
template <class Branch> void begin_branch(Branch& branch, AdapterInit init, std::uint64_t seed, const std::string& name)
{
    auto& a = branch.a.value();
    auto& b = branch.b.value();
    if (init == AdapterInit::gaussian) {
        init_normal(a, seed, name, 1.0 / double(a.rows()));
    } else {
        init_lora_a(a, seed, name);
    }
    if (init == AdapterInit::none) {
        init_lora_a(b, seed, name + ".lora_B");
    } else {
        fill_zero(b);
    }
}

// Of an embedding: A is zero and B normal; with none both are normal.
template <class Branch>
void begin_embedding_branch(Branch& branch, AdapterInit init, std::uint64_t seed, const std::string& name)
{
    if (init == AdapterInit::none) {
        init_normal(branch.a.value(), seed, name + ".lora_A");
    } else {
        fill_zero(branch.a.value());
    }
    init_normal(branch.b.value(), seed, name);
}

// The model keeps the settings of what lies on it.
template <class Model> void keep_config(Model& model, const AdapterConfig& config)
{
    if constexpr (requires { model.adapter = config; }) { model.adapter = config; }
}

// Branches for a fresh adapter, or for one whose values come from a file.
template <class Model>
void lay_adapter(Model& model, const AdapterTargets& targets, const AdapterConfig& config, std::uint64_t seed)
{
    std::map<std::string, const AdapterTarget*> wanted;
    for (const AdapterTarget& target : targets.modules) { wanted.emplace(target.name, &target); }
    require_bare(model, wanted);
    std::uint32_t index = 0;
    modules(model, [&](const std::string& name, auto& module) {
        using Module = std::remove_cvref_t<decltype(module)>;
        const auto at = wanted.find(name);
        const AdapterTarget* const target = at == wanted.end() ? nullptr : at->second;
        const auto options = [&] {
            return LoraOptions{
                .rank = target->rank, .alpha = target->alpha, .rslora = config.rslora, .dropout = config.dropout};
        };
        const auto begin = [&](auto& branch) {
            branch.scale = target->scale;
            branch.module = index;
            compute(branch.a.value().pool(), [&] { begin_branch(branch, config.init, seed, name); });
        };
        if constexpr (is_any_linear<Module>) {
            ++index;
            if (target != nullptr) { begin(module.adapt(options())); }
        } else if constexpr (is_lora<Module>) {
            ++index;
            module.branch.dropout = config.dropout;
            begin(module.branch);
        } else if constexpr (is_any_table<Module>) {
            if (name == embedding_module && !targets.tokens.empty()) { module.train_rows(targets.tokens); }
            if (target != nullptr && target->kind == ModuleKind::head) {
                ++index;
                begin(module.adapt_head(options()));
            } else if (target != nullptr) {
                auto& branch = module.adapt_embedding(options());
                branch.scale = target->scale;
                compute(branch.a.value().pool(), [&] { begin_embedding_branch(branch, config.init, seed, name); });
            }
        }
        if constexpr (requires { module.train(); }) {
            const auto trained = targets.saved.trained();
            if (std::find(trained.begin(), trained.end(), name) != trained.end()) { module.train(); }
        }
        if (is_any_linear<Module> || is_any_table<Module> || is_lora<Module>) { wanted.erase(name); }
    });
    require(!targets.saved.untie || !model.config.tied, [&] {
        return "adapter: it trains the tied head or embedding on its own: make the model with a head of its own "
               "(tied false, LoadOptions::untie), or set ensure_weight_tying";
    });
    require(wanted.empty(), [&] { return "adapter: the model has no linear " + printable(wanted.begin()->first); });
    if (targets.on_tables() || !targets.modules.empty()) { keep_config(model, config); }
    for (const auto& tensor : trained_tensors(model)) { refresh(tensor); }
}

}  // namespace detail

template <class Model>
void add_adapter(Model& model, const AdapterTargets& targets, const AdapterConfig& config, std::uint64_t seed)
{
    require(config.init != AdapterInit::mica, [] {
        return "add_adapter: the config's init is mica, which begins from singular vectors of the base and never trains "
               "B, and graft does not: choose kaiming or gaussian";
    });
    detail::lay_adapter(model, targets, config, seed);
}

template <class Model> void remove_adapter(Model& model)
{
    modules(model, [](const std::string&, auto& module) {
        if constexpr (requires { module.bare(); }) { module.bare(); }
    });
    if constexpr (requires { model.adapter.reset(); }) { model.adapter.reset(); }
}

namespace detail {

// What is to be loaded goes with the branches that are there. Those of a static kit that nobody has used yet take its
// settings.
template <class Model> void meet_config(Model& model, const AdapterConfig& config, const std::string& where)
{
    bool fresh = false;
    if constexpr (requires { model.adapter.has_value(); }) { fresh = !model.adapter.has_value(); }
    if (fresh) {
        modules(model, [&](const std::string&, auto& module) {
            if constexpr (is_lora<std::remove_cvref_t<decltype(module)>>) {
                fresh = fresh && module.branch.a.grad().version() <= 1;
            } else if constexpr (is_any_linear<std::remove_cvref_t<decltype(module)>>) {
                fresh = false;
            }
        });
    }
    if (fresh) { return lay_adapter(model, adapter_targets(config, model.config, where), config, 0); }
    require_laid(model, config, where);
    if constexpr (requires { model.adapter.has_value(); }) {
        if (!model.adapter.has_value()) { model.adapter = config; }
    }
}

}  // namespace detail

template <class Model>
AdapterTypes load_adapter(Model& model, const std::filesystem::path& folder, const SavedModules& saved = {})
{
    detail::AdapterTensors file(folder, model.config.tied);
    const AdapterConfig config = read_adapter_config(folder);
    const auto each = [&](auto&& use) {
        leaves(model, [&](const std::string& name, auto& leaf) {
            if constexpr (requires { leaf.value(); }) {
                const bool extra = (name == detail::embedding_weight || name == detail::head_weight) && file.has(name);
                const bool part = std::remove_cvref_t<decltype(leaf)>::trainable && detail::is_adapter_part(name);
                if (part || saved.has(name) || extra) { use(name, leaf); }
            }
        });
    };
    each([&](const std::string& name, auto& leaf) {
        using Extents = typename std::remove_cvref_t<decltype(leaf)>::Extents;
        file.expect(name, detail::shape_of<Extents>(leaf.value().rows(), leaf.value().cols()));
    });
    const AdapterTypes types = file.check();
    detail::meet_config(model, config, printable(folder.string(), 1000));
    each([&](const std::string& name, auto& leaf) {
        auto to = leaf.value().view();
        file.read(name, View<std::remove_pointer_t<decltype(to.data)>>(to));
    });
    for (const auto& tensor : trained_tensors(model)) { refresh(tensor); }
    return types;
}

template <class Model> KeptTensors kept_tensors(Model& model, const std::filesystem::path& folder)
{
    KeptTensors kept;
    kept.file = detail::open_adapter_file(folder);
    std::set<std::string> trained;
    for (const auto& tensor : trained_tensors(model)) { trained.insert(tensor.name); }
    if (model.config.tied && trained.contains(detail::embedding_weight)) { trained.insert(detail::head_weight); }
    for (StoredTensor tensor : kept.file->tensors()) {
        const std::string name = detail::adapter_tensor(tensor.name).name;
        if (trained.contains(name)) { continue; }
        // Beside an adapter of its own a module is stored as what that is laid over.
        const bool below = tensor.name.ends_with(".base_layer.weight");
        tensor.name = below ? model_name(tensor.name) : name;
        kept.tensors.push_back(std::move(tensor));
    }
    return kept;
}

std::string adapter_scaling(const std::filesystem::path& folder);

Metadata adapter_metadata(const std::filesystem::path& folder);

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
    require(!targets.on_tables(), [&] {
        return printable(folder.string(), 1000) + ": trained " + detail::tables_text(targets)
               + ", and cannot lie beside or under other adapters: merge it into its base";
    });
    detail::AdapterTensors file(folder);
    for (const AdapterTarget& target : targets.modules) {
        file.expect(target.a(), {target.rank, target.in});
        file.expect(target.b(), {target.out, target.rank});
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
// Throws: Error that names a value which is not finite, or is not any more in `type`.
template <class A> std::vector<std::byte> stored_values(View<const A> view, StoredType type, const std::string& name)
{
    const std::size_t width = std::size_t(stored_bits(type) / 8);
    std::vector<std::byte> out(std::size_t(view.rows * view.cols()) * width);
    std::byte* at = out.data();
    const auto put = [&](auto value, std::int64_t i, std::int64_t j) {
        require(std::isfinite(double(value)), [&] {
            return name + ", row " + std::to_string(i) + ", column " + std::to_string(j) + ": the value "
                   + std::to_string(double(view.row(i)[j])) + " is not a finite number as "
                   + std::string(stored_name(type)) + "; nothing was saved";
        });
        std::memcpy(at, &value, sizeof value);
        at += sizeof value;
    };
    for (std::int64_t i = 0; i < view.rows; ++i) {
        for (std::int64_t j = 0; j < view.cols(); ++j) {
            const A value = view.row(i)[j];
            switch (type) {
            case StoredType::bf16: put(bf16(float(value)), i, j); break;
            case StoredType::f16: put(f16(float(value)), i, j); break;
            case StoredType::f64: put(double(value), i, j); break;
            default: put(float(value), i, j); break;
            }
        }
    }
    return out;
}

}  // namespace detail

namespace detail {

// The settings to save, held against what lies on the model and what goes into the file.
template <class Model> AdapterConfig config_to_save(Model& model, const KeptTensors& kept)
{
    std::optional<AdapterConfig> config;
    if constexpr (requires { model.adapter.has_value(); }) { config = model.adapter; }
    if (!config) { config = config_of_laid(model); }
    const std::string who = "save_adapter";
    require_laid(model, *config, who);
    for (const LaidBranch& branch : laid_branches(model)) {
        const bool embedding = branch.module == embedding_module;  // which has none
        require(embedding || branch.dropout == config->dropout, [&] {
            return who + ": the adapter on " + branch.module + " has dropout " + number_text(branch.dropout)
                   + ", the settings say " + number_text(config->dropout);
        });
    }
    const SavedModules saved = adapter_targets(*config, model.config, who).saved;
    std::set<std::string> there;
    for (const auto& tensor : trained_tensors(model)) {
        there.insert(tensor.name);
        if (model.config.tied && tensor.name == embedding_weight) { there.insert(head_weight); }
        require(is_adapter_part(tensor.name) || saved.has(tensor.name), [&] {
            return who + ": " + tensor.name
                   + " is trained, and the settings' modules_to_save do not name its module: "
                     "name it there before add_adapter, or save a whole checkpoint";
        });
    }
    for (const StoredTensor& tensor : kept.tensors) { there.insert(tensor.name); }
    for (const std::string& name : saved.tensors()) {
        require(there.contains(name),
                [&] { return who + ": the settings' modules_to_save name " + name + ", which is not trained"; });
    }
    return *config;
}

}  // namespace detail

template <class Model>
void save_adapter(Model& model, const std::filesystem::path& folder, const AdapterTypes& types = {},
                  const SaveAdapterOptions& options = {})
{
    const AdapterConfig config = detail::config_to_save(model, options.kept);
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
    const auto& kept = options.kept.tensors;
    for (const StoredTensor& tensor : kept) {
        heads.push_back({std::string(detail::peft_prefix) + tensor.name, tensor.type, tensor.shape});
    }
    Metadata metadata = options.metadata;
    if (!model.config.rope_named.empty()) { metadata["graft.rope"] = model.config.rope_named; }
    const auto give = [&](std::size_t i, const WriteBytes& write) {
        if (i >= trained.size()) { return write(kept[i - trained.size()].bytes); }
        write(detail::stored_values(std::as_const(trained[i].value).view(), heads[i].type, trained[i].name));
    };
    write_safetensors(folder / "adapter_model.safetensors", heads, give, metadata);
    const auto path = folder / "adapter_config.json";
    const std::string text = adapter_config_text(config, model.config, printable(path.string(), 1000));
    if (options.before_last) { options.before_last("adapter_config.json", text); }
    write_file(path, text);
}

#if !GRAFT_HEADER_ONLY  // compiled once: parts/models.hpp
#define GRAFT_EXTERN(T)                                                                                                \
    extern template void add_adapter(AnyModel<T>&, const AdapterTargets&, const AdapterConfig&, std::uint64_t);        \
    extern template void remove_adapter(AnyModel<T>&);                                                                 \
    extern template AdapterTypes load_adapter(AnyModel<T>&, const std::filesystem::path&, const SavedModules&);        \
    extern template KeptTensors kept_tensors(AnyModel<T>&, const std::filesystem::path&);                              \
    extern template AdapterConfig stack_adapter(AnyModel<T>&, const std::filesystem::path&);                           \
    extern template void save_adapter(AnyModel<T>&, const std::filesystem::path&, const AdapterTypes&,                 \
                                      const SaveAdapterOptions&);
GRAFT_EXTERN(float)
GRAFT_EXTERN(bf16)
GRAFT_EXTERN(double)
#undef GRAFT_EXTERN
#endif

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/adapter.ipp"
#endif
