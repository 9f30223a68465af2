#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/span.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/unicode.hpp"
#include "graft/text/tokenizer/vocabulary.hpp"

// The added tokens of tokenizer.json: found in the text before BPE sees it, leftmost first, longest first.
namespace graft::detail::tokens {

struct AddedToken {
    std::int32_t id = no_id;
    std::string content;
    std::string text;     // what is looked for: the content, normalised where `normalized`
    std::string decoded;  // what it is decoded to: the same, also where another file took `normalized` away
    bool special = false, normalized = true, single_word = false, lstrip = false, rstrip = false;
    bool control = false;  // special, or named as bos, eos, ... by the configuration
    bool was_normalized = false;
    bool skipped = false;  // left out by decoding without special tokens
};

std::vector<AddedToken> read_added_tokens(const Json& list, const std::string& where);

// Finds the longest of a set of strings that starts at a place: a trie, its edges in one flat map.
class Trie {
public:
    bool empty() const { return value_.size() == 1; }

    void add(std::string_view text, std::uint32_t value);

    struct Match {
        std::size_t begin, end;
        std::uint32_t value;
    };

    // The leftmost match at or after `from`, the longest there; begin == text.size() where there is none.
    Match find(std::string_view text, std::size_t from) const;

private:
    static constexpr std::uint32_t none = ~std::uint32_t(0);
    static std::uint64_t key(std::uint32_t node, char c);

    std::array<bool, 256> first_{};
    FlatMap<std::uint32_t> edges_;
    std::vector<std::uint32_t> value_ = {none};  // by node: the string that ends there
};

bool touches_word(std::string_view text, std::size_t begin, std::size_t end);

// Cuts `text` into added tokens and what lies between them: piece(begin, end, token), token null for ordinary text.
// None is empty. A match that single_word rules out is ordinary text.
//
// As in the reference (tokenizers 0.23.3) all matches are found first and stripped afterwards, so that white space
// which a token with rstrip takes along comes again where it is a token itself, and so does what lies behind that
// token; a token of white space is dropped where lstrip leaves nothing of it. Pieces do not overlap: the token in front
// is told to end where the next one begins. A token of which lstrip leaves less than nothing makes the reference fail:
// Error.
template <class Piece>
void split_added(std::string_view text, const Trie& trie, const std::vector<AddedToken>& tokens, Piece&& piece)
{
    struct {
        std::size_t begin = 0, end = 0;
        const AddedToken* token = nullptr;
    } held;
    const auto release = [&](std::size_t next) {  // the next piece begins there
        if (held.token != nullptr) { piece(held.begin, std::min(held.end, next), held.token); }
        held.token = nullptr;
    };
    TextSpan run{text.size() + 1, text.size() + 1};  // of white space, the last that was looked for
    std::size_t done = 0, from = 0;
    while (!trie.empty()) {
        const Trie::Match match = trie.find(text, from);
        if (match.begin == text.size()) { break; }
        const AddedToken& token = tokens[match.value];
        from = match.end;
        if (token.single_word && touches_word(text, match.begin, match.end)) { continue; }
        const std::size_t begin = token.lstrip
                                      ? std::max(done, skip_spaces_back(text, match.begin, std::min(done, match.begin)))
                                      : match.begin;
        if (token.rstrip && (match.end < run.begin || match.end > run.end)) {
            run = {match.end, skip_spaces(text, match.end)};
        }
        const std::size_t end = token.rstrip ? run.end : match.end;
        require(begin <= end, [&] {
            return "the added token of white space with the id " + std::to_string(token.id)
                   + " has lstrip, and the "
                     "token before it has taken the space that it stands in (rstrip), at byte "
                   + std::to_string(match.begin)
                   + ": the tokenizers library fails on such a text; remove the space there";
        });
        if (done < begin) {
            release(done);
            piece(done, begin, static_cast<const AddedToken*>(nullptr));
        }
        if (begin < end) {
            release(begin);
            held.begin = begin, held.end = end, held.token = &token;
        }
        done = end;
    }
    release(done);
    if (done < text.size()) { piece(done, text.size(), static_cast<const AddedToken*>(nullptr)); }
}

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/added_tokens.ipp"
#endif
