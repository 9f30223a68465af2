#pragma once
#include "graft/text/tokenizer/piece_trie.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "graft/text/tokenizer/vocabulary.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE PieceTrie::PieceTrie(const StringTable& table)
{
    std::vector<std::int32_t> ids;
    for (std::size_t id = 0; id < table.size(); ++id) {
        if (table.has(static_cast<std::int32_t>(id))) { ids.push_back(static_cast<std::int32_t>(id)); }
    }
    std::sort(ids.begin(), ids.end(), [&](auto a, auto b) { return table[a] < table[b]; });

    // Breadth first: a node is a range of the sorted strings, all with one beginning of `depth` bytes.
    struct Range {
        std::size_t begin, end;
    };
    std::vector<Range> level{{0, ids.size()}}, next;
    nodes_.resize(1);
    for (std::size_t depth = 0, first = 0; !level.empty(); ++depth) {
        next.clear();
        for (std::size_t i = 0; i < level.size(); ++i) {
            auto [begin, end] = level[i];
            if (begin < end && table[ids[begin]].size() == depth) {
                if (depth > 0) { nodes_[first + i].id = ids[begin]; }
                ++begin;
            }
            nodes_[first + i].children = static_cast<std::uint32_t>(nodes_.size());
            while (begin < end) {
                const char label = table[ids[begin]][depth];
                std::size_t stop = begin + 1;
                while (stop < end && table[ids[stop]][depth] == label) { ++stop; }
                Node child;
                child.label = static_cast<unsigned char>(label);
                nodes_.push_back(child);
                ++nodes_[first + i].count;
                next.push_back({begin, stop});
                begin = stop;
            }
        }
        first += level.size();
        level.swap(next);
    }
}

}  // namespace graft::detail::tokens
