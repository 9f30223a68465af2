#pragma once
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/nn/visit.hpp"

// What an optimiser works on: every Param of a model by its name, whatever its static shape.
//
//   value     master values in acc<T>        grad     their gradient, empty where no backward reached the tensor
//   working   the copy in T that products read; the same memory where T is acc<T>
//   decays    whether weight decay applies: matrices do, norm weights and biases do not
namespace graft {

template <Float T, Device Dev> struct TrainedTensor {
    std::string                          name;
    Tensor<acc<T>, Shape<dyn, dyn>, Dev> value;
    Tensor<T, Shape<dyn, dyn>, Dev>      working;
    Grad<acc<T>, Dev>                    grad;
    bool                                 decays = true;
    bool                                 vector = false;    // one extent in the checkpoint: a norm weight or a bias
};

template <class Model> auto trained_tensors(Model& model)
{
    using T = typename Model::T;
    using Dev = typename Model::Dev;
    std::vector<TrainedTensor<T, Dev>> out;
    leaves(model, [&](const std::string& name, auto& leaf) {
        using Leaf = std::remove_cvref_t<decltype(leaf)>;
        if constexpr (Leaf::trainable) {
            using Any = Shape<dyn, dyn>;
            constexpr bool vector = Leaf::Extents::rank == 1;
            out.push_back({name, leaf.value().template as<Any>(), leaf.working().template as<Any>(), leaf.grad(),
                           !vector, vector});
        }
    });
    return out;
}

// Rounds the masters into the working copies: after loading and after each step.
struct RefreshOp {};

template <Float T, Device Dev> void refresh(const TrainedTensor<T, Dev>& tensor)
{
    if constexpr (!std::same_as<T, acc<T>>) {
        auto to = tensor.working;
        compute(to.pool(), [&] {
            kernel<RefreshOp, Dev>::run(to.view(), tensor.value.view(), to.pool()->stream());
        });
    }
}

}  // namespace graft
