#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/io/json_edit.hpp"

// A tokeniser's files with more added tokens. Texts are edited in place (io/json_edit.hpp): all else keeps its bytes.
//
//   tokenizer.json           added_tokens: {id, content, single_word, lstrip, rstrip, normalized, special}, all flags
//                            false but special
//   tokenizer_config.json    added_tokens_decoder, where it is there: the same without id, under the id
//   added_tokens.json        where it is there: text to id
//
// Ids: the first is one more than the largest of model.vocab (an object of ids, or a list) and added_tokens. The
// reference's library does not read ids of added tokens from the file but counts them out when it loads it: one more
// than the largest id of those before, but at least the number of entries of the vocabulary. The two agree unless the
// ids have gaps; where they would not, the file is refused, as programs would then disagree about a token's id.
//
// Throws: Error, see grow_vocabulary.hpp. Source: huggingface/tokenizers, added_vocabulary.rs (add_tokens); 0.23.3 was
// seen to do so.
namespace graft {

struct GrownToken {
    std::string text;
    std::int64_t id = 0;
};

namespace detail {

class TokenizerFiles {
public:
    explicit TokenizerFiles(const std::filesystem::path& folder);

    const std::set<std::int64_t>& ids() const { return ids_; }  // of the tokens that are there

    // New tokens with their ids, which may still be beyond the rows that a model has.
    std::vector<GrownToken> place(const std::vector<std::string>& texts) const;

    // The texts of the files that change, by name.
    std::map<std::string, std::string> with(const std::vector<GrownToken>& tokens, bool special) const;

private:
    using Json = nlohmann::json;
    static constexpr std::size_t most_bytes = std::size_t(256) << 20;
    static constexpr std::int64_t most_id = (std::int64_t(1) << 24) - 1;  // as text/tokenizer reads it

    static JsonSpan outermost(const std::string& text);

    std::int64_t checked_id(const Json& value, const std::string& text) const;

    void read_vocabulary(const Json& vocab);

    void read_added(const Json& added);

    // Files that repeat the added tokens. One that knows more of them would make ids mean two things.
    void read_others();

    // Tokens that only a configuration names or lists get the ids behind those of tokenizer.json when it is loaded: the
    // new tokens would take them.
    void read_names() const;

    std::filesystem::path folder_;
    std::string where_, text_;
    std::set<std::int64_t> ids_;
    std::map<std::string, std::int64_t> by_text_;
    std::int64_t counted_ = 0;  // what the reference's library would give to the next token
    std::map<std::string, std::string> others_;
};

}  // namespace detail

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/checkpoint/grow/tokens.ipp"
#endif
