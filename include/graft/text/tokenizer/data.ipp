#pragma once
#include "graft/text/tokenizer/data.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/text/tokenizer/added_tokens.hpp"
#include "graft/text/tokenizer/aligned_text.hpp"
#include "graft/text/tokenizer/chat_templates.hpp"
#include "graft/text/tokenizer/config_tokens.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/post_processor.hpp"
#include "graft/text/tokenizer/regex.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE std::string read_whole_file(const std::filesystem::path& path)
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

GRAFT_INLINE bool TokenizerData::skipped(std::int32_t id) const
{
    const std::uint32_t* found = id < 0 ? nullptr : added_by_id.find(static_cast<std::uint64_t>(id));
    return found != nullptr && added[*found].skipped;
}

GRAFT_INLINE TokenizerData::TokenizerData(const TokenizerJson& json, const std::string& file)
    : normalizer(field(json.rest, "normalizer"), file + ": normalizer"),
      pre_tokenizer(field(json.rest, "pre_tokenizer"), file + ": pre_tokenizer"),
      decoder(field(json.rest, "decoder"), file + ": decoder"), model(json, pre_tokenizer.byte_level(), file),
      added(read_added_tokens(field(json.rest, "added_tokens"), file)), size(model.tokens().size()), where(file)
{
    check_tokens();
    index_tokens();
    post_processor = PostProcessor(field(json.rest, "post_processor"), file + ": post_processor");
    for (const std::int32_t id : post_processor.ids()) {
        require(model.tokens().has(id) || added_by_id.find(static_cast<std::uint64_t>(id)) != nullptr,
                [&] { return file + ": post_processor: adds the id " + std::to_string(id) + ", which no token has"; });
    }
    if (model.unk() != no_id) { special["unk_token"] = std::string(model.tokens()[model.unk()]); }
}

// An added token either repeats an entry of the vocabulary, text and id, or is new in both; the ids of those that are
// new follow the vocabulary: the reference counts them out, whatever the file says.
GRAFT_INLINE void TokenizerData::check_tokens() const
{
    const auto place = [&](const AddedToken& token) {
        return where + ": added_tokens: \"" + token.content + "\" (id " + std::to_string(token.id) + ")";
    };
    std::set<std::string_view> texts;
    std::set<std::int32_t> ids;
    for (const AddedToken& token : added) {
        const std::int32_t known = model.tokens().find(token.content);
        require(known == no_id || known == token.id,
                [&] { return place(token) + " has the id " + std::to_string(known) + " in model.vocab"; });
        require(known != no_id || !model.tokens().has(token.id), [&] {
            return place(token) + " has the id of \"" + std::string(model.tokens()[token.id]) + "\" in model.vocab";
        });
        require(ids.insert(token.id).second && texts.insert(token.content).second,
                [&] { return place(token) + " repeats an id or a text"; });
    }
    std::int32_t largest = no_id;
    for (const AddedToken& token : added) {
        const bool known = model.tokens().find(token.content) != no_id;
        const std::int32_t counted = known ? token.id : next_added_id(model.tokens().count(), largest);
        require(token.id == counted || token.content.empty(), [&] {
            return place(token) + " gets the id " + std::to_string(counted)
                   + " in the tokenizers library, which counts "
                     "the ids of added tokens out: load the tokeniser with it and save it, so that the file says what "
                     "is used";
        });
        largest = std::max(largest, token.id);
    }
}

GRAFT_INLINE void TokenizerData::index_tokens()
{
    for (std::size_t i = 0; i < added.size(); ++i) {
        const AddedToken& token = added[i];
        added_by_id[static_cast<std::uint64_t>(token.id)] = static_cast<std::uint32_t>(i);
        added_by_text[token.content] = token.id;
        size = std::max(size, static_cast<std::size_t>(token.id) + 1);
    }
}

GRAFT_INLINE void TokenizerData::add_config_tokens(const ConfigTokens& config)
{
    config.add_to(added, model.tokens().count(), [&](const std::string& text) { return model.tokens().find(text); });
    index_tokens();
    special = config.names();
    if (model.unk() != no_id) { special.emplace("unk_token", std::string(model.tokens()[model.unk()])); }
}

GRAFT_INLINE void TokenizerData::build_tries()
{
    for (const auto& named : special) {
        const auto found = added_by_text.find(named.second);
        if (found == added_by_text.end()) { continue; }
        added[*added_by_id.find(static_cast<std::uint64_t>(found->second))].control = true;
    }
    Regex::MatchData match;
    std::set<std::string_view> specials;
    std::map<std::string, std::size_t> normalized;
    for (const AddedToken& token : added) {
        if (token.special) { specials.insert(token.content); }
    }
    for (std::size_t i = 0; i < added.size(); ++i) {
        std::string& text = added[i].text = added[i].content;
        added[i].decoded = text;
        if ((added[i].normalized || added[i].was_normalized) && !normalizer.empty()) {
            AlignedText content(text, 0, false);
            normalizer(content, match);
            added[i].decoded = std::move(content.text);
            if (added[i].normalized) { text = added[i].decoded; }
        }
        if (added[i].normalized && !added[i].content.empty()) {
            const auto place = [&] { return where + ": added_tokens: the normalizer makes of \"" + added[i].content; };
            require(!text.empty(),
                    [&] { return place() + "\" nothing, which is found everywhere: set its `normalized` to false"; });
            const auto twin = normalized.emplace(text, i);
            require(twin.second, [&] {
                return place() + "\" the same as of \"" + added[twin.first->second].content
                       + "\": set the `normalized` of one of them to false";
            });
        }
        added[i].skipped = specials.contains(added[i].decoded);
        const auto value = static_cast<std::uint32_t>(i);
        (added[i].normalized ? all.normalized : all.raw).add(text, value);
        if (!added[i].control) { (added[i].normalized ? plain.normalized : plain.raw).add(text, value); }
    }
}

GRAFT_INLINE void TokenizerData::read_config(const Json& config, const std::string& where)
{
    chat_templates = templates_in_config(config, where);
}

}  // namespace graft::detail::tokens
