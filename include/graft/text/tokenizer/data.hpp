#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/tokenizer/added_tokens.hpp"
#include "graft/text/tokenizer/chat_templates.hpp"
#include "graft/text/tokenizer/config_tokens.hpp"
#include "graft/text/tokenizer/decoder.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/model.hpp"
#include "graft/text/tokenizer/normalizer.hpp"
#include "graft/text/tokenizer/post_processor.hpp"
#include "graft/text/tokenizer/pre_tokenizer.hpp"
#include "graft/text/tokenizer/vocabulary.hpp"

// What a tokeniser's files say, checked and made ready for use. Immutable once it is built.
namespace graft::detail::tokens {

std::string read_whole_file(const std::filesystem::path& path);

struct TokenizerData {
    TokenizerData(const TokenizerJson& json, const std::string& file);

    Normalizer normalizer;
    PreTokenizer pre_tokenizer;
    PostProcessor post_processor;
    Decoder decoder;
    TokenModel model;
    std::vector<AddedToken> added;
    FlatMap<std::uint32_t> added_by_id;  // id to index in `added`
    std::map<std::string, std::int32_t, std::less<>> added_by_text;
    // What is looked for in the raw text and in the normalised text; `plain` without control tokens.
    struct Tries {
        Trie raw, normalized;
    };
    Tries all, plain;
    std::map<std::string, std::string> special;
    ChatTemplates chat_templates;
    std::size_t size = 0;
    std::string where;

    void check_tokens() const;
    void index_tokens();
    void add_config_tokens(const ConfigTokens& config);
    void build_tries();
    // Whether decoding without special tokens leaves out an id: where what it is decoded to is how the file spells one.
    bool skipped(std::int32_t id) const;
    void read_config(const Json& config, const std::string& where);
};

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/data.ipp"
#endif
