#pragma once
#include "graft/text/tokenizer/vocabulary.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

// Finds all of many strings that begin at a place: a trie of 12 bytes a node, the children of a node side by side.
namespace graft::detail::tokens {

class PieceTrie {
public:
    PieceTrie() = default;

    // Of the strings of a table, but for the empty one.
    explicit PieceTrie(const StringTable& table)
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

    // found(end, id) for every string that is text[at, end), the shortest first.
    template <class Found> void each_prefix(std::string_view text, std::size_t at, Found&& found) const
    {
        if (nodes_.empty()) { return; }
        const Node* node = nodes_.data();
        while (at < text.size()) {
            const auto label = static_cast<unsigned char>(text[at]);
            const Node* begin = nodes_.data() + node->children;
            const Node* end = begin + node->count;
            const Node* child =
                std::lower_bound(begin, end, label, [](const Node& a, unsigned char b) { return a.label < b; });
            if (child == end || child->label != label) { return; }
            node = child;
            ++at;
            if (node->id != no_id) { found(at, node->id); }
        }
    }

private:
    struct Node {
        std::uint32_t children = 0;  // the first of them
        std::int32_t id = no_id;     // the string that ends here
        std::uint16_t count = 0;
        unsigned char label = 0;
    };
    std::vector<Node> nodes_;
};

}  // namespace graft::detail::tokens
