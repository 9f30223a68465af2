#pragma once
#include "graft/core/error.hpp"
#include "graft/text/tokenizer/bpe.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/unigram.hpp"
#include "graft/text/tokenizer/vocabulary.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

// The model of tokenizer.json: BPE (as which files without a type and with an object of ids are read) or Unigram. Any
// other type is refused by name.
namespace graft::detail::tokens {

class TokenModel {
public:
    using Sink = Bpe::Sink;
    struct Scratch {
        Bpe::Scratch bpe;
        Unigram::Scratch unigram;
    };

    TokenModel(const TokenizerJson& json, bool byte_level, const std::string& where)
        : model_(made(json, byte_level, where))
    {}

    const StringTable& tokens() const
    {
        return std::visit([](const auto& model) -> const StringTable& { return model.tokens(); }, model_);
    }
    std::int32_t unk() const
    {
        return std::visit([](const auto& model) { return model.unk(); }, model_);
    }
    // `whole(id)` says whether text may become this token at once, without being joined of smaller ones.
    template <class Whole> void operator()(std::string_view word, Scratch& scratch, Sink& sink, Whole&& whole) const
    {
        if (const Bpe* bpe = std::get_if<Bpe>(&model_)) { return (*bpe)(word, scratch.bpe, sink, whole); }
        std::get<Unigram>(model_)(word, scratch.unigram, sink, whole);
    }

private:
    using Model = std::variant<Bpe, Unigram>;

    static Model made(const TokenizerJson& json, bool byte_level, const std::string& where)
    {
        const Json& model = field(json.rest, "model");
        const bool untyped = model.is_object() && field(model, "type").is_null();  // as old files are
        const std::string type = untyped ? (json.has_pieces ? "Unigram" : "BPE") : type_field(model, where + ": model");
        if (type == "Unigram") { return Model(std::in_place_type<Unigram>, json, byte_level, where); }
        require(type == "BPE",
                [&] { return where + ": model type \"" + type + "\"; only BPE and Unigram are supported"; });
        return Model(std::in_place_type<Bpe>, json, byte_level, where);
    }

    Model model_;
};

}  // namespace graft::detail::tokens
