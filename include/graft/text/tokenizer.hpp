#pragma once
#include "graft/core/error.hpp"
#include "graft/io/file_kind.hpp"
#include "graft/text/tokenizer/added_tokens.hpp"
#include "graft/text/tokenizer/aligned_text.hpp"
#include "graft/text/tokenizer/config_tokens.hpp"
#include "graft/text/tokenizer/data.hpp"
#include "graft/text/tokenizer/decoder.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/model.hpp"
#include "graft/text/tokenizer/pre_tokenizer.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Tokeniser: text to ids and back, exactly as a checkpoint's tokenizer.json says.
//
// Supported: byte-pair encoding (byte-level or with byte fallback), as in Llama 1 to 3, Mistral, Qwen 2 to 3, Gemma,
// Phi-3, GPT-2, SmolLM, and Unigram, as SentencePiece makes by default. Everything else in a file (other models,
// normalisers, ...) is refused by name at load.
// The file decides; settings of tokenizer_config.json that tools apply on top (add_bos_token, legacy,
// clean_up_tokenization_spaces) change nothing here. The configuration gives names (bos, eos, ...), tokens that the
// file does not have (tokenizer/config_tokens.hpp), and the chat template.
//
// encode: added tokens are cut out first, longest first; the text between is normalised, cut into words, and joined
//   by rank; last come the tokens that the post-processor puts around (`add_special`). Text that already has BOS in
//   front gets a second one: what a chat template rendered is encoded with `add_special = false`.
// Text must be valid UTF-8: other bytes are refused, with their place. Characters that the vocabulary does not
//   know, where it has neither byte fallback nor unk_token, are dropped, as in the reference.
// decode: ids that name no token (a model's padding rows) give nothing. Bytes that are not UTF-8 become U+FFFD. What
//   skip_special leaves out are special tokens, but for one that the normaliser rewrites (as in the reference).
// Spans: a token covers every character of the input that it has a byte of, so that several tokens may cover the same
//   character; what was put in (a prepended space, BOS) covers an empty span at its place.
// A Tokenizer is immutable: copies share it, and any number of threads may use it.
// Errors: Error, with the file and the key, for anything in the files that is wrong or not supported.
// Unicode is that of the PCRE2 and utf8proc found (14 and 15 in Debian 12). The reference has its own (NFC: Unicode 9):
//   characters given out since may be classed or ordered differently; no others are.
// Source: huggingface/tokenizers, whose ids and texts the tests compare with.
namespace graft {

struct Encoding {
    std::vector<std::int32_t> ids;
    std::vector<TextSpan> spans;  // one an id: the bytes of the input that it covers
};

struct EncodeOptions {
    bool add_special = true;  // with what the post-processor puts around the text: BOS, mostly
    // false: text that looks like a control token (flagged special in the file, or named as bos_token, eos_token, ...
    // in the configuration) is ordinary text. For content that comes from strangers.
    bool control_tokens = true;
};

class Tokenizer {
public:
    // Reads tokenizer.json and, where they are there, tokenizer_config.json, special_tokens_map.json, added_tokens.json
    // (tokenizer/config_tokens.hpp), chat_template.jinja and additional_chat_templates/*.jinja (which win over the key
    // chat_template).
    static Tokenizer load(const std::filesystem::path& folder);
    static Tokenizer parse(std::string_view tokenizer_json, std::string_view tokenizer_config_json = {},
                           const std::string& where = "tokenizer.json");

    std::vector<std::int32_t> encode(std::string_view text, EncodeOptions options = {}) const;
    Encoding encode_with_spans(std::string_view text, EncodeOptions options = {}) const;

    std::string decode(std::span<const std::int32_t> ids, bool skip_special = false) const;

    // The tokens that the configuration names; unk also from the model. Nothing where it names none.
    std::optional<std::int32_t> bos() const { return named("bos_token"); }
    std::optional<std::int32_t> eos() const { return named("eos_token"); }
    std::optional<std::int32_t> pad() const { return named("pad_token"); }
    std::optional<std::int32_t> unk() const { return named("unk_token"); }
    std::string bos_text() const { return name("bos_token"); }
    std::string eos_text() const { return name("eos_token"); }
    std::string pad_text() const { return name("pad_token"); }
    std::string unk_text() const { return name("unk_token"); }
    // Name to text, of every *_token of the configuration that is set: what chat templates see.
    std::map<std::string, std::string> special_tokens() const { return data_->special; }

    std::optional<std::int32_t> id(std::string_view token) const;
    std::string token(std::int32_t id) const;  // as the file spells it; Error where there is none
    bool has(std::int32_t id) const { return find_token(id).has_value(); }
    bool is_special(std::int32_t id) const;           // flagged special: what skip_special leaves out
    bool adds_bos() const;                            // the post-processor puts BOS in front
    std::size_t size() const { return data_->size; }  // largest id + 1; a model may have more rows

    // The checkpoint's own chat template: its text, or that named "default" where there are several.
    std::optional<std::string> chat_template() const
    {
        const auto found = chat_templates().find("default");
        return found == chat_templates().end() ? std::nullopt : std::optional(found->second);
    }
    // All of them, by name.
    const std::map<std::string, std::string>& chat_templates() const { return data_->chat_templates; }

private:
    friend class StreamDecoder;

