#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"

// Reads tokenizer.json. Vocabulary and merges, most of the file, are taken as they stream by; the rest becomes an
// ordinary JSON value. Errors name the place by line and column (syntax) or by key (contents).
namespace graft::detail::tokens {

using Json = nlohmann::json;

// How a JSON value is called in an error.
std::string kind_of(const Json& value);

// A field of an object: null where it is absent.
const Json& field(const Json& object, const char* key);

std::string text_field(const Json& object, const char* key, const std::string& where);

bool flag_field(const Json& object, const char* key, bool absent, const std::string& where);

std::size_t count_field(const Json& object, const char* key, std::size_t absent, const std::string& where);

std::string type_field(const Json& object, const std::string& where);

// The contents of tokenizer.json, unchecked but for their form.
struct TokenizerJson {
    struct Merge {
        std::string left, right;
    };

    Json rest;                                                // all but model.vocab and model.merges
    std::vector<std::pair<std::string, std::int32_t>> vocab;  // of BPE
    std::vector<std::pair<std::string, double>> pieces;       // the same key of Unigram, with scores
    std::vector<Merge> merges;
    bool has_vocab = false, has_pieces = false, has_merges = false;
};

// Receives the parser's events (nlohmann's SAX interface).
class TokenizerJsonReader {
public:
    TokenizerJsonReader(TokenizerJson& out, const std::string& where) : out_(out), where_(where) {}

    bool null() { return value(Json()); }
    bool boolean(bool b) { return value(Json(b)); }
    bool number_float(double d, const std::string&) { return state_ == State::piece ? score(d) : value(Json(d)); }
    bool binary(Json::binary_t&) { return false; }
    bool number_integer(std::int64_t i);
    bool number_unsigned(std::uint64_t u);
    bool string(std::string& s);
    bool key(std::string& k);
    bool start_object(std::size_t);
    bool end_object();
    bool start_array(std::size_t);
    bool end_array();
    bool parse_error(std::size_t, const std::string&, const Json::exception& error);

private:
    enum class State { other, vocab, merges, pair, pieces, piece };
    static constexpr std::size_t deepest = 64;

    // stack_ holds the open objects and arrays; the model is the object at key "model" of the first.
    bool in_model() const { return stack_.size() == 2 && stack_.back() == model_; }
    std::string bad_pair() const;
    std::string bad_piece() const;
    bool has_vocabulary() const { return out_.has_vocab || out_.has_pieces; }
    bool score(double number);
    std::string unexpected(const char* what) const;
    bool value(Json v);
    Json* place(Json v);
    bool open(Json v);

    TokenizerJson& out_;
    std::string where_;
    State state_ = State::other;
    std::string key_;
    std::vector<std::string> pair_;
    bool scored_ = false;  // of the piece that is read: its score has come
    std::vector<Json*> stack_;
    Json* model_ = nullptr;
};

TokenizerJson read_tokenizer_json(std::string_view text, const std::string& where);

// A small JSON file, parsed at once.
Json read_small_json(std::string_view text, const std::string& where);

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/json.ipp"
#endif
