#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graft/checkpoint/adapter_config/saved_modules.hpp"
#include "graft/checkpoint/load.hpp"
#include "graft/core/inline.hpp"
#include "graft/core/view.hpp"
#include "graft/io/safetensors.hpp"
#include "graft/io/safetensors/types.hpp"

// adapter_model.safetensors by the names in the model, compared as a whole before a value is read.
//
//   adapter_tensor("base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight")
//                                           the name in the model, and that of the adapter where the key has one, as
//                                           state_dict() gives it and DeepSpeed, FSDP and own loops save it
//   named_tensors(file, where)              all of a file; refused where it holds several adapters
//   open_adapter_file(folder)               adapter_model.safetensors, or a sentence about what is there instead
//
//   AdapterTensors file(folder, tied);      tied: the model's head is its embedding, whichever name the file has for it
//   file.expect(name, shape); …             each tensor that must be there
//   const AdapterTypes types = file.check();    throws where one is missing, of another shape, or not expected
//   file.read(name, view);
//
// Throws: Error that names the file and the tensors.
namespace graft {

using AdapterTypes = std::map<std::string, StoredType>;  // by the name in the model

namespace detail {

inline constexpr std::string_view peft_prefix = "base_model.model.";

inline const std::string embedding_weight = std::string(embedding_module) + ".weight";
inline const std::string head_weight = std::string(head_module) + ".weight";

struct AdapterTensor {
    std::string name;     // in the model
    std::string adapter;  // "default", or another that the key carries; empty: none
};

// Whatever prefixes its wrappers have written before it (tensor_names.hpp); PEFT wraps what has an adapter, and stores
// a targeted embedding or head whole beside it as ….base_layer.weight.
AdapterTensor adapter_tensor(std::string_view stored);

using NamedTensors = std::map<std::string, const StoredTensor*>;

NamedTensors named_tensors(const SafetensorsFile& file, const std::string& where);

// What the tensors of an adapter that does not fit say about it.
std::string adapter_hint(const LoadReport& report);

SafetensorsFile open_adapter_file(const std::filesystem::path& folder);

class AdapterTensors {
public:
    explicit AdapterTensors(const std::filesystem::path& folder, bool tied = false);

    AdapterTensors(const AdapterTensors&) = delete;
    AdapterTensors& operator=(const AdapterTensors&) = delete;

    bool has(const std::string& name) const { return stored_.contains(name); }

    void expect(const std::string& name, const std::vector<std::int64_t>& shape);
    // The type of each tensor, where all are there, as expected, and none besides.
    AdapterTypes check();
    template <class T> void read(const std::string& name, View<T> to) const { read_dense(*stored_.at(name), to); }

private:
    void join_tied();

    SafetensorsFile file_;
    std::string where_;
    NamedTensors stored_;
    LoadReport report_;
    AdapterTypes types_;
};

}  // namespace detail

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/adapter/tensors.ipp"
#endif
