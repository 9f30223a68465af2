#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/core/random.hpp"
#include "graft/models/any.hpp"
#include "graft/models/llama.hpp"

// Text from a model, token by token, with a KV cache.
//
//   generate(model, prompt, {.max_tokens = 64}, on_token)    the new tokens, without the stop token
//
// temperature 0 is greedy: the largest logit, the lower id on a tie. Otherwise softmax(z / temperature), cut to the
// fewest tokens whose probability reaches top_p; drawn with Philox keyed by (seed, place), in f64.
// Where the angles of positions follow the length (models/rope.hpp), they are those of prompt and answer so far:
// dynamic keeps the keys that it has turned before, as others do; longrope reads the text again when it passes its
// border.
// on_token(id) is called for each token as it comes; it may return false to end.
//
// Throws: Error for an empty prompt, for options that are no numbers, where prompt and max_tokens exceed
// covered_positions(config), and for logits that are no numbers or +inf (-inf may rule a token out, but not all of
// them).
namespace graft {

struct GenerateOptions {
    std::int64_t max_tokens = 256;
    double temperature = 0, top_p = 1;
    std::uint64_t seed = 42;
    std::vector<std::int64_t> stop{};  // ids that end the text
};

namespace detail {

template <class A> std::int32_t choose(const A* z, std::int64_t vocab, const GenerateOptions& o, std::int64_t place)
{
    constexpr double inf = std::numeric_limits<double>::infinity();
    std::int32_t best = 0;
    for (std::int64_t j = 0; j < vocab; ++j) {
        if (!(double(z[j]) < inf)) {
            throw NotFinite("new token " + std::to_string(place + 1) + ": the logit of id " + std::to_string(j) + " is "
                            + std::to_string(double(z[j]))
                            + ", which is not finite: weights of the model or of an "
                              "adapter are broken; for a base, inspect --verify names them");
        }
        if (z[j] > z[best]) { best = std::int32_t(j); }
    }
    require(double(z[best]) > -inf, "every logit is -inf, so that no token can follow");
    if (o.temperature <= 0) { return best; }
    std::vector<double> p(static_cast<std::size_t>(vocab));
    double sum = 0;
    for (std::int64_t j = 0; j < vocab; ++j) {
        sum += p[std::size_t(j)] = std::exp((double(z[j]) - double(z[best])) / o.temperature);
    }
    std::vector<std::int32_t> order(static_cast<std::size_t>(vocab));
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
        return p[std::size_t(a)] != p[std::size_t(b)] ? p[std::size_t(a)] > p[std::size_t(b)] : a < b;
    });
    double kept = 0;
    std::size_t count = 0;
    while (count < order.size() && (count == 0 || kept < o.top_p * sum)) { kept += p[std::size_t(order[count++])]; }
    const auto words = Philox{o.seed}(std::uint64_t(place), 0x67656e65);
    double at = (double(words[0]) + double(words[1]) * 0x1p-32) * 0x1p-32 * kept;
    for (std::size_t i = 0; i < count; ++i) {
        at -= p[std::size_t(order[i])];
        if (at < 0) { return order[i]; }
    }
    return order[count - 1];
}

}  // namespace detail

template <class Model>
std::vector<std::int32_t> generate(const Model& model, std::span<const std::int32_t> prompt,
                                   const GenerateOptions& options = {},
                                   const std::function<bool(std::int32_t)>& on_token = {})
{
    using T = typename Model::T;
    using Dev = typename Model::Dev;
    require(!prompt.empty(), "generate: the prompt has no tokens");
    require(options.temperature >= 0 && std::isfinite(options.temperature) && options.top_p >= 0 && options.top_p <= 1,
            "generate: temperature must be a finite number of at least 0, top_p one from 0 to 1");
    const std::int64_t length = std::int64_t(prompt.size()) + options.max_tokens;
    const std::int64_t most = covered_positions(model.config);
    require(length <= most, [&] {
        return "generate: the prompt of " + std::to_string(prompt.size()) + " tokens and "
               + std::to_string(options.max_tokens) + " new ones exceed the model's " + std::to_string(most)
               + " positions: ask for fewer with --max-tokens";
    });
    require_window(model.config, length - 1);  // the last new token is not read again
    const auto& scaling = model.config.rope;
    const bool follows = rope_follows_length(scaling);
    auto rope = follows ? nullptr : model.positions(length);
    auto cache = model.cache(length);
    std::int64_t turned = 0;  // the length that rope is for, where angles follow it
    std::vector<std::int32_t> out, next(prompt.begin(), prompt.end());
    while (std::int64_t(out.size()) < options.max_tokens) {
        const std::int64_t now = std::int64_t(prompt.size() + out.size());
        if (follows && (rope == nullptr || now > turned)) {
            if (scaling.kind == RopeKind::longrope && rope != nullptr) {
                cache.filled = 0, next.assign(prompt.begin(), prompt.end());
                next.insert(next.end(), out.begin(), out.end());
            }
            // To the border at once, as far as the text may go; a dynamic scaling takes every step beyond it anew.
            turned = now <= scaling.original              ? std::min(length, scaling.original)
                     : scaling.kind == RopeKind::longrope ? length
                                                          : now;
            rope = model.positions(turned);
        }
        const auto n = std::int64_t(next.size());
        std::vector<std::int32_t> positions(next.size());
        std::iota(positions.begin(), positions.end(), std::int32_t(cache.filled));
        Buffer<std::int32_t, Dev> ids(n);
        Context<T, Dev> context;
        context.positions = Buffer<std::int32_t, Dev>(n);
        const auto stream = ids.pool()->stream();
        memory<Dev>::copy(ids.data(), next.data(), next.size() * sizeof(std::int32_t), stream);
        memory<Dev>::copy(context.positions.data(), positions.data(), positions.size() * sizeof(std::int32_t), stream);
        context.segments = std::make_shared<const std::vector<Segment>>(1, Segment{0, n, 0, cache.filled, 0});
        context.rope = rope;
        context.cache = &cache;

        // Only the last row is scored.
        const auto hidden = model.hidden(no_tape, ids, context);
        auto last = Tensor<T, Shape<dyn, Model::X::last>, Dev>(1, hidden.cols());
        memory<Dev>::copy(last.data(), hidden.view().row(n - 1), std::size_t(hidden.cols()) * sizeof(T), stream);
        const auto logits = model.scorer().logits(last, context);
        std::vector<T> z(std::size_t(logits.cols()));
        memory<Dev>::copy(z.data(), logits.data(), z.size() * sizeof(T), stream);
        cache.filled += n;

        const std::int32_t id = detail::choose(z.data(), std::int64_t(z.size()), options, std::int64_t(out.size()));
        if (std::find(options.stop.begin(), options.stop.end(), std::int64_t(id)) != options.stop.end()) { break; }
        out.push_back(id);
        if (on_token && !on_token(id)) { break; }
        next.assign(1, id);
    }
    return out;
}

#if !GRAFT_HEADER_ONLY  // compiled once: parts/models.hpp
#define GRAFT_EXTERN(T)                                                                                                \
    extern template std::vector<std::int32_t> generate(const AnyModel<T>&, std::span<const std::int32_t>,              \
                                                       const GenerateOptions&,                                         \
                                                       const std::function<bool(std::int32_t)>&);
GRAFT_EXTERN(float)
GRAFT_EXTERN(bf16)
GRAFT_EXTERN(double)
#undef GRAFT_EXTERN
#endif

}  // namespace graft
