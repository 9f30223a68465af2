#pragma once
#include <cstdint>
#include <span>

#include "graft/core/inline.hpp"
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

Example probe_example(const ModelConfig& config);

template <class Model> double probe_loss(const Model& model)
{
    const Example example = probe_example(model.config);
    return evaluate(model, std::span(&example, 1), 1, model.positions(std::int64_t(example.ids.size())));
}

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/probe.ipp"
#endif
