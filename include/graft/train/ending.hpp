#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "graft/core/device.hpp"
#include "graft/core/dtype.hpp"
#include "graft/core/inline.hpp"
#include "graft/core/random.hpp"
#include "graft/core/shape.hpp"
#include "graft/core/tensor.hpp"
#include "graft/models/any.hpp"
#include "graft/ops/context.hpp"
#include "graft/text/dataset/example.hpp"
#include "graft/train/step.hpp"

// Why what a model says does not end: measured on the model and on the data that it was trained on.
//
//   answer_length(example, stops)          targets from the first one to the first token that ends a text, or to where
//                                          the targets break off
//   measure_ending(model, examples, stops, rope)   what data and model say of the token that ends a text (Ending)
//   why_endless(ending, token, …)          the first of these reasons that holds, as a sentence:
//
//   1. no token is known that ends a text, or none is a target in any row
//   2. it is learnt: at most of the places of the data where it is due it is the likeliest; the samples say something
//      else than the data
//   3. its row of the head looks untrained, and the run does not train it: other tokens have the same row, to 1 % of
//      its length, or it is shorter than a tenth of the median row. Tokens that no text holds are all pushed the same
//      way by the softmax, so that their rows become one; nothing below the head can tell them apart
//   4. it is not learnt yet
//
// Places: the first end in each of up to 8 rows, spread over the data, given the row up to there. Rows of the head are
// compared through 32 random directions, so that an adapter on the head counts, and what T has: lengths are right to
// about a tenth, and equal rows are equal.
namespace graft {

struct Ending {
    std::int64_t rows = 0, rows_ending = 0;  // examples; those with a token among their targets that ends a text
    std::int32_t token = -1;                 // the one of them that is a target most often
    std::int64_t places = 0, likeliest = 0;  // places looked at; those where no token is likelier
    double probability = 0;                  // of the token there: the geometric mean
    std::int64_t twins = 0;                  // other tokens with the same row of the head
    double norm = 0, median_norm = 0;        // of its row, and of all rows

