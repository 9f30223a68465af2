#pragma once
#include <filesystem>
#include <string>

#include "graft/checkpoint/adapter.hpp"
#include "graft/checkpoint/checkpoint.hpp"
#include "graft/models/config.hpp"

// The element types in which modules that are trained whole go into the file of an adapter.
//
//   saved_types(saved, config, model, adapter)   by tensor: the type that the adapter's file has, where one is given,
//                                                else that of the base, f32 at most; of a config.json alone, its dtype
//   round_to(model, types)                       the values that a model would have once saved and loaded again: what
//                                                is measured after a run is then what was saved
//
// Throws: Error for files that cannot be read.
namespace graft {

inline AdapterTypes saved_types(const SavedModules& saved, const ModelConfig& config,
                                const std::filesystem::path& model, const std::filesystem::path& adapter = {})
{
    namespace fs = std::filesystem;
    AdapterTypes types;
    if (saved.empty()) { return types; }
    StoredType otherwise = StoredType::f32;
    if (config.stored_dtype == "bfloat16") { otherwise = StoredType::bf16; }
    if (config.stored_dtype == "float16") { otherwise = StoredType::f16; }
    for (const std::string& name : saved.tensors()) { types[name] = otherwise; }

    const auto found = [&](const std::string& name, const StoredTensor& tensor) {
        const bool half = tensor.type == StoredType::bf16 || tensor.type == StoredType::f16;
        types[name] = half ? tensor.type : StoredType::f32;
    };
    if (fs::exists(model / "model.safetensors") || fs::exists(model / "model.safetensors.index.json")) {
        const auto checkpoint = Checkpoint::open(model);
        for (const std::string& name : saved.tensors()) {
            const StoredTensor* tensor = checkpoint.find(name);
            const bool tied = tensor == nullptr && name == detail::head_weight;
            if (tied) { tensor = checkpoint.find(detail::embedding_weight); }
            if (tensor != nullptr) { found(name, *tensor); }
        }
    }
    if (!adapter.empty()) {
        const auto file = detail::open_adapter_file(adapter);
        for (const StoredTensor& tensor : file.tensors()) {
            const std::string name = detail::adapter_tensor(tensor.name).name;
            if (types.contains(name)) { found(name, tensor); }
        }
    }
    return types;
}

template <class Model> void round_to(Model& model, const AdapterTypes& types)
{
    for (auto& tensor : trained_tensors(model)) {
        const auto type = types.find(tensor.name);
        if (type == types.end() || (type->second != StoredType::bf16 && type->second != StoredType::f16)) { continue; }
        const auto view = tensor.value.view();
        using A = std::remove_cvref_t<decltype(*view.data)>;
        for (std::int64_t i = 0; i < view.rows; ++i) {
            for (std::int64_t j = 0; j < view.cols(); ++j) {
                A& value = view.row(i)[j];
                value = type->second == StoredType::bf16 ? A(float(bf16(float(value)))) : A(float(f16(float(value))));
            }
        }
        refresh(tensor);
    }
}

}  // namespace graft
