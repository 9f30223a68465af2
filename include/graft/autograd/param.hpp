#pragma once
#include <memory>
#include <utility>

#include "graft/core/tensor.hpp"

// Weights: Param is trained, Frozen cannot be.
//
//   Frozen<T, S, Dev>    a value in T. Asking for its gradient does not compile.
//   Param<T, S, Dev>     a master value and a gradient in acc<T> (f32 for bf16 and f32, f64 for f64), and a working
//                        copy
//                        in T that products read. Where T is acc<T> both are the same memory; else the optimiser step
//                        refreshes the copy.
//
// Both are handles: a step on the tape holds a copy, and the model may go.
// owner() tells an optimiser whether anybody still holds the weight that it trains.
namespace graft {

template <Float T, class S, Device Dev> class Frozen {
public:
    using Element = T;
    using Extents = S;
    using On = Dev;
    static constexpr bool trainable = false;

    Frozen() = default;
    explicit Frozen(Tensor<T, S, Dev> value) : value_(std::move(value)) {}

    const Tensor<T, S, Dev>& working() const { return value_; }
    Tensor<T, S, Dev>& value() { return value_; }
    const Tensor<T, S, Dev>& value() const { return value_; }
    bool empty() const { return value_.empty(); }

    template <class Asked = void> Grad<acc<T>, Dev> grad() const
    {
        static_assert(detail::never<Asked>, "a Frozen weight has no gradient: make it a Param to train it.");
        return {};
    }

private:
    Tensor<T, S, Dev> value_;
};

template <Float T, class S, Device Dev> class Param {
public:
    using Element = T;
    using Extents = S;
    using On = Dev;
    using Master = acc<T>;
    static constexpr bool trainable = true;

    Param() = default;
    explicit Param(Tensor<Master, S, Dev> master) : state_(std::make_shared<State>())
    {
        state_->grad = Grad<Master, Dev>(master.rows(), master.cols(), master.stride(), master.pool());
        if constexpr (std::same_as<T, Master>) {
            state_->working = master;
        } else {
            state_->working = Tensor<T, S, Dev>(master.rows(), master.cols(), master.pool());
        }
        state_->master = std::move(master);
    }

    const Tensor<T, S, Dev>& working() const { return state_->working; }
    Tensor<Master, S, Dev>& value() { return state_->master; }
    const Tensor<Master, S, Dev>& value() const { return state_->master; }
    Grad<Master, Dev> grad() const { return state_->grad; }
    bool empty() const { return state_ == nullptr; }
    std::weak_ptr<const void> owner() const { return state_; }

private:
    struct State {
        Tensor<Master, S, Dev> master;
        Tensor<T, S, Dev> working;
        Grad<Master, Dev> grad;
    };
    std::shared_ptr<State> state_;
};

// A Param or a Frozen: what an op may take as a weight.
template <class W>
concept Weight = std::convertible_to<decltype(W::trainable), bool> && requires(const W& w)
{
    w.working();
};

// A weight that goes with activations of T on Dev.
template <class W, class T, class Dev>
concept weight_for = same_element<typename W::Element, T> && same_device<typename W::On, Dev>;

// The gradient of a weight for the backward of an op that has used its values as they are now, or an empty handle where
// it has none.
template <Weight W> auto weight_grad(const W& w)
{
    if constexpr (W::trainable) {
        return w.grad().of_now();
    } else {
        return Grad<acc<typename W::Element>, typename W::On>();
    }
}

}  // namespace graft
