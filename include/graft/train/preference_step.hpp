#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
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
#include "graft/models/any.hpp"
#include "graft/ops/context.hpp"
#include "graft/ops/linear_log_probs.hpp"
#include "graft/text/dataset/example.hpp"
#include "graft/train/batches.hpp"
#include "graft/train/preference.hpp"
#include "graft/train/step.hpp"

// The pieces of a step of preference training: step.hpp for pairs.
//
//   collate_pairs(data, pairs)           a micro-batch: the chosen answers of these pairs, then the rejected ones
//   reference_log_probs(model, data, …)  what the reference says of every answer, once, before training: two numbers a
//                                        pair, after which the reference is not needed any more
//   preference_forward_backward(model, …)  adds the gradients of one micro-batch, and its pairs to the sums of the
//                                        metrics; returns its share of the step's loss
//   evaluate_preference(model, …)        mean loss over all pairs of a set
//
// A step's loss is the mean over its pairs (scale: 1 / pairs). Log-probabilities come from the fused head, of answers
// alone: no logits are held, and prompts cost no head product. Dropout is off, in the policy as in the reference, which
// is what makes log-probabilities that were formed before training those of the reference in it.
//
// With share_prompt the prompt of a pair is computed once: its rows are keys of both answers (key_rows of a Context),
// which saves its share of all linear layers. Equal to the separate computation but for rounding.
// Throws: Error where the numbers of examples, prompts and reference log-probabilities do not agree, or
// the options are none (require_preference); NotFinite.
namespace graft {

struct PreferenceData {
    std::span<const Example> examples;      // of pair i: 2 i chosen, 2 i + 1 rejected
    std::span<const std::int64_t> prompts;  // of pair i: the tokens that both sides begin with
    PreferenceOptions options = {};
    bool share_prompt = false;
    std::vector<double> reference = {};  // of each example

