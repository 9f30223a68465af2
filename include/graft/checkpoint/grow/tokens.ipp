#pragma once
#include "graft/checkpoint/grow/tokens.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/io/json_edit.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/text.hpp"

namespace graft::detail {

GRAFT_INLINE TokenizerFiles::TokenizerFiles(const std::filesystem::path& folder) : folder_(folder)
{
    const auto path = folder / "tokenizer.json";
    where_ = printable(path.string(), 1000);
    require(std::filesystem::exists(path), [&] {
        return printable(folder.string(), 1000)
               + ": there is no tokenizer.json, which says what ids are taken and "
                 "is where new tokens go; copy it from the model's authors, or convert tokenizer.model to it";
    });
    text_ = read_file(path, most_bytes);
    const auto json = parse_json(text_, where_);
    require(json.is_object(), [&] { return where_ + ": must be an object, found " + json_text(json); });
    read_vocabulary(json_at(json_at(json, "model", where_), "vocab", where_));
    read_added(json_at(json, "added_tokens", where_));
    read_others();
    read_names();
}

GRAFT_INLINE std::vector<GrownToken> TokenizerFiles::place(const std::vector<std::string>& texts) const
{
    require(!texts.empty(), "no tokens to add");
    std::vector<GrownToken> out;
    std::int64_t next = ids_.empty() ? 0 : *ids_.rbegin() + 1;
    for (const std::string& text : texts) {
        require(!text.empty(), "a token to add is empty: name each, with one comma between two");
        require(valid_utf8(text), [&] { return "the token " + printable(text) + " to add is not UTF-8"; });
        const auto known = by_text_.find(text);
        require(known == by_text_.end(), [&] {
            return where_ + ": already has the token " + printable(text) + ", with the id "
                   + std::to_string(known->second) + ": leave it out";
        });
        require(std::none_of(out.begin(), out.end(), [&](const GrownToken& t) { return t.text == text; }),
                [&] { return "the token " + printable(text) + " is to be added twice"; });
        out.push_back({text, next++});
    }
    require(next <= most_id + 1, [&] {
        return where_ + ": the new ids would end at " + std::to_string(next - 1) + "; those of a tokeniser end at "
               + std::to_string(most_id);
    });
    require(counted_ == out.front().id, [&] {
        return where_ + ": its ids have gaps: " + printable(out.front().text) + " would get the id "
               + std::to_string(out.front().id) + " here and " + std::to_string(counted_)
               + " in the tokenizers library, which counts ids of added tokens out: fill the gaps first";
    });
    return out;
}

GRAFT_INLINE std::map<std::string, std::string> TokenizerFiles::with(const std::vector<GrownToken>& tokens,
                                                                     bool special) const
{
    std::vector<JsonMember> entries, decoder, ids;
    for (const GrownToken& token : tokens) {
        OrderedJson entry, short_form;
        entry["id"] = token.id, entry["content"] = token.text;
        for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) { entry[flag] = false; }
        entry["special"] = special;
        for (const char* key : {"content", "lstrip", "normalized", "rstrip", "single_word", "special"}) {
            short_form[key] = entry[key];
        }
        entries.emplace_back("", entry);
        decoder.emplace_back(std::to_string(token.id), short_form);
        ids.emplace_back(token.text, token.id);
    }
    std::map<std::string, std::string> out;
    out["tokenizer.json"] = json_appended(text_, *json_value_span(text_, "added_tokens"), entries);
    for (const auto& [name, text] : others_) {
        if (name == "added_tokens.json") {
            out[name] = json_appended(text, outermost(text), ids);
        } else {
            out[name] = json_appended(text, *json_value_span(text, "added_tokens_decoder"), decoder);
        }
    }
    return out;
}

GRAFT_INLINE JsonSpan TokenizerFiles::outermost(const std::string& text)
{
    JsonScan scan(text);
    scan.spaces();
    return scan.value();
}

GRAFT_INLINE std::int64_t TokenizerFiles::checked_id(const Json& value, const std::string& text) const
{
    const std::int64_t id = json_as_int(value, "the id of " + printable(text), where_);
    require(id >= 0 && id <= most_id, [&] {
        return where_ + ": the id of " + printable(text) + " must be from 0 to " + std::to_string(most_id) + ", found "
               + std::to_string(id);
    });
    return id;
}

