#pragma once
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "graft/core/parallel.hpp"
#include "graft/optim/clip.hpp"
#include "graft/nn/trained.hpp"

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
        : options_(options), trained_(trained_tensors(model)), state_(trained_.size()) {}

    std::span<const TrainedTensor<T, Dev>> trained() const { return trained_; }
    std::span<State>                       state() { return state_; }

    // One step with the rate of the options times `factor`. A gradient norm that is not finite changes nothing.
    StepInfo step(double factor = 1.0) { return step_at(options_.lr * factor); }
    StepInfo step_at(double lr)
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
                kernel<AdamWOp, Dev>::step(tensor.value.view(), state.m.view(), state.v.view(), tensor.grad.view(), fresh,
                                           clip, lr, tensor.decays ? options_.weight_decay : 0.0, options_, state.steps,
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
};

template <class Model> AdamW(Model&, AdamWOptions) -> AdamW<typename Model::T, typename Model::Dev>;
template <class Model> AdamW(Model&) -> AdamW<typename Model::T, typename Model::Dev>;

template <> struct kernel<AdamWOp, Cpu> {
    template <class A>
    static void step(View<A> p, View<A> m, View<A> v, View<const A> g, bool fresh, double clip, double lr, double decay,
                     const AdamWOptions& o, std::int64_t t, memory<Cpu>::Stream)
    {
        // 1 - b is formed in f64: 1 - 0.999f is off by 1.3e-5 of itself.
        const A keep = A(1 - lr * decay), b2 = A(o.beta2), new1 = A(1 - o.beta1), new2 = A(1 - o.beta2);
        const A eps = A(o.eps), factor = A(clip);
        const A rate = A(lr / (1 - std::pow(o.beta1, double(t)))), root = A(std::sqrt(1 - std::pow(o.beta2, double(t))));
        parallel_rows(p.rows, 16, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                A *pi = p.row(i), *mi = m.row(i), *vi = v.row(i);
                const A* gi = g.row(i);
                for (std::int64_t j = 0; j < p.cols(); ++j) {
                    const A grad = gi[j] * factor, m0 = fresh ? A(0) : mi[j], v0 = fresh ? A(0) : vi[j];
                    mi[j] = m0 + new1 * (grad - m0);
                    vi[j] = b2 * v0 + new2 * grad * grad;
                    pi[j] = pi[j] * keep - rate * mi[j] / (std::sqrt(vi[j]) / root + eps);
                }
            }
        });
    }
};

}  // namespace graft