    std::int64_t pairs() const { return std::int64_t(examples.size() / 2); }
};

Batch collate_pairs(const PreferenceData& data, std::span<const std::int64_t> pairs);

namespace detail {

// Tokens of an answer: the first one counts even where there is no prompt to predict it from.
std::int64_t answer_tokens(const PreferenceData& data, std::int64_t row);

// The pair at position i of a batch of n.
AnswerPair answer_pair(const PreferenceData& data, const Batch& batch, const double* sums, std::int64_t i);

}  // namespace detail

namespace detail {

// A batch of pairs as the model sees it.
template <Float T, Device Dev> struct PairCall {
    DeviceBatch<T, Dev> input;
    ScoredRows scored;
};

// Every answer behind a prompt of its own: every label goes into the sum of its document.
ScoredRows scored_rows(const Batch& batch);

// Prompt, chosen and rejected answer of each pair behind each other: the rejected one stands at the positions behind
// the prompt, sees the prompt and itself, and its first token is scored by the prompt's last row.
struct SharedPairs {
    Batch batch;
    std::vector<Segment> segments;
    std::vector<std::int32_t> key_rows;
    ScoredRows scored;
};

SharedPairs share_prompts(const PreferenceData& data, const Batch& batch);

template <Float T, Device Dev>
PairCall<T, Dev> upload_pairs(const PreferenceData& data, const Batch& batch,
                              std::shared_ptr<const RopeTable<acc<T>, Dev>> rope,
                              const std::shared_ptr<Pool<Dev>>& pool = Pool<Dev>::common())
{
    if (!data.share_prompt) { return {upload<T, Dev>(batch, std::move(rope), 0, pool), scored_rows(batch)}; }
    auto shared = share_prompts(data, batch);
    auto input = upload<T, Dev>(shared.batch, std::move(rope), 0, pool);
    input.context.segments = std::make_shared<const std::vector<Segment>>(std::move(shared.segments));
    input.context.key_rows = uploaded(std::span(shared.key_rows), pool);
    return {std::move(input), std::move(shared.scored)};
}

}  // namespace detail

// Log-probabilities of all answers of a batch, chosen ones first.
template <class Model, class Rope>
auto answer_log_probs(TapeRef tape, const Model& model, const PreferenceData& data, const Batch& batch,
                      const Rope& rope, bool recompute = false)
{
    auto call = detail::upload_pairs<typename Model::T, typename Model::Dev>(data, batch, rope);
    call.input.context.recompute = recompute;
    return model.log_probs(tape, call.input.ids, call.input.context, call.scored);
}

// Batches of `pairs` pairs, in the order of the data.
template <class Use> void each_pair_batch(const PreferenceData& data, std::int64_t pairs, Use&& use)
{
    require(data.prompts.size() * 2 == data.examples.size(), "a preference pair needs two examples and one prompt");
    for (std::int64_t first = 0; first < data.pairs(); first += pairs) {
        std::vector<std::int64_t> some;
        for (auto i = first; i < std::min(first + pairs, data.pairs()); ++i) { some.push_back(i); }
        use(collate_pairs(data, some));
    }
}

template <class Model, class Rope>
std::vector<double> reference_log_probs(const Model& model, const PreferenceData& data, std::int64_t pairs,
                                        const Rope& rope)
{
    std::vector<double> out(data.examples.size());
    each_pair_batch(data, pairs, [&](const Batch& batch) {
        const auto sums = answer_log_probs(no_tape, model, data, batch, rope);
        for (std::size_t d = 0; d < batch.rows.size(); ++d) {
            const auto& example = data.examples[std::size_t(batch.rows[d])];
            require(std::isfinite(sums.data()[d]), [&] {
                return example.source + ": row " + std::to_string(example.row)
                       + ": the reference gives this answer no finite log-probability";
            });
            out[std::size_t(batch.rows[d])] = sums.data()[d];
        }
    });
    return out;
}

template <class Model, class Rope>
double preference_forward_backward(const Model& model, const PreferenceData& data, const Batch& batch, const Rope& rope,
                                   double scale, bool recompute, PreferenceMetrics& sums_of_pairs,
                                   const RowName& sample = {})
{
    require(data.reference.size() == data.examples.size(), "preference training needs the reference of every answer");
    require_preference(data.options);
    Tape tape;
    const auto sums = answer_log_probs(tape, model, data, batch, rope, recompute);
    const std::int64_t pairs = batch.documents() / 2;
    std::vector<double> slopes(std::size_t(2 * pairs));
    double loss = 0;
    for (std::int64_t i = 0; i < pairs; ++i) {
        const auto pair = detail::answer_pair(data, batch, sums.data(), i);
        const auto found = preference_loss(pair, data.options);
        loss += scale * found.loss;
        slopes[std::size_t(i)] = scale * found.chosen, slopes[std::size_t(i + pairs)] = scale * found.rejected;
        add_pair(sums_of_pairs, pair, data.options.beta);
    }
    if (!std::isfinite(loss)) { throw NotFinite(detail::bad_loss(model, batch, rope, sample)); }
    if (sums.needs_grad()) {
        const auto sink = sums.grad().sink();
        std::copy(slopes.begin(), slopes.end(), sink.view.data);
        tape.run();
    }
    return loss;
}

template <class Model, class Rope>
double evaluate_preference(const Model& model, const PreferenceData& data, std::int64_t pairs, const Rope& rope)
{
    double sum = 0;
    require(data.reference.size() == data.examples.size(), "preference training needs the reference of every answer");
    require_preference(data.options);
    each_pair_batch(data, pairs, [&](const Batch& batch) {
        const auto sums = answer_log_probs(no_tape, model, data, batch, rope);
        for (std::int64_t i = 0; i < batch.documents() / 2; ++i) {
            sum += preference_loss(detail::answer_pair(data, batch, sums.data(), i), data.options).loss;
        }
    });
    return sum / double(std::max<std::int64_t>(1, data.pairs()));
}

#if !GRAFT_HEADER_ONLY  // compiled once: parts/models.hpp
#define GRAFT_EXTERN(T)                                                                                                \
    extern template std::vector<double> reference_log_probs(const AnyModel<T>&, const PreferenceData&, std::int64_t,   \
                                                            const std::shared_ptr<const RopeTable<acc<T>, Cpu>>&);     \
    extern template double preference_forward_backward(const AnyModel<T>&, const PreferenceData&, const Batch&,        \
                                                       const std::shared_ptr<const RopeTable<acc<T>, Cpu>>&, double,   \
                                                       bool, PreferenceMetrics&, const RowName&);                      \
    extern template double evaluate_preference(const AnyModel<T>&, const PreferenceData&, std::int64_t,                \
                                               const std::shared_ptr<const RopeTable<acc<T>, Cpu>>&);
GRAFT_EXTERN(float)
GRAFT_EXTERN(bf16)
GRAFT_EXTERN(double)
#undef GRAFT_EXTERN
#endif

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/preference_step.ipp"
#endif