GRAFT_INLINE void TokenizerFiles::read_vocabulary(const Json& vocab)
{
    const auto add = [&](const std::string& text, std::int64_t id) {
        ids_.insert(ids_.end(), id);
        by_text_.emplace(text, id);
    };
    if (vocab.is_object()) {
        for (const auto& entry : vocab.items()) { add(entry.key(), checked_id(entry.value(), entry.key())); }
    } else {
        require(vocab.is_array() && vocab.size() <= std::size_t(most_id), [&] {
            return where_ + ": model.vocab must be an object of ids or a list of pieces, found " + json_text(vocab);
        });
        for (std::size_t i = 0; i < vocab.size(); ++i) {
            require(vocab[i].is_array() && !vocab[i].empty(), [&] {
                return where_ + ": entry " + std::to_string(i) + " of model.vocab must be a piece and its score";
            });
            add(json_as_string(vocab[i][0], "a piece of model.vocab", where_), std::int64_t(i));
        }
    }
    counted_ = std::int64_t(vocab.size());
}

GRAFT_INLINE void TokenizerFiles::read_added(const Json& added)
{
    require(added.is_array(), [&] { return where_ + ": added_tokens must be a list, found " + json_text(added); });
    const auto in_vocabulary = counted_;
    std::int64_t most = -1;
    for (const Json& token : added) {
        const std::string text = json_string(token, "content", where_);
        const std::int64_t id = checked_id(json_at(token, "id", where_), text);
        const auto known = by_text_.find(text);
        const auto reference = known != by_text_.end() ? known->second : std::max(most + 1, in_vocabulary);
        most = std::max(most, reference);
        ids_.insert(id);
        by_text_.emplace(text, id);
    }
    counted_ = std::max(most + 1, in_vocabulary);
}

GRAFT_INLINE void TokenizerFiles::read_others()
{
    for (const std::string name : {"tokenizer_config.json", "added_tokens.json"}) {
        const auto path = folder_ / name;
        if (!std::filesystem::exists(path)) { continue; }
        const std::string text = read_file(path, most_bytes), where = printable(path.string(), 1000);
        const auto json = parse_json(text, where);
        require(json.is_object(), [&] { return where + ": must be an object, found " + json_text(json); });
        const bool config = name == "tokenizer_config.json";
        const Json* tokens = config ? json_find(json, "added_tokens_decoder") : &json;
        if (tokens == nullptr) { continue; }
        if (!tokens->is_object()) { json_field_error(where, "added_tokens_decoder", "an object", *tokens); }
        for (const auto& entry : tokens->items()) {
            const std::string content = config ? json_string(entry.value(), "content", where) : entry.key();
            const std::string id = config ? entry.key() : entry.value().dump();
            const auto known = by_text_.find(content);
            require(known != by_text_.end() && std::to_string(known->second) == id, [&] {
                return where + ": " + printable(content) + " has the id " + printable(id) + ", which "
                       + (known == by_text_.end() ? "tokenizer.json does not have"
                                                  : "is " + std::to_string(known->second) + " in tokenizer.json")
                       + ": load the tokeniser with transformers and save it, so that its files agree";
            });
        }
        others_[name] = text;
    }
}

GRAFT_INLINE void TokenizerFiles::read_names() const
{
    for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
        const auto path = folder_ / name;
        if (!std::filesystem::exists(path)) { continue; }
        const std::string where = printable(path.string(), 1000);
        const auto json = parse_json(read_file(path, most_bytes), where);
        const auto check = [&](const std::string& key, const Json& token) {
            const Json* text = token.is_object() ? json_find(token, "content") : &token;
            if (text == nullptr || !text->is_string() || *text == "") { return; }
            require(by_text_.contains(text->get<std::string>()), [&] {
                return where + ": " + key + " is " + json_text(*text)
                       + ", which tokenizer.json does not have: load "
                         "the tokeniser with transformers and save it, so that its files agree";
            });
        };
        if (!json.is_object()) { continue; }
        for (const auto& entry : json.items()) {
            const std::string& key = entry.key();
            if (key.ends_with("_token")) { check(key, entry.value()); }
            const bool list = key == "additional_special_tokens" || key == "extra_special_tokens";
            if (!list || !entry.value().is_structured()) { continue; }
            for (const Json& token : entry.value()) { check(key, token); }
        }
    }
}

}  // namespace graft::detail
