#pragma once
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

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/io/file_kind.hpp"
#include "graft/text/span.hpp"
#include "graft/text/tokenizer/data.hpp"
#include "graft/text/tokenizer/decoder.hpp"
#include "graft/text/tokenizer/model.hpp"
#include "graft/text/tokenizer/regex.hpp"

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
    std::optional<std::string> chat_template() const;
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
    std::string name(const char* key) const;
    std::optional<std::int32_t> named(const char* key) const;

    std::shared_ptr<const Data> data_;
};

// Decodes ids as they come. What `push` and at last `finish` return, put together, is `decode` of all ids; a character
// whose bytes are not all there yet waits (with byte fallback: until the run of byte tokens ends).
class StreamDecoder {
public:
    explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = false)
        : tokenizer_(tokenizer), skip_special_(skip_special), state_(tokenizer.data_->decoder.begin())
    {}
    std::string push(std::int32_t id);
    // The rest; after it the decoder is ready for another text.
    std::string finish();

private:
    Tokenizer tokenizer_;
    bool skip_special_;
    detail::tokens::Decoder::State state_;
};

// ---- loading ----

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
    TextSpan whole_characters(TextSpan span) const;
    void put(std::int32_t id, TextSpan span);
};

// ---- decoding, tokens ----

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer.ipp"
#endif
