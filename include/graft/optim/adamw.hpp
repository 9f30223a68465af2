#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/nn/trained.hpp"
#include "graft/optim/clip.hpp"

// AdamW with decoupled weight decay.
//
//   g <- factor g                                       factor clips the global norm (clip.hpp)
//   p <- p (1 - lr wd)                                  matrices only: norm weights and biases do not decay
//   m <- m + (1 - b1)(g - m)      v <- b2 v + (1 - b2) g^2
//   p <- p - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)        t counts this tensor's own steps from 1
//
// State in acc<T>, 8 bytes a parameter for f32, which comes into being with the first step. A tensor without a gradient
// is left alone, its state too. step() gives the gradients' memory back and refreshes the working copies. What it did
// it returns; gradients that are not finite change nothing, and are left to be looked at.
//
// Does not compile: a const model.
// Throws: Error, before anything is changed,
//   when it is made    nothing is trained; gradients are there already; a rate or another number that cannot be
//   in step()          the model trains other tensors than when it was made (an adapter was added or taken off, a
//                      weight frozen, unfrozen or replaced); there is no gradient at all; gradients of a step that was
//                      not applied are still there, or were formed with other values than the weights have now
// Source: Loshchilov and Hutter 2019, arXiv:1711.05101; the order of operations is that of torch.optim.AdamW.
namespace graft {

struct AdamWOptions {
    double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
    double clip = 0;                        // largest global gradient norm; 0: none
    std::map<std::string, double> rates{};  // instead of lr, of tensors by name
};

struct AdamWOp {};

// What a step did.
struct StepInfo {
    double grad_norm = 0;      // before clipping
    std::int64_t tensors = 0;  // that were stepped
    bool applied = false;
    std::string not_finite{};  // the first tensor whose gradient is not finite; empty where all are

