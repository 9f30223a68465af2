#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "graft/core/inline.hpp"
#include "graft/text/tokenizer/bpe.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/unigram.hpp"
#include "graft/text/tokenizer/vocabulary.hpp"

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

    const StringTable& tokens() const;
    std::int32_t unk() const;
    // `whole(id)` says whether text may become this token at once, without being joined of smaller ones.
    template <class Whole> void operator()(std::string_view word, Scratch& scratch, Sink& sink, Whole&& whole) const
    {
        if (const Bpe* bpe = std::get_if<Bpe>(&model_)) { return (*bpe)(word, scratch.bpe, sink, whole); }
        std::get<Unigram>(model_)(word, scratch.unigram, sink, whole);
    }

private:
    using Model = std::variant<Bpe, Unigram>;

    static Model made(const TokenizerJson& json, bool byte_level, const std::string& where);

    Model model_;
};

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/model.ipp"
#endif
