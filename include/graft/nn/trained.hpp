#pragma once
#include <cstdint>
#include <memory>
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
//   owner     ends with the last one who holds the weight: it was frozen, replaced or taken off
//
//   refresh(tensor)            after the values have changed: a load, a step. Rounds the masters into the working
//                              copies, and what was formed with the old values is out of date from here on
//   clear_gradients(model)     forgets all gradients
//   accept_gradients(model)    keeps gradients that were formed with other values for the next step: as sharpness-aware
//                              minimisation means them
//   ModelAnchor                a member `anchor` by which an optimiser finds the model wherever it has been moved to,
//                              to see at each step whether it still trains what it did. For models that can gain
//                              tensors
namespace graft {

class ModelAnchor {
public:
    using Cell = std::shared_ptr<const ModelAnchor*>;  // where the anchor is now; null when the model is gone

    ModelAnchor() = default;
    ModelAnchor(const ModelAnchor&) noexcept {}  // a copy is another model
    ModelAnchor(ModelAnchor&& other) noexcept : cell_(std::move(other.cell_)) { tell(this); }
    ModelAnchor& operator=(const ModelAnchor&) noexcept { return *this; }
    ModelAnchor& operator=(ModelAnchor&& other) noexcept
    {
        if (this != &other && other.cell_ != nullptr) {
            tell(nullptr);
            cell_ = std::move(other.cell_);
            tell(this);
        }
        return *this;
    }
    ~ModelAnchor() { tell(nullptr); }

    Cell cell() const
    {
        if (cell_ == nullptr) { cell_ = std::make_shared<const ModelAnchor*>(this); }
        return cell_;
    }

private:
    void tell(const ModelAnchor* where) const
    {
        if (cell_ != nullptr) { *cell_ = where; }
    }
    mutable Cell cell_;
};

template <Float T, Device Dev> struct TrainedTensor {
    std::string name;
    Tensor<acc<T>, Shape<dyn, dyn>, Dev> value;
    Tensor<T, Shape<dyn, dyn>, Dev> working;
    Grad<acc<T>, Dev> grad;
    bool decays = true;
    bool vector = false;  // one extent in the checkpoint: a norm weight or a bias
    std::weak_ptr<const void> owner{};
};

template <class Model> std::vector<TrainedTensor<typename Model::T, typename Model::Dev>> trained_tensors(Model& model)
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
                           !vector, vector, leaf.owner()});
        }
    });
    return out;
}

template <class Model> void clear_gradients(Model& model)
{
    for (const auto& tensor : trained_tensors(model)) { tensor.grad.clear(); }
}

template <class Model> void accept_gradients(Model& model)
{
    for (const auto& tensor : trained_tensors(model)) { tensor.grad.accept(); }
}

struct RefreshOp {};

template <Float T, Device Dev> void refresh(const TrainedTensor<T, Dev>& tensor)
{
    tensor.grad.outdate();
    if constexpr (!std::same_as<T, acc<T>>) {
        auto to = tensor.working;
        compute(to.pool(), [&] { kernel<RefreshOp, Dev>::run(to.view(), tensor.value.view(), to.pool()->stream()); });
    }
}

}  // namespace graft