    bool untrained() const { return twins > 0 || norm < 0.1 * median_norm; }
};

namespace detail {

bool ends_text(std::int32_t id, std::span<const std::int64_t> stops);

// All logits of each row of h, on the host.
template <class Model, class Rows>
std::vector<double> head_logits(const Model& model, const Rows& h,
                                const Context<typename Model::T, typename Model::Dev>& context)
{
    using T = typename Model::T;
    const auto z = model.scorer().logits(h, context);
    std::vector<T> host(std::size_t(z.rows() * z.cols()));
    for (std::int64_t i = 0; i < z.rows(); ++i) {
        memory<typename Model::Dev>::copy(host.data() + i * z.cols(), z.view().row(i),
                                          std::size_t(z.cols()) * sizeof(T), z.pool()->stream());
    }
    return {host.begin(), host.end()};
}

// The row of the token against all others.
template <class Model> void measure_rows(const Model& model, Ending& out)
{
    using T = typename Model::T;
    using Dev = typename Model::Dev;
    constexpr std::int64_t directions = 32;
    const std::int64_t dim = model.config.dim, vocab = model.config.vocab;
    const Philox random{.seed = stream_of("ending", 6)};
    std::vector<T> host(static_cast<std::size_t>(directions * dim));
    for (std::size_t i = 0; i < host.size(); ++i) {
        const auto words = random(0, i);
        host[i] = T(acc<T>(Philox::normal(words[0], words[1])));
    }
    auto h = Tensor<T, Shape<dyn, Model::X::last>, Dev>(directions, dim);
    for (std::int64_t i = 0; i < directions; ++i) {
        memory<Dev>::copy(h.view().row(i), host.data() + i * dim, std::size_t(dim) * sizeof(T), h.pool()->stream());
    }
    const auto z = head_logits(model, h, {});
    std::vector<double> norms(static_cast<std::size_t>(vocab)), apart(static_cast<std::size_t>(vocab));
    for (std::int64_t k = 0; k < directions; ++k) {
        const double* row = z.data() + k * vocab;
        for (std::int64_t j = 0; j < vocab; ++j) {
            const double from = row[j] - row[out.token];
            norms[std::size_t(j)] += row[j] * row[j], apart[std::size_t(j)] += from * from;
        }
    }
    const double own = norms[std::size_t(out.token)];
    for (std::int64_t j = 0; j < vocab; ++j) { out.twins += j != out.token && apart[std::size_t(j)] <= 1e-4 * own; }
    std::nth_element(norms.begin(), norms.begin() + std::ptrdiff_t(vocab / 2), norms.end());
    out.norm = std::sqrt(own / directions);
    out.median_norm = std::sqrt(norms[std::size_t(vocab / 2)] / directions);
}

// The probability of the token behind this example, whose last label it is.
template <class Model, class Rope>
void measure_place(const Model& model, const Example& until, const Rope& rope, Ending& out, double& log_sum)
{
    using T = typename Model::T;
    using Dev = typename Model::Dev;
    const std::int64_t row = 0;
    const auto on_device = upload<T, Dev>(collate(std::span(&until, 1), std::span(&row, 1)), rope);
    const auto hidden = model.hidden(no_tape, on_device.ids, on_device.context);
    auto last = Tensor<T, Shape<dyn, Model::X::last>, Dev>(1, hidden.cols());
    memory<Dev>::copy(last.data(), hidden.view().row(hidden.rows() - 1), std::size_t(hidden.cols()) * sizeof(T),
                      hidden.pool()->stream());
    const auto z = head_logits(model, last, on_device.context);
    const double largest = *std::max_element(z.begin(), z.end()), own = z[std::size_t(out.token)];
    double sum = 0;
    for (const double value : z) { sum += std::exp(value - largest); }
    log_sum += own - largest - std::log(sum);
    out.likeliest += std::max_element(z.begin(), z.end()) - z.begin() == out.token;  // the lower id on a tie
    ++out.places;
}

}  // namespace detail

std::int64_t answer_length(const Example& example, std::span<const std::int64_t> stops);

template <class Model, class Rope>
Ending measure_ending(const Model& model, std::span<const Example> examples, std::span<const std::int64_t> stops,
                      const Rope& rope)
{
    Ending out{.rows = std::int64_t(examples.size())};
    std::map<std::int32_t, std::int64_t> targets;
    std::vector<std::int64_t> ending;
    for (std::size_t i = 0; i < examples.size(); ++i) {
        bool ends = false;
        for (std::size_t t = 1; t < examples[i].labels.size(); ++t) {  // a first token is given, not learnt
            if (!detail::ends_text(examples[i].labels[t], stops)) { continue; }
            ends = true, ++targets[examples[i].labels[t]];
        }
        if (ends) { ending.push_back(std::int64_t(i)); }
    }
    out.rows_ending = std::int64_t(ending.size());
    if (ending.empty()) { return out; }
    out.token = std::max_element(targets.begin(), targets.end(), [](const auto& a, const auto& b) {
                    return a.second < b.second;
                })->first;
    detail::measure_rows(model, out);
    const std::int64_t looked = std::min<std::int64_t>(out.rows_ending, 8);
    double log_sum = 0;
    for (std::int64_t k = 0; k < looked; ++k) {
        const auto& example = examples[std::size_t(ending[std::size_t(k * out.rows_ending / looked)])];
        const auto found = std::find(example.labels.begin() + 1, example.labels.end(), out.token);
        if (found == example.labels.end()) { continue; }  // it ends with another of the tokens
        Example until = example;
        until.ids.resize(std::size_t(found - example.labels.begin()));
        until.labels.resize(until.ids.size());
        detail::measure_place(model, until, rope, out, log_sum);
    }
    out.probability = out.places == 0 ? 0 : std::exp(log_sum / double(out.places));
    return out;
}

struct EndlessOptions {
    std::string token{};       // the text of ending.token
    std::string stops{};       // all that end a text, "</s> (2) and <|im_end|> (513)"; empty: none is known
    bool row_trained = false;  // the run trains the token's row of the head
    bool tied = false;         // the head is the embedding
    bool continued = false;    // an adapter is trained on, which keeps what it trains
};

std::string why_endless(const Ending& e, const EndlessOptions& o);

#if !GRAFT_HEADER_ONLY  // compiled once: parts/models.hpp
#define GRAFT_EXTERN(T)                                                                                                \
    extern template Ending measure_ending(const AnyModel<T>&, std::span<const Example>, std::span<const std::int64_t>, \
                                          const std::shared_ptr<const RopeTable<acc<T>, Cpu>>&);
GRAFT_EXTERN(float)
GRAFT_EXTERN(bf16)
GRAFT_EXTERN(double)
#undef GRAFT_EXTERN
#endif

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/ending.ipp"
#endif
