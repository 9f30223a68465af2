#pragma once
#include "graft/text/tokenizer/config_tokens.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/text/tokenizer/added_tokens.hpp"
#include "graft/text/tokenizer/json.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE std::int32_t next_added_id(std::size_t vocabulary, std::int32_t largest_added)
{
    return std::max(static_cast<std::int32_t>(vocabulary), largest_added + 1);
}

GRAFT_INLINE void ConfigTokens::read(std::string_view name, std::string_view text, const std::string& where)
{
    const Json json = read_small_json(text, where);
    const Keys keys = keys_of(text);
    if (name == "added_tokens.json") { return read_ids(json, where); }
    const bool config = name == "tokenizer_config.json";
    if (config) { read_decoder(json, where); }
    for (const std::string& key : keys.outer) {
        const Json& value = json.at(key);
        // add_bos_token and its like are flags
        if (!key.ends_with("_token") || value.is_null() || value.is_boolean()) { continue; }
        set_name(key, token_of(value, where + ": " + key, true), where, !config && !decoder_);
    }
    read_extra(json, keys, config, where);
}

GRAFT_INLINE std::map<std::string, std::string> ConfigTokens::names() const
{
    std::map<std::string, std::string> out;
    for (const Name& name : names_) { out[name.key] = name.token.content; }
    return out;
}

GRAFT_INLINE bool ConfigTokens::KeyReader::key(std::string& key)
{
    if (depth == 1) {
        keys.outer.push_back(key);
    } else if (depth == 2 && keys.outer.back() == "extra_special_tokens") {
        keys.extra.push_back(key);
    }
    return true;
}

GRAFT_INLINE bool ConfigTokens::KeyReader::parse_error(std::size_t, const std::string&, const Json::exception&)
{
    return false;
}

GRAFT_INLINE ConfigTokens::Keys ConfigTokens::keys_of(std::string_view text)
{
    KeyReader reader;
    Json::sax_parse(text.begin(), text.end(), &reader);
    return std::move(reader.keys);
}

GRAFT_INLINE AddedToken ConfigTokens::token_of(const Json& value, const std::string& where, bool special)
{
    AddedToken token;
    token.special = token.control = special;
    token.normalized = !special;
    if (value.is_string()) {
        token.content = value.get<std::string>();
        return token;
    }
    const bool object = value.is_object() && value.contains("content") && value["content"].is_string();
    require(object,
            [&] { return where + " must be a string, or an object with a string `content`, found " + value.dump(); });
    token.content = value["content"].get<std::string>();
    token.special = special || flag_field(value, "special", false, where);
    token.normalized = flag_field(value, "normalized", !token.special, where);
    token.single_word = flag_field(value, "single_word", false, where);
    token.lstrip = flag_field(value, "lstrip", false, where);
    token.rstrip = flag_field(value, "rstrip", false, where);
    return token;
}

GRAFT_INLINE std::int32_t ConfigTokens::id_of(const std::string& text, const std::string& where)
{
    const bool number = !text.empty() && text.size() <= 8 && text.find_first_not_of("0123456789") == text.npos;
    require(number && std::stol(text) < (1l << 24),
            [&] { return where + " must be a whole number from 0 to 16777215, found " + text; });
    return static_cast<std::int32_t>(std::stol(text));
}

GRAFT_INLINE void ConfigTokens::read_decoder(const Json& json, const std::string& where)
{
    const auto decoder = json.find("added_tokens_decoder");
    if (decoder == json.end() || decoder->is_null()) { return; }
    require(decoder->is_object(), [&] { return where + ": added_tokens_decoder must be an object of ids"; });
    decoder_ = true;
    for (const auto& item : decoder->items()) {
        const std::string place = where + ": added_tokens_decoder";
        const std::int32_t id = id_of(item.key(), place + ": an id");
        listed_.push_back({id, place, token_of(item.value(), place + ": " + item.key(), false)});
    }
    sort_listed();
}

GRAFT_INLINE void ConfigTokens::read_ids(const Json& json, const std::string& where)
{
    if (decoder_) { return; }
    std::set<std::string_view> special = named();
    for (const AddedToken& extra : extra_) { special.insert(extra.content); }
    for (const auto& item : json.items()) {
        AddedToken token;
        token.content = item.key();
        token.special = special.contains(token.content);
        token.normalized = !token.special;
        listed_.push_back({id_of(item.value().dump(), where + ": the id of \"" + item.key() + "\""), where, token});
    }
    sort_listed();
}

GRAFT_INLINE void ConfigTokens::sort_listed()
{
    std::stable_sort(listed_.begin(), listed_.end(), [](const Listed& a, const Listed& b) { return a.id < b.id; });
}

GRAFT_INLINE void ConfigTokens::set_name(const std::string& key, AddedToken token, const std::string& where, bool wins)
{
    for (Name& name : names_) {
        if (name.key != key) { continue; }
        if (wins) { name.token = std::move(token), name.where = where; }
        return;
    }
    require(names_.size() < 1000, [&] { return where + ": names more than 1000 tokens"; });
    names_.push_back({key, where, std::move(token)});
    const auto rank = [&](std::size_t i) {
        return std::find(standard_keys.begin(), standard_keys.end(), names_[i].key) - standard_keys.begin();
    };
    const std::size_t at = names_.size() - 1;
    if (rank(at) == std::ptrdiff_t(standard_keys.size())) { return other_.push_back(at); }
    standard_.insert(
        std::find_if(standard_.begin(), standard_.end(), [&](std::size_t i) { return rank(i) > rank(at); }), at);
}

GRAFT_INLINE void ConfigTokens::read_extra(const Json& json, const Keys& keys, bool config, const std::string& where)
{
    if (!config && decoder_) { return; }
    const bool had = !extra_.empty();
    for (const char* key : {"extra_special_tokens", "additional_special_tokens"}) {
        const auto list = json.find(key);
        if (list == json.end() || list->is_null()) { continue; }
        const std::string place = where + ": " + key;
        const bool extra = std::string_view(key) == "extra_special_tokens";
        if (list->is_object() && extra) {  // names of the model's own
            for (const std::string& name : keys.extra) {
                if (!list->contains(name)) { continue; }
                set_name(name, token_of(list->at(name), place + ": " + name, true), where, !config);
            }
            continue;
        }
        require(list->is_array(), [&] { return place + " must be a list"; });
        // either list, the first that has something; only extra_special_tokens of both files are put together
        if (!extra && (had || !extra_.empty())) { continue; }
        for (const Json& entry : *list) { extra_.push_back(token_of(entry, place, true)); }
    }
}

GRAFT_INLINE std::set<std::string_view> ConfigTokens::named() const
{
    std::set<std::string_view> texts;
    for (const Name& name : names_) { texts.insert(name.token.content); }
    return texts;
}

GRAFT_INLINE void ConfigTokens::change(AddedToken& there, const AddedToken& token)
{
    there.special = there.control = there.special || token.special;
    there.was_normalized = there.normalized;
    there.normalized = token.normalized, there.single_word = token.single_word;
    there.lstrip = token.lstrip, there.rstrip = token.rstrip;
}

}  // namespace graft::detail::tokens
