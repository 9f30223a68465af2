#pragma once
#include "graft/core/error.hpp"
#include "graft/text/tokenizer/added_tokens.hpp"
#include "graft/text/tokenizer/bpe.hpp"
#include "graft/text/tokenizer/chat_templates.hpp"
#include "graft/text/tokenizer/decoder.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/normalizer.hpp"
#include "graft/text/tokenizer/post_processor.hpp"
#include "graft/text/tokenizer/pre_tokenizer.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

// What a tokeniser's files say, checked and made ready for use. Immutable once it is built.
namespace graft::detail::tokens {

inline std::string read_whole_file(const std::filesystem::path& path)
{
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    std::ifstream file(path, std::ios::binary);
    require(!error && file.good(), [&] { return path.string() + ": cannot be read"; });
    require(size < (std::uintmax_t(1) << 30), [&] { return path.string() + ": larger than 1 GiB"; });
    std::string text(static_cast<std::size_t>(size), '\0');
    file.read(text.data(), static_cast<std::streamsize>(size));
    require(file.gcount() == static_cast<std::streamsize>(size), [&] { return path.string() + ": cannot be read"; });
    return text;
}

struct TokenizerData {
    TokenizerData(const TokenizerJson& json, const std::string& where);

    Normalizer normalizer;
    PreTokenizer pre_tokenizer;
    PostProcessor post_processor;
    Decoder decoder;
    Bpe bpe;
    std::vector<AddedToken> added;
    FlatMap<std::uint32_t> added_by_id;         // id to index in `added`
    std::map<std::string, std::int32_t, std::less<>> added_by_text;
    // What is looked for in the raw text and in the normalised text; `plain` without control tokens.
    struct Tries { Trie raw, normalized; };
    Tries all, plain;
    std::map<std::string, std::string> special;
    ChatTemplates chat_templates;
    std::size_t size = 0;

    void add_tokens(const std::string& where);
    void build_tries();
    void read_config(const Json& config, const std::string& where);
    void read_names(const Json& config, const std::string& where);
};

inline TokenizerData::TokenizerData(const TokenizerJson& json, const std::string& where)
    : normalizer(field(json.rest, "normalizer"), where + ": normalizer"),
      pre_tokenizer(field(json.rest, "pre_tokenizer"), where + ": pre_tokenizer"),
      decoder(field(json.rest, "decoder"), where + ": decoder"),
      bpe(json, pre_tokenizer.byte_level(), where),
      added(read_added_tokens(field(json.rest, "added_tokens"), where)),
      size(bpe.tokens().size())
{
    add_tokens(where);
    post_processor = PostProcessor(field(json.rest, "post_processor"), where + ": post_processor");
    for (const std::int32_t id : post_processor.ids()) {
        require(bpe.tokens().has(id) || added_by_id.find(static_cast<std::uint64_t>(id)) != nullptr, [&] {
            return where + ": post_processor: adds the id " + std::to_string(id) + ", which no token has";
        });
    }
    if (bpe.unk() != no_id) { special["unk_token"] = std::string(bpe.tokens()[bpe.unk()]); }
}

// An added token either repeats an entry of the vocabulary, text and id, or is new in both.
inline void TokenizerData::add_tokens(const std::string& where)
{
    for (std::size_t i = 0; i < added.size(); ++i) {
        const auto& token = added[i];
        const auto place = [&] {
            return where + ": added_tokens: \"" + token.content + "\" (id " + std::to_string(token.id) + ")";
        };
        const std::int32_t known = bpe.tokens().find(token.content);
        require(known == no_id || known == token.id, [&] {
            return place() + " has the id " + std::to_string(known) + " in model.vocab";
        });
        require(known != no_id || !bpe.tokens().has(token.id), [&] {
            return place() + " has the id of \"" + std::string(bpe.tokens()[token.id]) + "\" in model.vocab";
        });
        require(added_by_id.find(static_cast<std::uint64_t>(token.id)) == nullptr &&
                    added_by_text.emplace(token.content, token.id).second, [&] {
            return place() + " repeats an id or a text";
        });
        added_by_id[static_cast<std::uint64_t>(token.id)] = static_cast<std::uint32_t>(i);
        size = std::max(size, static_cast<std::size_t>(token.id) + 1);
    }
}

inline void TokenizerData::build_tries()
{
    for (const auto& named : special) {
        const auto found = added_by_text.find(named.second);
        if (found == added_by_text.end()) { continue; }
        added[*added_by_id.find(static_cast<std::uint64_t>(found->second))].control = true;
    }
    Regex::MatchData match;
    for (std::size_t i = 0; i < added.size(); ++i) {
        std::string& text = added[i].text = added[i].content;
        if (added[i].normalized && !normalizer.empty()) {
            AlignedText content(text, 0, false);
            normalizer(content, match);
            text = std::move(content.text);
        }
        const auto value = static_cast<std::uint32_t>(i);
        (added[i].normalized ? all.normalized : all.raw).add(text, value);
        if (!added[i].control) { (added[i].normalized ? plain.normalized : plain.raw).add(text, value); }
    }
}

inline void TokenizerData::read_config(const Json& config, const std::string& where)
{
    read_names(config, where);
    chat_templates = templates_in_config(config, where);
}

// Every key that ends in _token and holds a text, or an object with `content`. What is there already stays, but for
// the model's own unk_token.
inline void TokenizerData::read_names(const Json& config, const std::string& where)
{
    std::map<std::string, std::string> names;
    for (const auto& item : config.items()) {
        const std::string& key = item.key();
        const Json& value = item.value();
        if (!key.ends_with("_token") || value.is_null() || value.is_boolean()) { continue; }    // add_bos_token: flag
        const Json& content = value.is_object() ? field(value, "content") : value;
        require(content.is_string(), [&] {
            return where + ": " + key + " must be a string, or an object with a string `content`, found " +
                   value.dump();
        });
        names[key] = content.get<std::string>();
    }
    for (auto& [key, text] : names) {
        const bool of_model = key == "unk_token" && bpe.unk() != no_id && special[key] == bpe.tokens()[bpe.unk()];
        if (of_model) { special[key] = text; }
        else { special.emplace(key, text); }
    }
}

}  // namespace graft::detail::tokens
