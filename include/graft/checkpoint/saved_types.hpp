#pragma once
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <type_traits>

#include "graft/checkpoint/adapter.hpp"
#include "graft/checkpoint/adapter/tensors.hpp"
#include "graft/checkpoint/adapter_config/saved_modules.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/inline.hpp"
#include "graft/io/safetensors/types.hpp"
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

AdapterTypes saved_types(const SavedModules& saved, const ModelConfig& config, const std::filesystem::path& model,
                         const std::filesystem::path& adapter = {});

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

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/saved_types.ipp"
#endif
