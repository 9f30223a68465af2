#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/tokenizer/vocabulary.hpp"

// Finds all of many strings that begin at a place: a trie of 12 bytes a node, the children of a node side by side.
namespace graft::detail::tokens {

class PieceTrie {
public:
    PieceTrie() = default;

    // Of the strings of a table, but for the empty one.
    explicit PieceTrie(const StringTable& table);

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

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/piece_trie.ipp"
#endif
