#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/autograd/tape.hpp"
#include "graft/core/buffer.hpp"
#include "graft/core/device.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/core/view.hpp"
#include "graft/models/any.hpp"
#include "graft/nn/trained.hpp"
#include "graft/nn/visit.hpp"
#include "graft/ops/context.hpp"
#include "graft/optim/adamw.hpp"
#include "graft/text/dataset/example.hpp"
#include "graft/train/batches.hpp"

// The pieces of a training step: a batch onto a device, its loss and gradients, the loss of a set without training.
//
//   upload(batch, rope, …)       ids and context of a micro-batch
//   forward_backward(model, …)   adds the gradients of one micro-batch; returns its share of the step's loss
//   evaluate(model, …)           mean loss over all targets of a set, in f64
//   check_step(info, model, …)   throws NotFinite unless the optimiser's step was applied
//   check_model(model, …)        throws NotFinite where the loss of a batch is not finite any more: after the last
//                                step, as no later loss would tell
//   not_finite(model)            the first weight, or else gradient, that is not finite
//
// A loss or a gradient that is not finite ends in NotFinite, an Error that names the first bad tensor and the row of
// the data that it comes from; nothing is written and nothing applied. Rows are called as `sample` calls them, or by
// their number from 0.
//
// A loss is summed over targets and divided once, by the targets of the whole optimiser step (`scale`).
// The sample numbers that key dropout count the documents of the whole step: micro-batches draw what one batch would.
namespace graft {

template <Float T, Device Dev> struct DeviceBatch {
    Buffer<std::int32_t, Dev> ids;
    Context<T, Dev> context;
};

template <Float T, Device Dev = Cpu>
DeviceBatch<T, Dev> upload(const Batch& batch, std::shared_ptr<const RopeTable<acc<T>, Dev>> rope,
                           std::uint32_t first_sample = 0, const std::shared_ptr<Pool<Dev>>& pool = Pool<Dev>::common())
{
    DeviceBatch<T, Dev> out;
    std::vector<Segment> segments;
    for (std::size_t d = 0; d + 1 < batch.bounds.size(); ++d) {
        const std::int64_t begin = batch.bounds[d];
        segments.push_back({begin, batch.bounds[d + 1] - begin, begin, 0, first_sample + std::uint32_t(d)});
        require_positions(rope, batch.bounds[d + 1] - begin, "document " + std::to_string(d) + " of the batch");
    }
    out.ids = uploaded(std::span(batch.ids), pool);
    out.context.positions = uploaded(std::span(batch.positions), pool);
    out.context.segments = std::make_shared<const std::vector<Segment>>(std::move(segments));
    out.context.rope = std::move(rope);
    return out;
}

using RowName = std::function<std::string(std::int64_t row)>;

struct StepSettings {
    RandomKey random{};
    bool recompute = false;
    RowName sample{};  // what a row of the data is called in errors
};

namespace detail {

template <class A> bool all_finite(View<const A> view)
{
    for (std::int64_t i = 0; i < view.rows; ++i) {
        for (std::int64_t j = 0; j < view.cols(); ++j) {
            if (!std::isfinite(double(view.row(i)[j]))) { return false; }
        }
    }
    return true;
}

}  // namespace detail

// The first tensor of the model with a value, or else a gradient, that is not finite; empty where there is none.
template <class Model> std::string not_finite(const Model& model)
{
    std::string found;
    leaves(model, [&](const std::string& name, auto& leaf) {
        if constexpr (requires { leaf.value(); }) {
            using Value = std::remove_pointer_t<decltype(leaf.value().data())>;
            if (found.empty() && !detail::all_finite(View<const Value>(leaf.value().view()))) {
                found = "weight " + name;
            }
        }
    });
    leaves(model, [&](const std::string& name, auto& leaf) {
        if constexpr (std::remove_cvref_t<decltype(leaf)>::trainable) {
            const auto grad = leaf.grad();
            if (found.empty() && grad.written() && !detail::all_finite(grad.view())) { found = "gradient of " + name; }
        }
    });
    return found;
}

namespace detail {

// One document of a batch.
Batch document_of(const Batch& batch, std::size_t d);

// The row whose loss is not finite, by running the documents of a batch alone.
template <class Model, class Rope>
std::string bad_sample(const Model& model, const Batch& batch, const Rope& rope, const RowName& sample)
{
    const auto name = [&](std::size_t d) {
        return sample ? sample(batch.rows[d]) : "row " + std::to_string(batch.rows[d]) + " (from 0)";
    };
    for (std::size_t d = 0; d < batch.rows.size(); ++d) {
        const Batch one = document_of(batch, d);
        auto on_device = upload<typename Model::T, typename Model::Dev>(one, rope);
        if (!std::isfinite(item(model.loss(no_tape, on_device.ids, on_device.context, one.labels, 1.0)))) {
            return name(d);
        }
    }
    return batch.rows.empty() ? "none" : "the batch that begins with " + name(0);
}

template <class Model, class Rope>
std::string bad_loss(const Model& model, const Batch& batch, const Rope& rope, const RowName& sample)
{
    const std::string tensor = not_finite(model);
    return "the loss is not finite; "
           + (tensor.empty() ? "every weight is finite, an activation is not"
                             : "first bad tensor: " + tensor + " (so is one that was never loaded or filled)")
           + "; sample: " + bad_sample(model, batch, rope, sample);
}

}  // namespace detail

// `batch`: one of those whose gradients were added.
template <class Model, class Rope>
void check_step(const StepInfo& info, const Model& model, const Batch& batch, const Rope& rope,
                const RowName& sample = {})
{
    if (info.applied) { return; }
    throw NotFinite("a gradient is not finite: gradient of " + info.not_finite
                    + "; sample: " + detail::bad_sample(model, batch, rope, sample));
}

template <class Model, class Rope>
double forward_backward(const Model& model, const Batch& batch, const Rope& rope, std::uint32_t first_sample,
                        double scale, const StepSettings& settings)
{
    auto on_device = upload<typename Model::T, typename Model::Dev>(batch, rope, first_sample);
    on_device.context.training = true;
    on_device.context.recompute = settings.recompute;
    on_device.context.random = settings.random;
    Tape tape;
    const auto loss = model.loss(tape, on_device.ids, on_device.context, batch.labels, scale);
    if (!std::isfinite(item(loss))) { throw NotFinite(detail::bad_loss(model, batch, rope, settings.sample)); }
    tape.backward(loss);
    return item(loss);
}

template <class Model, class Rope>
void check_model(const Model& model, const Batch& batch, const Rope& rope, const RowName& sample = {})
{
    auto on_device = upload<typename Model::T, typename Model::Dev>(batch, rope);
    const auto loss = model.loss(no_tape, on_device.ids, on_device.context, batch.labels, 1.0);
    if (!std::isfinite(item(loss))) { throw NotFinite(detail::bad_loss(model, batch, rope, sample)); }
}

// Mean over all targets, not over batches; `rows` examples at a time.
template <class Model, class Rope>
double evaluate(const Model& model, std::span<const Example> examples, std::int64_t rows, const Rope& rope)
{
    double sum = 0;
    std::int64_t count = 0;
    Batches batches(examples, {.batch = rows, .shuffle = false});
    for (std::int64_t step = 0; step < batches.steps_per_epoch(); ++step) {
        for (const Batch& batch : batches.micro_batches(step)) {
            auto on_device = upload<typename Model::T, typename Model::Dev>(batch, rope);
            sum += item(model.loss(no_tape, on_device.ids, on_device.context, batch.labels, 1.0));
            count += batch.targets;
        }
    }
    return count == 0 ? 0.0 : sum / double(count);
}

#if !GRAFT_HEADER_ONLY  // compiled once: parts/models.hpp
#define GRAFT_EXTERN(T)                                                                                                \
    extern template AdamW<T, Cpu>::AdamW(AnyModel<T>&, AdamWOptions);                                                  \
    extern template std::string not_finite(const AnyModel<T>&);                                                        \
    extern template double forward_backward(const AnyModel<T>&, const Batch&,                                          \
                                            const std::shared_ptr<const RopeTable<acc<T>, Cpu>>&, std::uint32_t,       \
                                            double, const StepSettings&);                                              \
    extern template void check_model(const AnyModel<T>&, const Batch&,                                                 \
                                     const std::shared_ptr<const RopeTable<acc<T>, Cpu>>&, const RowName&);            \
    extern template double evaluate(const AnyModel<T>&, std::span<const Example>, std::int64_t,                        \
                                    const std::shared_ptr<const RopeTable<acc<T>, Cpu>>&);
GRAFT_EXTERN(float)
GRAFT_EXTERN(bf16)
GRAFT_EXTERN(double)
#undef GRAFT_EXTERN
#endif

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/step.ipp"
#endif
