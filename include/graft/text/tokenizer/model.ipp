#pragma once
#include "graft/text/tokenizer/model.hpp"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <variant>

#include "graft/core/error.hpp"
#include "graft/text/tokenizer/bpe.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/unigram.hpp"
#include "graft/text/tokenizer/vocabulary.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE const StringTable& TokenModel::tokens() const
{
    return std::visit([](const auto& model) -> const StringTable& { return model.tokens(); }, model_);
}

GRAFT_INLINE std::int32_t TokenModel::unk() const
{
    return std::visit([](const auto& model) { return model.unk(); }, model_);
}

GRAFT_INLINE TokenModel::Model TokenModel::made(const TokenizerJson& json, bool byte_level, const std::string& where)
{
    const Json& model = field(json.rest, "model");
    const bool untyped = model.is_object() && field(model, "type").is_null();  // as old files are
    const std::string type = untyped ? (json.has_pieces ? "Unigram" : "BPE") : type_field(model, where + ": model");
    if (type == "Unigram") { return Model(std::in_place_type<Unigram>, json, byte_level, where); }
    require(type == "BPE", [&] { return where + ": model type \"" + type + "\"; only BPE and Unigram are supported"; });
    return Model(std::in_place_type<Bpe>, json, byte_level, where);
}

}  // namespace graft::detail::tokens
