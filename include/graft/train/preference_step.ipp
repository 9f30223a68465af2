#pragma once
#include "graft/train/preference_step.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "graft/ops/linear_log_probs.hpp"
#include "graft/text/dataset/example.hpp"
#include "graft/train/batches.hpp"
#include "graft/train/preference.hpp"

namespace graft {

GRAFT_INLINE Batch collate_pairs(const PreferenceData& data, std::span<const std::int64_t> pairs)
{
    std::vector<std::int64_t> rows;
    for (const std::int64_t side : {0, 1}) {
        for (const auto pair : pairs) { rows.push_back(2 * pair + side); }
    }
    return collate(data.examples, rows);
}

}  // namespace graft

namespace graft::detail {

GRAFT_INLINE std::int64_t answer_tokens(const PreferenceData& data, std::int64_t row)
{
    return targets(data.examples[std::size_t(row)]) + (data.prompts[std::size_t(row / 2)] == 0 ? 1 : 0);
}

GRAFT_INLINE AnswerPair answer_pair(const PreferenceData& data, const Batch& batch, const double* sums, std::int64_t i)
{
    const std::int64_t n = batch.documents() / 2;
    const std::int64_t chosen = batch.rows[std::size_t(i)], rejected = batch.rows[std::size_t(i + n)];
    return {.chosen = sums[i],
            .rejected = sums[i + n],
            .reference_chosen = data.reference[std::size_t(chosen)],
            .reference_rejected = data.reference[std::size_t(rejected)],
            .chosen_tokens = answer_tokens(data, chosen),
            .rejected_tokens = answer_tokens(data, rejected)};
}

GRAFT_INLINE ScoredRows scored_rows(const Batch& batch)
{
    ScoredRows out{.count = batch.documents()};
    for (std::size_t d = 0; d + 1 < batch.bounds.size(); ++d) {
        for (auto t = batch.bounds[d]; t < batch.bounds[d + 1]; ++t) {
            const auto label = batch.labels[std::size_t(t)];
            if (label == ignore) { continue; }
            out.rows.push_back(std::int32_t(t)), out.targets.push_back(label), out.sums.push_back(std::int32_t(d));
        }
    }
    return out;
}

GRAFT_INLINE SharedPairs share_prompts(const PreferenceData& data, const Batch& batch)
{
    SharedPairs out;
    const std::int64_t pairs = batch.documents() / 2;
    out.scored.count = 2 * pairs;
    const auto keys = [&](std::int64_t first, std::int64_t count) {
        for (std::int64_t i = 0; i < count; ++i) { out.key_rows.push_back(std::int32_t(first + i)); }
    };
    for (std::int64_t i = 0; i < pairs; ++i) {
        const std::int64_t row = batch.rows[std::size_t(i)], prompt = data.prompts[std::size_t(row / 2)];
        const std::int64_t first = out.batch.tokens();
        const Example& chosen = data.examples[std::size_t(row)];
        const Example& rejected = data.examples[std::size_t(row + 1)];
        const auto length = std::int64_t(chosen.ids.size()), rest = std::int64_t(rejected.ids.size()) - prompt;
        const auto place = [&](const Example& side, std::int64_t from, std::int64_t sum) {
            for (auto t = from; t < std::int64_t(side.ids.size()); ++t) {
                out.batch.ids.push_back(side.ids[std::size_t(t)]);
                out.batch.positions.push_back(std::int32_t(t));
            }
            for (auto t = std::max<std::int64_t>(1, prompt); t < std::int64_t(side.ids.size()); ++t) {
                if (side.labels[std::size_t(t)] == ignore) { continue; }
                const auto before = t - 1 < prompt ? first + t - 1 : first + (from == 0 ? 0 : length - prompt) + t - 1;
                out.scored.rows.push_back(std::int32_t(before)), out.scored.sums.push_back(std::int32_t(sum));
                out.scored.targets.push_back(side.labels[std::size_t(t)]);
            }
        };
        auto at = std::int64_t(out.key_rows.size());
        out.segments.push_back({first, length, at, 0, std::uint32_t(i)});
        keys(first, length);
        at += length;
        out.segments.push_back({first + length, rest, at, prompt, std::uint32_t(i)});
        keys(first, prompt), keys(first + length, rest);
        place(chosen, 0, i), place(rejected, prompt, i + pairs);
    }
    return out;
}

}  // namespace graft::detail