    using Data = detail::tokens::TokenizerData;
    struct Run;  // what one encode needs while it runs

    explicit Tokenizer(std::shared_ptr<const Data> data) : data_(std::move(data)) {}

    void encode_to(std::string_view text, EncodeOptions options, Encoding& out, bool spans) const;
    void encode_piece(Run& run, std::size_t begin, std::size_t end) const;
    std::optional<std::string_view> find_token(std::int32_t id) const;
    std::string name(const char* key) const
    {
        const auto found = data_->special.find(key);
        return found == data_->special.end() ? std::string() : found->second;
    }
    std::optional<std::int32_t> named(const char* key) const
    {
        const std::string text = name(key);
        return text.empty() ? std::nullopt : id(text);
    }

    std::shared_ptr<const Data> data_;
};

// Decodes ids as they come. What `push` and at last `finish` return, put together, is `decode` of all ids; a character
// whose bytes are not all there yet waits (with byte fallback: until the run of byte tokens ends).
class StreamDecoder {
public:
    explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = false)
        : tokenizer_(tokenizer), skip_special_(skip_special), state_(tokenizer.data_->decoder.begin())
    {}
    std::string push(std::int32_t id)
    {
        std::string out;
        const auto token = tokenizer_.find_token(id);
        if (token && !(skip_special_ && tokenizer_.data_->skipped(id))) {
            tokenizer_.data_->decoder.push(state_, *token, out);
        }
        return out;
    }
    // The rest; after it the decoder is ready for another text.
    std::string finish()
    {
        std::string out;
        tokenizer_.data_->decoder.finish(state_, out);
        return out;
    }

private:
    Tokenizer tokenizer_;
    bool skip_special_;
    detail::tokens::Decoder::State state_;
};

// ---- loading ----

inline Tokenizer Tokenizer::load(const std::filesystem::path& folder)
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

inline Tokenizer Tokenizer::parse(std::string_view tokenizer_json, std::string_view tokenizer_config_json,
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

// ---- encoding ----

struct Tokenizer::Run {
    std::string_view text;
    const Data::Tries& tries;
    bool control_tokens, spans;
    Encoding& out;
    detail::tokens::Regex::MatchData match = {};
    detail::tokens::TokenModel::Scratch scratch = {};
    std::vector<TextSpan> places = {};  // of the tokens of one piece, in its normalised text

    // Whole characters of the input that [begin, end) touches.
    TextSpan whole_characters(TextSpan span) const
    {
        if (span.begin == span.end) { return span; }
        while (detail::tokens::is_continuation(text[span.begin])) { --span.begin; }
        while (span.end < text.size() && detail::tokens::is_continuation(text[span.end])) { ++span.end; }
        return span;
    }
    void put(std::int32_t id, TextSpan span)
    {
        out.ids.push_back(id);
        if (spans) { out.spans.push_back(span); }
    }
};

inline void Tokenizer::encode_piece(Run& run, std::size_t begin, std::size_t end) const
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

inline void Tokenizer::encode_to(std::string_view text, EncodeOptions options, Encoding& out, bool spans) const
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

inline std::vector<std::int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const
{
    Encoding out;
    encode_to(text, options, out, false);
    return std::move(out.ids);
}

inline Encoding Tokenizer::encode_with_spans(std::string_view text, EncodeOptions options) const
{
    Encoding out;
    encode_to(text, options, out, true);
    return out;
}

// ---- decoding, tokens ----

inline std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const
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
inline std::optional<std::string_view> Tokenizer::find_token(std::int32_t id) const
{
    if (id < 0) { return std::nullopt; }
    const std::uint32_t* added = data_->added_by_id.find(static_cast<std::uint64_t>(id));
    if (added != nullptr) { return data_->added[*added].decoded; }
    if (data_->model.tokens().has(id)) { return data_->model.tokens()[id]; }
    return std::nullopt;
}

inline std::optional<std::int32_t> Tokenizer::id(std::string_view token) const
{
    const auto added = data_->added_by_text.find(token);
    if (added != data_->added_by_text.end()) { return added->second; }
    const std::int32_t id = data_->model.tokens().find(token);
    return id == detail::tokens::no_id ? std::nullopt : std::optional(id);
}

inline std::string Tokenizer::token(std::int32_t id) const
{
    require(has(id), [&] {
        return "no token has the id " + std::to_string(id) + " (the tokeniser has ids below " + std::to_string(size())
               + ")";
    });
    const std::uint32_t* added = data_->added_by_id.find(static_cast<std::uint64_t>(id));
    return added != nullptr ? data_->added[*added].content : std::string(data_->model.tokens()[id]);
}

inline bool Tokenizer::is_special(std::int32_t id) const
{
    const std::uint32_t* added = id < 0 ? nullptr : data_->added_by_id.find(static_cast<std::uint64_t>(id));
    return added != nullptr && data_->added[*added].special;
}

inline bool Tokenizer::adds_bos() const
{
    const auto& before = data_->post_processor.before;
    return !before.empty() && (!bos() || before.front() == *bos());
}

}  // namespace graft
