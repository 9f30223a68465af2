#pragma once
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

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/tokenizer/added_tokens.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/vocabulary.hpp"

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
std::int32_t next_added_id(std::size_t vocabulary, std::int32_t largest_added);

class ConfigTokens {
public:
    // `name` is that of the file, `where` its path. tokenizer_config.json comes first.
    void read(std::string_view name, std::string_view text, const std::string& where);

    std::map<std::string, std::string> names() const;

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
        bool key(std::string& key);
        bool parse_error(std::size_t, const std::string&, const Json::exception&);  // was parsed before
    };
    static constexpr std::array<std::string_view, 7> standard_keys{"bos_token", "eos_token", "unk_token", "sep_token",
                                                                   "pad_token", "cls_token", "mask_token"};

    // The order of names is that of the file, which an object of JSON does not keep.
    static Keys keys_of(std::string_view text);

    // A text, or an object with `content` and flags.
    static AddedToken token_of(const Json& value, const std::string& where, bool special);

    static std::int32_t id_of(const std::string& text, const std::string& where);

    void read_decoder(const Json& json, const std::string& where);

    void read_ids(const Json& json, const std::string& where);

    void sort_listed();

    // Names stand in the order in which they are added: `standard_` in that of standard_keys, the others as they came.
    void set_name(const std::string& key, AddedToken token, const std::string& where, bool wins);

    void read_extra(const Json& json, const Keys& keys, bool config, const std::string& where);

    std::set<std::string_view> named() const;

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
    static void change(AddedToken& there, const AddedToken& token);

    bool decoder_ = false;
    std::vector<Listed> listed_;
    std::vector<Name> names_;
    std::vector<std::size_t> standard_, other_;  // places in names_
    std::vector<AddedToken> extra_;
};

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/config_tokens.ipp"
#endif
