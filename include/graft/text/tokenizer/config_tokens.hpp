#pragma once
#include "graft/core/error.hpp"
#include "graft/text/tokenizer/added_tokens.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/vocabulary.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The tokens that the files beside tokenizer.json name and list, as transformers makes them (5.24.0 was seen to do so;
// tokenization_utils_base.py, _from_pretrained, and tokenization_utils_tokenizers.py, TokenizersBackend):
//
//   tokenizer_config.json     bos_token, eos_token, ... (every key that ends in _token and holds a text, or an object
//                             with `content`); added_tokens_decoder; extra_special_tokens or additional_special_tokens
//   special_tokens_map.json   the same names and lists; with an added_tokens_decoder only for names that are not there
//   added_tokens.json         text to id; not read with an added_tokens_decoder
//
// Without an added_tokens_decoder a name of special_tokens_map.json counts before one of tokenizer_config.json, and
// tokenizer.json's flags before those of the others; with one, its flags count. A name makes its token special. What no
// list of tokenizer.json has is added in this order: the listed tokens by id; the names bos, eos, unk, sep, pad, cls,
// mask and then others; the special tokens without a name. A token keeps the id that the model's vocabulary has for it;
// a new one gets the next id, which may lie beyond the rows that a model has.
//
// Errors: Error where an id that a file gives is not the one that the token would get so; for an eos_token that neither
// tokenizer.json, added_tokens_decoder nor added_tokens.json has: no text would ever end.
namespace graft::detail::tokens {

// The id that the tokenizers library gives to the next added token: ids of tokenizer.json's added tokens are counted
// out too, not read (added_vocabulary.rs, add_tokens).
inline std::int32_t next_added_id(std::size_t vocabulary, std::int32_t largest_added)
{
    return std::max(static_cast<std::int32_t>(vocabulary), largest_added + 1);
}

class ConfigTokens {
public:
    // `name` is that of the file, `where` its path. tokenizer_config.json comes first.
    void read(std::string_view name, std::string_view text, const std::string& where)
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

    std::map<std::string, std::string> names() const
    {
        std::map<std::string, std::string> out;
        for (const Name& name : names_) { out[name.key] = name.token.content; }
        return out;
    }

    // What is to be put to the added tokens of tokenizer.json (or to change one of them), in order; `known(text)` is
    // the id that the model's vocabulary has for a text, or no_id.
    template <class Known> void add_to(std::vector<AddedToken>& added, std::size_t vocabulary, Known&& known) const
    {
        std::int32_t largest = no_id;
        for (const AddedToken& token : added) { largest = std::max(largest, token.id); }
        std::int32_t next = next_added_id(vocabulary, largest);
        std::map<std::string, std::size_t> places;
        for (std::size_t i = 0; i < added.size(); ++i) { places.emplace(added[i].content, i); }
        const auto find = [&](const std::string& text) {
            const auto place = places.find(text);
            return place == places.end() ? nullptr : &added[place->second];
        };
        const auto add = [&](AddedToken token) {
            if (token.content.empty()) { return; }
            token.id = known(token.content) != no_id ? known(token.content) : next++;
            token.control = token.special;
            places.emplace(token.content, added.size());
            added.push_back(std::move(token));
        };
        check_eos(added, known);
        const auto named = this->named();
        for (const Listed& listed : listed_) {
            AddedToken token = listed.token;
            AddedToken* there = find(token.content);
            token.special = token.special || named.contains(token.content);
            const std::int32_t gets = there != nullptr                ? there->id
                                      : known(token.content) != no_id ? known(token.content)
                                                                      : next;
            require(listed.id == gets || token.content.empty(), [&] {
                return listed.where + ": \"" + token.content + "\" has the id " + std::to_string(listed.id)
                       + ", but with this tokenizer.json it gets " + std::to_string(gets)
                       + ": load the tokeniser with transformers and save it, so that its files agree";
            });
            if (there == nullptr) {
                add(std::move(token));
            } else if (decoder_) {
                change(*there, token);
            }
        }
        for (AddedToken& token : added) {  // named, with tokenizer.json's flags
            if (!decoder_ && named.contains(token.content)) { token.special = token.control = true; }
        }
        for (const auto* list : {&standard_, &other_}) {
            for (const std::size_t i : *list) {
                if (find(names_[i].token.content) == nullptr) { add(names_[i].token); }
            }
        }
        for (const AddedToken& token : extra_) {
            if (find(token.content) == nullptr) { add(token); }
        }
    }

private:
    struct Name {
        std::string key, where;
        AddedToken token;
    };
    struct Keys {
        std::vector<std::string> outer, extra;
    };  // as they come; those of extra_special_tokens
    struct Listed {
        std::int32_t id;
        std::string where;
        AddedToken token;
    };
    // The parser's events (nlohmann's SAX interface): its callbacks with values search an object again at each end.
    struct KeyReader {
        Keys keys{};
        int depth = 0;

