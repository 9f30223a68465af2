#pragma once
#include "graft/text/tokenizer/json.hpp"

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/io/file_kind.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE std::string kind_of(const Json& value)
{
    return value.is_discarded() ? "nothing" : std::string(value.type_name());
}

GRAFT_INLINE const Json& field(const Json& object, const char* key)
{
    static const Json null;
    if (!object.is_object()) { return null; }
    const auto found = object.find(key);
    return found == object.end() ? null : *found;
}

GRAFT_INLINE std::string text_field(const Json& object, const char* key, const std::string& where)
{
    const Json& value = field(object, key);
    require(value.is_string(), [&] { return where + ": " + key + " must be a string, found " + kind_of(value); });
    return value.get<std::string>();
}

GRAFT_INLINE bool flag_field(const Json& object, const char* key, bool absent, const std::string& where)
{
    const Json& value = field(object, key);
    if (value.is_null()) { return absent; }
    require(value.is_boolean(), [&] { return where + ": " + key + " must be true or false, found " + kind_of(value); });
    return value.get<bool>();
}

GRAFT_INLINE std::size_t count_field(const Json& object, const char* key, std::size_t absent, const std::string& where)
{
    const Json& value = field(object, key);
    if (value.is_null()) { return absent; }
    require(value.is_number_unsigned() && value.get<std::uint64_t>() < (1u << 24),
            [&] { return where + ": " + key + " must be a whole number from 0 to 16777215, found " + value.dump(); });
    return value.get<std::size_t>();
}

GRAFT_INLINE std::string type_field(const Json& object, const std::string& where)
{
    require(object.is_object(), [&] { return where + " must be an object, found " + kind_of(object); });
    return text_field(object, "type", where);
}

GRAFT_INLINE bool TokenizerJsonReader::number_integer(std::int64_t i)
{
    return state_ == State::piece ? score(static_cast<double>(i)) : value(Json(i));
}

GRAFT_INLINE bool TokenizerJsonReader::number_unsigned(std::uint64_t u)
{
    if (state_ == State::piece) { return score(static_cast<double>(u)); }
    if (state_ != State::vocab) { return value(Json(u)); }
    require(u < (1u << 24), [&] {
        return where_ + ": model.vocab gives \"" + key_ + "\" the id " + std::to_string(u) + ", above 16777215";
    });
    out_.vocab.emplace_back(std::move(key_), static_cast<std::int32_t>(u));
    return true;
}

GRAFT_INLINE bool TokenizerJsonReader::string(std::string& s)
{
    if (state_ == State::merges) {
        if (s.starts_with("#version")) { return true; }
        const std::size_t space = s.find(' ');
        require(space != std::string::npos && space > 0 && space + 1 < s.size()
                    && s.find(' ', space + 1) == std::string::npos,
                [&] {
                    return where_ + ": merge " + std::to_string(out_.merges.size()) + " (\"" + s
                           + "\") is not two tokens with one space between";
                });
        out_.merges.push_back({s.substr(0, space), s.substr(space + 1)});
        return true;
    }
    if (state_ == State::piece) {
        require(pair_.empty(), [&] { return bad_piece(); });
        pair_.push_back(std::move(s));
        return true;
    }
    if (state_ == State::pair) {
        pair_.push_back(std::move(s));
        require(pair_.size() <= 2, [&] { return bad_pair(); });
        return true;
    }
    return value(Json(std::move(s)));
}

GRAFT_INLINE bool TokenizerJsonReader::key(std::string& k)
{
    if (state_ == State::vocab) {
        key_ = std::move(k);
        return true;
    }
    Json& object = *stack_.back();
    require(!object.contains(k), [&] { return where_ + ": the key \"" + k + "\" is there twice in one object"; });
    key_ = std::move(k);
    return true;
}

GRAFT_INLINE bool TokenizerJsonReader::start_object(std::size_t)
{
    require(state_ == State::other, [&] { return unexpected("an object"); });
    if (in_model() && key_ == "vocab") {
        require(!has_vocabulary(), [&] { return where_ + ": model.vocab is there twice"; });
        out_.has_vocab = true;
        state_ = State::vocab;
        return true;
    }
    return open(Json::object());
}

GRAFT_INLINE bool TokenizerJsonReader::end_object()
{
    if (state_ == State::vocab) {
        state_ = State::other;
    } else {
        stack_.pop_back();
    }
    return true;
}

