#pragma once
#include <algorithm>
#include <string>

#include "graft/core/inline.hpp"
#include "graft/models/llama.hpp"
#include "graft/nn/init.hpp"
#include "graft/nn/trained.hpp"

// The model of a program: family and sizes from a config, layers of the kinds that options ask for.
//
//   AnyModel<T> model = make_model<T>(config, {.base = Base::nf4});
//
// All families read so far (llama, mistral, qwen2) share the block of models/llama.hpp and differ in their config.
namespace graft {

template <Float T, Device Dev = Cpu> using AnyModel = Llama<dynamic_shape, AnyKit<T, Dev>>;

template <class> inline constexpr bool is_any_linear = false;
template <int In, int Out, Float T, Device Dev> inline constexpr bool is_any_linear<AnyLinear<In, Out, T, Dev>> = true;
template <class> inline constexpr bool is_any_table = false;
template <int V, int D, Float T, Device Dev> inline constexpr bool is_any_table<AnyTable<V, D, T, Dev>> = true;

struct ModelOptions {
    Base base = Base::frozen;            // of the linears of the blocks
    bool train_rest = false;             // embedding, norms and head are trained too
    std::vector<std::string> trained{};  // of these, the modules that are trained alone: "lm_head"
    std::vector<std::string> dense{};    // modules that stay frozen and dense where base is nf4
};

template <Float T, Device Dev = Cpu>
AnyModel<T, Dev> make_model(const ModelConfig& config, const ModelOptions& options,
                            const std::shared_ptr<Pool<Dev>>& pool = Pool<Dev>::common())
{
    // Layers come into being on a pool without memory, and then as what they are to be: dense weights that are NF4 in
    // the end never exist.
    AnyModel<T, Dev> model(config, Pool<Dev>::create({.counting = true}));
    modules(model, [&](const std::string& name, auto& layer) {
        using Module = std::remove_cvref_t<decltype(layer)>;
        if constexpr (is_any_linear<Module>) {
            bool dense = false;
            for (const std::string& skipped : options.dense) {
                dense = dense || name == skipped || name.ends_with("." + skipped);
            }
            layer.become(options.base == Base::nf4 && dense ? Base::frozen : options.base, pool);
        } else if constexpr (requires { layer.become(Base::trained); }) {
            const auto& names = options.trained;
            const bool train = options.train_rest || std::find(names.begin(), names.end(), name) != names.end();
            if (!layer.empty()) { layer.become(train ? Base::trained : Base::frozen, pool); }
        }
    });
    return model;
}

#if !GRAFT_HEADER_ONLY  // compiled once: parts/models.hpp
#define GRAFT_EXTERN(T)                                                                                                \
    extern template class Llama<dynamic_shape, AnyKit<T, Cpu>>;                                                        \
    extern template AnyModel<T> make_model<T, Cpu>(const ModelConfig&, const ModelOptions&,                            \
                                                   const std::shared_ptr<Pool<Cpu>>&);                                 \
    extern template void begin_adapters(AnyModel<T>&, std::uint64_t);                                                  \
    extern template void init(AnyModel<T>&, std::uint64_t, double);                                                    \
    extern template std::vector<TrainedTensor<T, Cpu>> trained_tensors(AnyModel<T>&);
GRAFT_EXTERN(float)
GRAFT_EXTERN(bf16)
GRAFT_EXTERN(double)
#undef GRAFT_EXTERN
#endif

}  // namespace graft
