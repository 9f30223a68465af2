#pragma once
#include "graft/text/tokenizer.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/text/span.hpp"
#include "graft/text/tokenizer/added_tokens.hpp"
#include "graft/text/tokenizer/aligned_text.hpp"
#include "graft/text/tokenizer/config_tokens.hpp"
#include "graft/text/tokenizer/data.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/model.hpp"
#include "graft/text/tokenizer/pre_tokenizer.hpp"

namespace graft {

GRAFT_INLINE std::optional<std::string> Tokenizer::chat_template() const
{
    const auto found = chat_templates().find("default");
    return found == chat_templates().end() ? std::nullopt : std::optional(found->second);
}

GRAFT_INLINE std::string Tokenizer::name(const char* key) const
{
    const auto found = data_->special.find(key);
    return found == data_->special.end() ? std::string() : found->second;
}

GRAFT_INLINE std::optional<std::int32_t> Tokenizer::named(const char* key) const
{
    const std::string text = name(key);
    return text.empty() ? std::nullopt : id(text);
}

GRAFT_INLINE std::string StreamDecoder::push(std::int32_t id)
{
    std::string out;
    const auto token = tokenizer_.find_token(id);
    if (token && !(skip_special_ && tokenizer_.data_->skipped(id))) {
        tokenizer_.data_->decoder.push(state_, *token, out);
    }
    return out;
}

GRAFT_INLINE std::string StreamDecoder::finish()
{
    std::string out;
    tokenizer_.data_->decoder.finish(state_, out);
    return out;
}

GRAFT_INLINE Tokenizer Tokenizer::load(const std::filesystem::path& folder)
{
    const auto path = folder / "tokenizer.json";
    for (const char* name :
         {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"}) {
        if (const auto link = broken_link(folder / name); !link.empty()) { throw Error(link); }
    }
    require(std::filesystem::exists(path), [&] {
        return path.string()
               + ": no such file; it is what the tokeniser is read from (a checkpoint that has only "
                 "tokenizer.model must be converted, e.g. by loading and saving it with transformers)";
    });
    const std::string where = path.string();
    const std::string text = detail::tokens::read_whole_file(path);
    auto data = std::make_shared<Data>(detail::tokens::read_tokenizer_json(text, where), where);
    detail::tokens::ConfigTokens named;
    for (const std::string name : {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}) {
        const auto config = folder / name;
        if (!std::filesystem::exists(config)) { continue; }
        const std::string contents = detail::tokens::read_whole_file(config);
        named.read(name, contents, config.string());
        if (name != "tokenizer_config.json") { continue; }
        data->read_config(detail::tokens::read_small_json(contents, config.string()), config.string());
    }
    data->add_config_tokens(named);
    auto files = detail::tokens::templates_in_folder(folder, detail::tokens::read_whole_file);
    if (!files.empty()) { data->chat_templates = std::move(files); }
    data->build_tries();
    return Tokenizer(std::move(data));
}

GRAFT_INLINE Tokenizer Tokenizer::parse(std::string_view tokenizer_json, std::string_view tokenizer_config_json,
                                        const std::string& where)
{
    auto data = std::make_shared<Data>(detail::tokens::read_tokenizer_json(tokenizer_json, where), where);
    detail::tokens::ConfigTokens named;
    if (!tokenizer_config_json.empty()) {
        const std::string config = "tokenizer_config.json";
        named.read(config, tokenizer_config_json, config);
        data->read_config(detail::tokens::read_small_json(tokenizer_config_json, config), config);
    }
    data->add_config_tokens(named);
    data->build_tries();
    return Tokenizer(std::move(data));
}

GRAFT_INLINE TextSpan Tokenizer::Run::whole_characters(TextSpan span) const
{
    if (span.begin == span.end) { return span; }
    while (detail::tokens::is_continuation(text[span.begin])) { --span.begin; }
    while (span.end < text.size() && detail::tokens::is_continuation(text[span.end])) { ++span.end; }
    return span;
}

GRAFT_INLINE void Tokenizer::Run::put(std::int32_t id, TextSpan span)
{
    out.ids.push_back(id);
    if (spans) { out.spans.push_back(span); }
}

GRAFT_INLINE void Tokenizer::encode_piece(Run& run, std::size_t begin, std::size_t end) const
{
    using detail::tokens::AlignedText;
    AlignedText text(run.text.substr(begin, end - begin), begin, run.spans);
    data_->normalizer(text, run.match);

    detail::tokens::PreTokenizer::Words work;
    const auto encode_words = [&] {
        data_->pre_tokenizer(work, run.match);
        run.places.clear();
        detail::tokens::TokenModel::Sink sink{run.out.ids, run.spans ? &run.places : nullptr};
        const auto whole = [&](std::int32_t id) {  // may a word that spells this token be it, merges ignored?
            const std::uint32_t* added = data_->added_by_id.find(static_cast<std::uint64_t>(id));
            return run.control_tokens || added == nullptr || !data_->added[*added].control;
        };
        for (const TextSpan& word : work.words) {
            sink.base = word.begin;
            const auto bytes = std::string_view(work.text.text).substr(word.begin, word.end - word.begin);
            data_->model(bytes, run.scratch, sink, whole);
        }
        for (const TextSpan& place : run.places) {
            run.out.spans.push_back(run.whole_characters(work.text.span(place.begin, place.end)));
        }
    };
    if (run.tries.normalized.empty()) {
        work.words.assign(text.text.empty() ? 0 : 1, {0, text.text.size()});
        work.text = std::move(text);
        return encode_words();
    }
    detail::tokens::split_added(text.text, run.tries.normalized, data_->added,
                                [&](std::size_t from, std::size_t to, const detail::tokens::AddedToken* token) {
                                    if (token != nullptr) {
                                        return run.put(token->id, run.spans ? run.whole_characters(text.span(from, to))
                                                                            : TextSpan());
                                    }
                                    work.text = AlignedText(run.spans);
                                    work.text.copy(text, from, to);
                                    work.words.assign(1, {0, to - from});
                                    encode_words();
                                });
}

GRAFT_INLINE void Tokenizer::encode_to(std::string_view text, EncodeOptions options, Encoding& out, bool spans) const
{
    const auto bad = detail::tokens::invalid_utf8(text);
    require(!bad, [&] {
        return "text to tokenise is not UTF-8 at byte " + std::to_string(*bad) + "; convert it to UTF-8 first";
    });
    Run run{text, options.control_tokens ? data_->all : data_->plain, options.control_tokens, spans, out};
    out.ids.reserve(text.size() / 3 + 8);
    if (options.add_special) {
        for (const std::int32_t id : data_->post_processor.before) { run.put(id, {0, 0}); }
    }
    detail::tokens::split_added(text, run.tries.raw, data_->added,
                                [&](std::size_t begin, std::size_t end, const detail::tokens::AddedToken* token) {
                                    if (token != nullptr) {
                                        run.put(token->id, {begin, end});
                                    } else {
                                        encode_piece(run, begin, end);
                                    }
                                });
    if (options.add_special) {
        for (const std::int32_t id : data_->post_processor.after) { run.put(id, {text.size(), text.size()}); }
    }
}

GRAFT_INLINE std::vector<std::int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const
{
    Encoding out;
    encode_to(text, options, out, false);
    return std::move(out.ids);
}

GRAFT_INLINE Encoding Tokenizer::encode_with_spans(std::string_view text, EncodeOptions options) const
{
    Encoding out;
    encode_to(text, options, out, true);
    return out;
}

GRAFT_INLINE std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const
{
    std::string out;
    auto state = data_->decoder.begin();
    for (const std::int32_t id : ids) {
        const auto token = find_token(id);
        if (!token || (skip_special && data_->skipped(id))) { continue; }
        data_->decoder.push(state, *token, out);
    }
    data_->decoder.finish(state, out);
    return out;
}

// The text that a token is decoded to.
GRAFT_INLINE std::optional<std::string_view> Tokenizer::find_token(std::int32_t id) const
{
    if (id < 0) { return std::nullopt; }
    const std::uint32_t* added = data_->added_by_id.find(static_cast<std::uint64_t>(id));
    if (added != nullptr) { return data_->added[*added].decoded; }
    if (data_->model.tokens().has(id)) { return data_->model.tokens()[id]; }
    return std::nullopt;
}

GRAFT_INLINE std::optional<std::int32_t> Tokenizer::id(std::string_view token) const
{
    const auto added = data_->added_by_text.find(token);
    if (added != data_->added_by_text.end()) { return added->second; }
    const std::int32_t id = data_->model.tokens().find(token);
    return id == detail::tokens::no_id ? std::nullopt : std::optional(id);
}

GRAFT_INLINE std::string Tokenizer::token(std::int32_t id) const
{
    require(has(id), [&] {
        return "no token has the id " + std::to_string(id) + " (the tokeniser has ids below " + std::to_string(size())
               + ")";
    });
    const std::uint32_t* added = data_->added_by_id.find(static_cast<std::uint64_t>(id));
    return added != nullptr ? data_->added[*added].content : std::string(data_->model.tokens()[id]);
}

GRAFT_INLINE bool Tokenizer::is_special(std::int32_t id) const
{
    const std::uint32_t* added = id < 0 ? nullptr : data_->added_by_id.find(static_cast<std::uint64_t>(id));
    return added != nullptr && data_->added[*added].special;
}

GRAFT_INLINE bool Tokenizer::adds_bos() const
{
    const auto& before = data_->post_processor.before;
    return !before.empty() && (!bos() || before.front() == *bos());
}

}  // namespace graft
