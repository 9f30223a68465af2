#pragma once
#include "graft/checkpoint/saved_types.hpp"

#include <fcntl.h>
#include <filesystem>
#include <string>

#include "graft/checkpoint/adapter/tensors.hpp"
#include "graft/checkpoint/adapter_config/saved_modules.hpp"
#include "graft/checkpoint/checkpoint.hpp"
#include "graft/core/dtype.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/models/config.hpp"

namespace graft {

GRAFT_INLINE AdapterTypes saved_types(const SavedModules& saved, const ModelConfig& config,
                                      const std::filesystem::path& model, const std::filesystem::path& adapter)
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

}  // namespace graft