    bool finite() const { return not_finite.empty(); }
    // Throws Error unless the step was applied.
    const StepInfo& check() const
    {
        require(applied, [&] {
            return "AdamW: the gradient of " + not_finite
                   + " is not finite; the step was not applied: a smaller "
                     "learning rate, or clipping, keeps weights finite";
        });
        return *this;
    }
};

template <Float T, Device Dev = Cpu> class AdamW {
public:
    struct State {
        Tensor<acc<T>, Shape<dyn, dyn>, Dev> m, v;
        std::int64_t steps = 0;
    };

    template <class Model>
        requires(!std::same_as<std::remove_const_t<Model>, AdamW>)
    explicit AdamW(Model& model, AdamWOptions options = {}) : options_(std::move(options))
    {
        static_assert(!std::is_const_v<Model>, "AdamW: the model is const, and a step changes it: pass one that is "
                                               "not.");
        check_options();
        if constexpr (!std::is_const_v<Model>) {
            trained_ = trained_tensors(model);
            watch(model);
        }
        state_.resize(trained_.size());
        require(!trained_.empty(), "AdamW: the model has nothing to train: every weight of it is frozen");
        std::size_t named = 0;
        for (const auto& tensor : trained_) {
            require(!tensor.grad.written(), [&] {
                return "AdamW: " + tensor.name
                       + " has a gradient already, from before this optimiser was made: "
                         "clear_gradients(model) forgets it, or make the optimiser before the first backward";
            });
            const auto own = options_.rates.find(tensor.name);
            named += own != options_.rates.end();
            rates_.push_back(own == options_.rates.end() ? options_.lr : own->second);
        }
        require(named == options_.rates.size(), "AdamW: a rate is given for a tensor that is not trained");
    }

    std::span<const TrainedTensor<T, Dev>> trained() const { return trained_; }
    std::span<State> state() { return state_; }

    // One step with the rates of the options times `factor`.
    [[nodiscard]] StepInfo step(double factor = 1.0);
    void clear_gradients()
    {
        for (auto& tensor : trained_) { tensor.grad.clear(); }
    }

private:
    void check_options() const;
    // Models that cannot gain tensors need no anchor: what they lose is seen by its owner.
    template <class Model> void watch(Model& model)
    {
        if constexpr (requires { requires std::same_as<decltype(model.anchor), ModelAnchor>; }) {
            const auto offset = reinterpret_cast<const char*>(&model.anchor) - reinterpret_cast<const char*>(&model);
            now_ = [cell = model.anchor.cell(), offset](auto& found) {
                if (*cell == nullptr) { return false; }
                const char* at = reinterpret_cast<const char*>(*cell) - offset;
                found = trained_tensors(*const_cast<Model*>(reinterpret_cast<const Model*>(at)));
                return true;
            };
        }
    }
    void check_model() const;
    void check_gradients();
    void step_tensor(std::size_t i, double clip, double rate);
    AdamWOptions options_;
    std::vector<TrainedTensor<T, Dev>> trained_;
    std::vector<State> state_;
    std::vector<double> rates_;                                     // of each tensor
    std::function<bool(std::vector<TrainedTensor<T, Dev>>&)> now_;  // what the model trains now; false: it is gone
    std::optional<std::size_t> left_;  // whose gradient kept the last step from being applied,
    std::uint64_t born_ = 0;           // and which of its gradients that was
};

template <Float T, Device Dev> StepInfo AdamW<T, Dev>::step(double factor)
{
    require(std::isfinite(factor) && factor >= 0, [&] {
        return "AdamW: the factor of the learning rate must be a finite number of at least 0, found "
               + std::to_string(factor);
    });
    check_model();
    check_gradients();
    StepInfo info{.grad_norm = grad_norm<T, Dev>(trained_)};
    if (!std::isfinite(info.grad_norm)) {
        left_ = detail::first_not_finite<T, Dev>(trained_);
        born_ = trained_[*left_].grad.births();
        info.not_finite = trained_[*left_].name;
        return info;
    }
    const double clip = clip_factor(info.grad_norm, options_.clip);
    for (std::size_t i = 0; i < trained_.size(); ++i) {
        if (!trained_[i].grad.written()) { continue; }
        step_tensor(i, clip, rates_[i] * factor);
        ++info.tensors;
    }
    clear_gradients();
    info.applied = true;
    return info;
}

template <Float T, Device Dev> void AdamW<T, Dev>::check_options() const
{
    const auto& o = options_;
    const auto rate = [](double x) { return std::isfinite(x) && x >= 0; };
    require(rate(o.lr), "AdamW: lr must be a finite number of at least 0");
    for (const auto& own : o.rates) {
        require(rate(own.second),
                [&] { return "AdamW: the rate of " + own.first + " must be a finite number of at least 0"; });
    }
    require(o.beta1 >= 0 && o.beta1 < 1 && o.beta2 >= 0 && o.beta2 < 1,
            "AdamW: beta1 and beta2 must be at least 0 and below 1");
    require(rate(o.eps) && rate(o.weight_decay) && rate(o.clip),
            "AdamW: eps, weight_decay and clip must be finite numbers of at least 0");
}

template <Float T, Device Dev> void AdamW<T, Dev>::check_model() const
{
    const char* const again = "; make the optimiser once the model is as it is to be trained";
    std::vector<TrainedTensor<T, Dev>> now;
    const bool seen = now_ && now_(now);
    const auto has = [](const auto& list, const auto& tensor, std::size_t near) {
        if (near < list.size() && list[near].grad.same_as(tensor.grad)) { return true; }
        return std::any_of(list.begin(), list.end(), [&](const auto& t) { return t.grad.same_as(tensor.grad); });
    };
    for (std::size_t i = 0; i < trained_.size(); ++i) {
        require(!trained_[i].owner.expired() && (!seen || has(now, trained_[i], i)), [&] {
            return "AdamW: the model does not train " + trained_[i].name
                   + " any more, which it did when this "
                     "optimiser was made (it was frozen, replaced or taken off)"
                   + again;
        });
    }
    for (std::size_t i = 0; i < now.size(); ++i) {
        require(has(trained_, now[i], i), [&] {
            return "AdamW: the model trains " + now[i].name
                   + ", which it did not when this optimiser was made (an "
                     "adapter was added, or a weight unfrozen)"
                   + again;
        });
    }
}

template <Float T, Device Dev> void AdamW<T, Dev>::check_gradients()
{
    if (left_) {
        const auto& tensor = trained_[*left_];
        require(!tensor.grad.written() || tensor.grad.births() != born_, [&] {
            return "AdamW: the gradients of the step before are still there: that of " + tensor.name
                   + " was not "
                     "finite, and the step was not applied; stop there, or clear_gradients() before going on";
        });
        left_.reset();
    }
    bool any = false;
    for (const auto& tensor : trained_) {
        any = any || tensor.grad.written();
        require(!tensor.grad.outdated(), [&] {
            return "AdamW: the gradient of " + tensor.name
                   + " was formed before its values changed (another "
                     "optimiser's step, or a load): clear_gradients(), and go backward again, or, where another "
                     "point's gradient is meant, accept_gradients(model)";
        });
    }
    require(any, "AdamW: step() without a gradient: nothing of what is trained was reached by a backward since the "
                 "last step; go backward first, and leave out the step of a batch that has no target");
}

template <Float T, Device Dev> void AdamW<T, Dev>::step_tensor(std::size_t i, double clip, double rate)
{
    auto& tensor = trained_[i];
    auto& state = state_[i];
    const bool fresh = state.m.empty();
    if (fresh) {
        state.m = {tensor.value.rows(), tensor.value.cols(), tensor.value.pool()};
        state.v = {tensor.value.rows(), tensor.value.cols(), tensor.value.pool()};
    }
    ++state.steps;
    compute(tensor.value.pool(), [&] {
        kernel<AdamWOp, Dev>::step(tensor.value.view(), state.m.view(), state.v.view(), tensor.grad.view(), fresh, clip,
                                   rate, tensor.decays ? options_.weight_decay : 0.0, options_, state.steps,
                                   tensor.value.pool()->stream());
    });
    refresh(tensor);
}

template <class Model> AdamW(Model&, AdamWOptions) -> AdamW<typename Model::T, typename Model::Dev>;
template <class Model> AdamW(Model&) -> AdamW<typename Model::T, typename Model::Dev>;

#if !GRAFT_HEADER_ONLY  // compiled once: parts/models.hpp
#define GRAFT_EXTERN(T) extern template class AdamW<T, Cpu>;
GRAFT_EXTERN(float)
GRAFT_EXTERN(bf16)
GRAFT_EXTERN(double)
#undef GRAFT_EXTERN
#endif

}  // namespace graft
