#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graft/core/random.hpp"
#include "graft/core/tensor.hpp"

// What a model's call needs beside activations: where each row stands, which rows see each other, what was cached.
//
// Rows of all documents of a batch lie back to back; there is no padding. A segment is one document's part of a call:
// query rows [rows, rows + count); its keys begin at row `keys` (of the batch, or of a cache) and `before` of them
// stand ahead of the first query. Causally: query i sees keys [keys, keys + before + i].
//
// Documents that share their beginning hold it once: key_rows then lists, for all segments back to back, the row of
// the batch that each key is, so that the rows of the shared part are keys of several segments.
namespace graft {

struct Segment {
    std::int64_t rows = 0, count = 0, keys = 0, before = 0;
    std::uint32_t sample = 0;  // the row of the step's data that it comes from: keys random numbers
};
using Segments = std::shared_ptr<const std::vector<Segment>>;

// cos and sin of every position and frequency, in acc<T>: (positions, K / 2).
template <Float A, Device Dev> struct RopeTable {
    Tensor<A, Shape<dyn, dyn>, Dev> cos, sin;
};

// Keys and values of one document, layer by layer: (capacity, G K), the first `filled` rows are used.
template <Float T, Device Dev> struct KvCache {
    struct Layer {
        Tensor<T, Shape<dyn, dyn>, Dev> k, v;
    };
    std::vector<Layer> layers;
    std::int64_t filled = 0;
};

// What keys the random numbers of one step: nothing else decides what dropout draws.
struct RandomKey {
    std::uint64_t seed = 0;
    std::uint32_t step = 0;
};

template <Float T, Device Dev> struct Context {
    std::shared_ptr<const RopeTable<acc<T>, Dev>> rope;
    Buffer<std::int32_t, Dev> positions;  // one a row: where it stands in its document
    Segments segments;
    Buffer<std::int32_t, Dev> key_rows;  // empty: keys are the rows themselves, or of the cache
    KvCache<T, Dev>* cache = nullptr;
    int layer = 0;
    bool training = false;
    bool recompute = false;
    RandomKey random;

    // The same for one layer of the model.
    Context at_layer(int index) const
    {
        Context other = *this;
        other.layer = index;
        return other;
    }
};

// Throws Error where a document does not fit into the table of positions; `what` names it.
template <Float A, Device Dev>
void require_positions(const std::shared_ptr<const RopeTable<A, Dev>>& rope, std::int64_t length,
                       const std::string& what)
{
    require(rope == nullptr || length <= rope->cos.rows(), [&] {
        return what + " has " + std::to_string(length) + " tokens, the table of positions has "
               + std::to_string(rope->cos.rows()) + " rows: make a longer one, or use shorter documents";
    });
}

// A context for documents of the given lengths, back to back, each from position 0.
template <Float T, Device Dev>
Context<T, Dev> context_for(const std::vector<std::int64_t>& lengths,
                            std::shared_ptr<const RopeTable<acc<T>, Dev>> rope,
                            const std::shared_ptr<Pool<Dev>>& pool = Pool<Dev>::common())
{
    Context<T, Dev> context;
    std::vector<Segment> segments;
    std::vector<std::int32_t> positions;
    for (std::size_t d = 0; d < lengths.size(); ++d) {
        const auto first = std::int64_t(positions.size());
        segments.push_back({first, lengths[d], first, 0, std::uint32_t(d)});
        require_positions(rope, lengths[d], "document " + std::to_string(d));
        for (std::int64_t t = 0; t < lengths[d]; ++t) { positions.push_back(std::int32_t(t)); }
    }
    context.positions = uploaded(std::span(positions), pool);
    context.segments = std::make_shared<const std::vector<Segment>>(std::move(segments));
    context.rope = std::move(rope);
    return context;
}

}  // namespace graft