        bool null() { return true; }
        bool boolean(bool) { return true; }
        bool number_integer(std::int64_t) { return true; }
        bool number_unsigned(std::uint64_t) { return true; }
        bool number_float(double, const std::string&) { return true; }
        bool string(std::string&) { return true; }
        bool binary(Json::binary_t&) { return true; }
        bool start_object(std::size_t) { return ++depth > 0; }
        bool end_object() { return --depth >= 0; }
        bool start_array(std::size_t) { return ++depth > 0; }
        bool end_array() { return --depth >= 0; }
        bool key(std::string& key)
        {
            if (depth == 1) {
                keys.outer.push_back(key);
            } else if (depth == 2 && keys.outer.back() == "extra_special_tokens") {
                keys.extra.push_back(key);
            }
            return true;
        }
        bool parse_error(std::size_t, const std::string&, const Json::exception&)
        {
            return false;
        }  // was parsed before
    };
    static constexpr std::array<std::string_view, 7> standard_keys{"bos_token", "eos_token", "unk_token", "sep_token",
                                                                   "pad_token", "cls_token", "mask_token"};

    // The order of names is that of the file, which an object of JSON does not keep.
    static Keys keys_of(std::string_view text)
    {
        KeyReader reader;
        Json::sax_parse(text.begin(), text.end(), &reader);
        return std::move(reader.keys);
    }

    // A text, or an object with `content` and flags.
    static AddedToken token_of(const Json& value, const std::string& where, bool special)
    {
        AddedToken token;
        token.special = token.control = special;
        token.normalized = !special;
        if (value.is_string()) {
            token.content = value.get<std::string>();
            return token;
        }
        const bool object = value.is_object() && value.contains("content") && value["content"].is_string();
        require(object, [&] {
            return where + " must be a string, or an object with a string `content`, found " + value.dump();
        });
        token.content = value["content"].get<std::string>();
        token.special = special || flag_field(value, "special", false, where);
        token.normalized = flag_field(value, "normalized", !token.special, where);
        token.single_word = flag_field(value, "single_word", false, where);
        token.lstrip = flag_field(value, "lstrip", false, where);
        token.rstrip = flag_field(value, "rstrip", false, where);
        return token;
    }

    static std::int32_t id_of(const std::string& text, const std::string& where)
    {
        const bool number = !text.empty() && text.size() <= 8 && text.find_first_not_of("0123456789") == text.npos;
        require(number && std::stol(text) < (1l << 24),
                [&] { return where + " must be a whole number from 0 to 16777215, found " + text; });
        return static_cast<std::int32_t>(std::stol(text));
    }

    void read_decoder(const Json& json, const std::string& where)
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

    void read_ids(const Json& json, const std::string& where)
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

    void sort_listed()
    {
        std::stable_sort(listed_.begin(), listed_.end(), [](const Listed& a, const Listed& b) { return a.id < b.id; });
    }

    // Names stand in the order in which they are added: `standard_` in that of standard_keys, the others as they came.
    void set_name(const std::string& key, AddedToken token, const std::string& where, bool wins)
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

    void read_extra(const Json& json, const Keys& keys, bool config, const std::string& where)
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

    std::set<std::string_view> named() const
    {
        std::set<std::string_view> texts;
        for (const Name& name : names_) { texts.insert(name.token.content); }
        return texts;
    }

    template <class Known> void check_eos(const std::vector<AddedToken>& added, Known&& known) const
    {
        for (const Name& name : names_) {
            const std::string& text = name.token.content;
            if (name.key != "eos_token" || text.empty() || known(text) != no_id) { continue; }
            const auto same = [&](const AddedToken& token) { return token.content == text; };
            const bool listed =
                std::any_of(listed_.begin(), listed_.end(), [&](const auto& l) { return same(l.token); });
            require(listed || std::any_of(added.begin(), added.end(), same), [&] {
                return name.where + ": eos_token is \"" + text
                       + "\", which no table of the tokeniser has (model.vocab and "
                         "added_tokens of tokenizer.json, added_tokens_decoder): no text would end; name a token that "
                         "is there, or add this one to the tokeniser and the model";
            });
        }
    }

    // A token that was special stays one that decoding may skip, as in the reference.
    static void change(AddedToken& there, const AddedToken& token)
    {
        there.special = there.control = there.special || token.special;
        there.was_normalized = there.normalized;
        there.normalized = token.normalized, there.single_word = token.single_word;
        there.lstrip = token.lstrip, there.rstrip = token.rstrip;
    }

    bool decoder_ = false;
    std::vector<Listed> listed_;
    std::vector<Name> names_;
    std::vector<std::size_t> standard_, other_;  // places in names_
    std::vector<AddedToken> extra_;
};

}  // namespace graft::detail::tokens
