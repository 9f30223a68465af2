#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "graft/checkpoint/adapter.hpp"
#include "graft/checkpoint/hf_config.hpp"
#include "graft/checkpoint/load.hpp"
#include "graft/core/inline.hpp"
#include "graft/io/text.hpp"
#include "graft/models/any.hpp"

// A model from a checkpoint folder in one call: config.json, the layers that the options ask for, the weights.
//
//   load_model<float>(folder)                            frozen: to generate, or to lay an adapter over it
//   load_model<bf16>(folder, {.base = Base::nf4})        the linears of the blocks quantised as they are read: QLoRA
//   load_model<float>(folder, {.base = Base::trained, .train_rest = true})     everything is trained
//   add_adapter(model, config, seed)                     a fresh LoRA adapter: targets, rank and alpha from the config
//   add_adapter(model, adapter_folder)                   one that PEFT, or save_adapter, has written
//
// The model keeps the config, and save_adapter(model, folder) writes it.
// Modules that the adapter saves whole become trained ones, with the values that they have.
// A checkpoint that bitsandbytes has quantised stays in NF4 unless its linears are to be trained.
//
// Throws: Error of read_config, load_weights, adapter_targets, load_adapter; for a target that the model does not have.
namespace graft {

template <Float T, Device Dev = Cpu>
AnyModel<T, Dev> load_model(const std::filesystem::path& folder, ModelOptions options = {},
                            const LoadOptions& load = {})
{
    ModelConfig config = read_config(folder);
    config.tied = config.tied && !load.untie;
    if (const auto& stored = config.quantization; stored && options.base != Base::trained) {
        options.base = Base::nf4;
        options.dense.insert(options.dense.end(), stored->skipped.begin(), stored->skipped.end());
    }
    auto model = make_model<T, Dev>(config, options);
    load_weights(model, Checkpoint::open(folder), load);
    return model;
}

template <class Model> void add_adapter(Model& model, const AdapterConfig& config, std::uint64_t seed)
{
    const AdapterTargets targets = adapter_targets(config, model.config, "adapter");
    require(targets.unmatched.empty(),
            [&] { return "adapter: the model has no module named " + name_list(targets.unmatched); });
    add_adapter(model, targets, config, seed);
}

template <class Model> AdapterConfig add_adapter(Model& model, const std::filesystem::path& folder)
{
    const AdapterConfig config = read_adapter_config(folder);
    const AdapterTargets targets = adapter_targets(config, model.config, folder.string());
    detail::lay_adapter(model, targets, config, 0);  // also one that is not begun here
    load_adapter(model, folder, targets.saved);
    return config;
}

#if !GRAFT_HEADER_ONLY  // compiled once: parts/models.hpp
#define GRAFT_EXTERN(T)                                                                                                \
    extern template AnyModel<T> load_model<T, Cpu>(const std::filesystem::path&, ModelOptions, const LoadOptions&);    \
    extern template void add_adapter(AnyModel<T>&, const AdapterConfig&, std::uint64_t);                               \
    extern template AdapterConfig add_adapter(AnyModel<T>&, const std::filesystem::path&);
GRAFT_EXTERN(float)
GRAFT_EXTERN(bf16)
GRAFT_EXTERN(double)
#undef GRAFT_EXTERN
#endif

}  // namespace graft
