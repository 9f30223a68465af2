#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/checkpoint/adapter.hpp"
#include "graft/checkpoint/hf_config.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/core/view.hpp"
#include "graft/io/safetensors/types.hpp"
#include "graft/io/safetensors/write.hpp"
#include "graft/models/any.hpp"

// A whole checkpoint that stands alone: after full fine-tuning.
//
//   save_checkpoint(model, base, folder, type, before_last)
//                                                 model.safetensors in the given element type, the tokeniser's, the
//                                                 generation files and the templates copied from base, config.json
//                                                 last: it makes it count; a rotary scaling that an option named is
//                                                 written into it
//
//   finish_checkpoint(base, folder, config)       the last two of these: what stands beside the weights
//
// Throws: Error naming the file that cannot be read or written.
namespace graft {

// config: the text of config.json.
void finish_checkpoint(const std::filesystem::path& base, const std::filesystem::path& folder,
                       const std::string& config, const BeforeLast& before_last = {});

template <class Model>
void save_checkpoint(Model& model, const std::filesystem::path& base, const std::filesystem::path& folder,
                     StoredType type, const BeforeLast& before_last = {})
{
    std::vector<TensorHead> heads;
    std::vector<std::function<std::vector<std::byte>()>> values;
    leaves(model, [&](const std::string& name, auto& leaf) {
        using Leaf = std::remove_cvref_t<decltype(leaf)>;
        if constexpr (requires { leaf.value(); }) {
            heads.push_back(
                {name, type, detail::shape_of<typename Leaf::Extents>(leaf.value().rows(), leaf.value().cols())});
            values.push_back([&leaf, type, name] {
                using Value = std::remove_const_t<std::remove_pointer_t<decltype(leaf.value().data())>>;
                return detail::stored_values(View<const Value>(std::as_const(leaf).value().view()), type, name);
            });
        } else {
            throw Error("save_checkpoint: " + name + " is 4-bit: a whole checkpoint is saved from dense weights only");
        }
    });
    write_safetensors(folder / "model.safetensors", heads,
                      [&](std::size_t i, const WriteBytes& write) { write(values[i]()); });
    const std::string dtype = type == StoredType::bf16 ? "bfloat16" : type == StoredType::f16 ? "float16" : "float32";
    finish_checkpoint(base, folder, config_text(base, dtype, model.config), before_last);
}

#if !GRAFT_HEADER_ONLY  // compiled once: parts/models.hpp
#define GRAFT_EXTERN(T)                                                                                                \
    extern template void save_checkpoint(AnyModel<T>&, const std::filesystem::path&, const std::filesystem::path&,     \
                                         StoredType, const BeforeLast&);
GRAFT_EXTERN(float)
GRAFT_EXTERN(bf16)
GRAFT_EXTERN(double)
#undef GRAFT_EXTERN
#endif

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/save.ipp"
#endif
