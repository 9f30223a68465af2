#pragma once
#include <algorithm>
#include <cstdint>
#include <span>

#include "graft/core/random.hpp"
#include "graft/models/config.hpp"
#include "graft/text/dataset/example.hpp"
#include "graft/train/step.hpp"

// A text of no meaning that every run of a model can be asked about: what an adapter does to it when a run ends is what
// it must do when the next run begins. Needs no data of the earlier run, and gives none away.
//
//   probe_example(config)            up to 64 ids of the whole vocabulary, the same for every model of its size
//   probe_loss(model)                mean loss over them, without dropout
//
// On one processor with one build the loss is the same to the bit; elsewhere it is so within rounding.
namespace graft {

inline Example probe_example(const ModelConfig& config)
{
    const std::int64_t length =
        std::min({std::int64_t{64}, config.max_positions, config.sliding_window.value_or(config.max_positions)});
    const Philox random{.seed = stream_of("probe", 5)};
    Example out;
    for (std::int64_t t = 0; t < length; ++t) {
        out.ids.push_back(std::int32_t(random.below(std::uint64_t(config.vocab), 0, std::uint64_t(t))));
    }
    out.labels = out.ids;
    out.labels[0] = ignore;
    return out;
}

template <class Model> double probe_loss(const Model& model)
{
    const Example example = probe_example(model.config);
    return evaluate(model, std::span(&example, 1), 1, model.positions(std::int64_t(example.ids.size())));
}

}  // namespace graft
