#pragma once
#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

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
// is left alone, its state too. step() gives the gradients' memory back and refreshes the working copies.
// Source: Loshchilov and Hutter 2019, arXiv:1711.05101; the order of operations is that of torch.optim.AdamW.
namespace graft {

struct AdamWOptions {
    double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
    double clip = 0;    // largest global gradient norm; 0: none
    std::map<std::string, double> rates{};    // instead of lr, of tensors by name
};

struct AdamWOp {};

struct StepInfo {
    double grad_norm = 0;    // before clipping
};

template <Float T, Device Dev = Cpu> class AdamW {
public:
    struct State {
        Tensor<acc<T>, Shape<dyn, dyn>, Dev> m, v;
        std::int64_t steps = 0;
    };

    template <class Model>
        requires(!std::same_as<Model, AdamW>)
    explicit AdamW(Model& model, AdamWOptions options = {})
        : options_(options), trained_(trained_tensors(model)), state_(trained_.size())
    {
        require(!trained_.empty(), "AdamW: the model has nothing to train: every weight of it is frozen");
        std::size_t named = 0;
        for (const auto& tensor : trained_) {
            const auto own = options_.rates.find(tensor.name);
            named += own != options_.rates.end();
            rates_.push_back(own == options_.rates.end() ? options_.lr : own->second);
        }
        require(named == options_.rates.size(), "AdamW: a rate is given for a tensor that is not trained");
    }

    std::span<const TrainedTensor<T, Dev>> trained() const { return trained_; }
    std::span<State>                       state() { return state_; }

    // One step with the rates of the options times `factor`. A gradient norm that is not finite changes nothing.
    StepInfo step(double factor = 1.0)
    {
        const StepInfo info{grad_norm<T, Dev>(trained_)};
        if (!std::isfinite(info.grad_norm)) { return info; }
        const double clip = clip_factor(info.grad_norm, options_.clip);
        for (std::size_t i = 0; i < trained_.size(); ++i) {
            auto& tensor = trained_[i];
            auto& state = state_[i];
            if (!tensor.grad.written()) { continue; }
            const bool fresh = state.m.empty();
            if (fresh) {
                state.m = {tensor.value.rows(), tensor.value.cols(), tensor.value.pool()};
                state.v = {tensor.value.rows(), tensor.value.cols(), tensor.value.pool()};
            }
            ++state.steps;
            compute(tensor.value.pool(), [&] {
                kernel<AdamWOp, Dev>::step(tensor.value.view(), state.m.view(), state.v.view(), tensor.grad.view(),
                    fresh, clip, rates_[i] * factor, tensor.decays ? options_.weight_decay : 0.0, options_, state.steps,
                    tensor.value.pool()->stream());
            });
            refresh(tensor);
        }
        clear_gradients();
        return info;
    }
    void clear_gradients()
    {
        for (auto& tensor : trained_) { tensor.grad.clear(); }
    }

private:
    AdamWOptions                       options_;
    std::vector<TrainedTensor<T, Dev>> trained_;
    std::vector<State>                 state_;
    std::vector<double>                rates_;    // of each tensor
};

template <class Model> AdamW(Model&, AdamWOptions) -> AdamW<typename Model::T, typename Model::Dev>;
template <class Model> AdamW(Model&) -> AdamW<typename Model::T, typename Model::Dev>;

}  // namespace graft