GRAFT_INLINE bool TokenizerJsonReader::start_array(std::size_t)
{
    if (state_ == State::merges) {
        state_ = State::pair;
        pair_.clear();
        return true;
    }
    if (state_ == State::pieces) {
        require(out_.pieces.size() < (1u << 24), [&] { return where_ + ": model.vocab has over 16777216 pieces"; });
        state_ = State::piece;
        pair_.clear();
        scored_ = false;
        return true;
    }
    require(state_ == State::other, [&] { return unexpected("an array"); });
    if (in_model() && key_ == "vocab") {
        require(!has_vocabulary(), [&] { return where_ + ": model.vocab is there twice"; });
        out_.has_pieces = true;
        state_ = State::pieces;
        return true;
    }
    if (in_model() && key_ == "merges") {
        require(!out_.has_merges, [&] { return where_ + ": model.merges is there twice"; });
        out_.has_merges = true;
        state_ = State::merges;
        return true;
    }
    return open(Json::array());
}

GRAFT_INLINE bool TokenizerJsonReader::end_array()
{
    if (state_ == State::pair) {
        require(pair_.size() == 2, [&] { return bad_pair(); });
        out_.merges.push_back({std::move(pair_[0]), std::move(pair_[1])});
        state_ = State::merges;
    } else if (state_ == State::piece) {
        require(scored_, [&] { return bad_piece(); });
        scored_ = false;
        state_ = State::pieces;
    } else if (state_ == State::merges || state_ == State::pieces) {
        state_ = State::other;
    } else {
        stack_.pop_back();
    }
    return true;
}

GRAFT_INLINE bool TokenizerJsonReader::parse_error(std::size_t, const std::string&, const Json::exception& error)
{
    std::string text = error.what();
    if (const std::size_t end = text.find("] "); end != std::string::npos) { text.erase(0, end + 2); }
    throw Error(where_ + ": " + text);
}

GRAFT_INLINE std::string TokenizerJsonReader::bad_pair() const
{
    return where_ + ": merge " + std::to_string(out_.merges.size()) + " is not a list of two tokens";
}

GRAFT_INLINE std::string TokenizerJsonReader::bad_piece() const
{
    return where_ + ": piece " + std::to_string(out_.pieces.size() - (scored_ ? 1 : 0))
           + " of model.vocab is not a list of a text and a score";
}

GRAFT_INLINE bool TokenizerJsonReader::score(double number)
{
    require(pair_.size() == 1 && !scored_, [&] { return bad_piece(); });
    out_.pieces.emplace_back(std::move(pair_[0]), number);
    return scored_ = true;
}

GRAFT_INLINE std::string TokenizerJsonReader::unexpected(const char* what) const
{
    if (state_ == State::pieces || state_ == State::piece) { return bad_piece() + ": found " + what; }
    return where_ + ": " + what + " inside "
           + (state_ == State::vocab ? "model.vocab, at \"" + key_ + "\", where an id was expected"
                                     : std::string("model.merges, where a pair of tokens was expected"));
}

GRAFT_INLINE bool TokenizerJsonReader::value(Json v)
{
    require(state_ == State::other, [&] { return unexpected(v.type_name()); });
    place(std::move(v));
    return true;
}

GRAFT_INLINE Json* TokenizerJsonReader::place(Json v)
{
    if (stack_.empty()) {
        out_.rest = std::move(v);
        return &out_.rest;
    }
    Json& parent = *stack_.back();
    if (parent.is_array()) {
        parent.push_back(std::move(v));
        return &parent.back();
    }
    return &(parent[key_] = std::move(v));
}

GRAFT_INLINE bool TokenizerJsonReader::open(Json v)
{
    require(stack_.size() < deepest, [&] { return where_ + ": nested deeper than " + std::to_string(deepest); });
    const bool model = stack_.size() == 1 && key_ == "model" && v.is_object();
    stack_.push_back(place(std::move(v)));  // stays valid: a parent gets no new child while this one is open
    if (model) { model_ = stack_.back(); }
    return true;
}

GRAFT_INLINE TokenizerJson read_tokenizer_json(std::string_view text, const std::string& where)
{
    refuse_wrong_file(text, where, FileWanted::settings);
    TokenizerJson out;
    TokenizerJsonReader reader(out, where);
    Json::sax_parse(text.begin(), text.end(), &reader);
    require(out.rest.is_object(), [&] { return where + ": must hold a JSON object, found " + kind_of(out.rest); });
    return out;
}

GRAFT_INLINE Json read_small_json(std::string_view text, const std::string& where)
{
    refuse_wrong_file(text, where, FileWanted::settings);
    Json out;
    try {
        out = Json::parse(text.begin(), text.end());
    } catch (const Json::exception& error) {
        std::string what = error.what();
        if (const std::size_t end = what.find("] "); end != std::string::npos) { what.erase(0, end + 2); }
        throw Error(where + ": " + what);
    }
    require(out.is_object(), [&] { return where + ": must hold a JSON object, found " + kind_of(out); });
    return out;
}

}  // namespace graft::detail::tokens
