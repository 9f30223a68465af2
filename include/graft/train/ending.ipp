#pragma once
#include "graft/train/ending.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>

#include "graft/text/dataset/example.hpp"

namespace graft::detail {

GRAFT_INLINE bool ends_text(std::int32_t id, std::span<const std::int64_t> stops)
{
    return std::find(stops.begin(), stops.end(), std::int64_t(id)) != stops.end();
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE std::int64_t answer_length(const Example& example, std::span<const std::int64_t> stops)
{
    const auto& labels = example.labels;
    auto at = std::find_if(labels.begin(), labels.end(), [](std::int32_t label) { return label != ignore; });
    std::int64_t length = 0;
    for (; at != labels.end() && *at != ignore; ++at) {
        ++length;
        if (detail::ends_text(*at, stops)) { break; }
    }
    return length;
}

GRAFT_INLINE std::string why_endless(const Ending& e, const EndlessOptions& o)
{
    if (o.stops.empty()) { return "no token is known that ends a text: neither tokeniser nor template names one"; }
    if (e.rows_ending == 0) {
        return "none of the " + std::to_string(e.rows) + " examples has a token that ends a text (" + o.stops
               + ") among its targets, so nothing teaches the model to stop";
    }
    const auto number = [](double x) {
        char text[32];
        std::snprintf(text, sizeof text, "%.2g", x);
        return std::string(text);
    };
    const std::string id = std::to_string(e.token), name = o.token + " (" + id + ")";
    const std::string learnt =
        name + " is a target in " + std::to_string(e.rows_ending) + " of " + std::to_string(e.rows) + " examples, but ";
    const std::string places = "of " + std::to_string(e.places) + " places of the data where it is due it is the "
                               + "likeliest token at " + std::to_string(e.likeliest) + ", its probability is "
                               + number(e.probability);
    if (2 * e.likeliest > e.places) {
        return name + " is learnt (" + places + "); the samples say something else than the data does";
    }
    if (e.untrained() && !o.row_trained) {
        const std::string row =
            e.twins == 0
                ? "it is next to nothing, of length " + number(e.norm) + " where the median is " + number(e.median_norm)
            : e.twins == 1 ? "another token has the same one, and nothing below the head can tell the two apart"
                           : std::to_string(e.twins)
                                 + " other tokens have the same one, and nothing below the head can tell them apart";
        const std::string with =
            o.tied ? "--train-tokens " + id : "--modules-to-save lm_head or --target all-linear,lm_head";
        return learnt + "its row of the head looks untrained: " + row + " (" + places + "); train the row"
               + (o.continued ? ", which takes a new adapter: " : ": ") + with;
    }
    return learnt + "it is not learnt yet (" + places + "); train longer (--epochs) or at a higher --lr";
}

}  // namespace graft
