#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/normalizer.hpp"
#include "graft/text/tokenizer/regex.hpp"

// The decoders of tokenizer.json: ByteLevel, ByteFallback, Fuse, Strip, Replace, Metaspace, Sequence, null. Any other
// type is refused by name. Tokens go through the steps one at a time, so that whole texts and streams are decoded by
// the same code: what is pushed and what `finish` gives, put together, is the text.
//
// Fuse and ByteLevel make one string of all tokens. After them only Strip makes sense piece by piece; another step
// there is refused.
namespace graft::detail::tokens {

class Decoder {
public:
    // What a text that is being decoded has left over.
    struct State {
        struct Step {
            std::string held;         // bytes that wait: for the rest of a character, or to be stripped
            std::size_t removed = 0;  // characters stripped in front so far
            bool begun = false;       // a token has come by, or the stripping in front is over
        };
        std::vector<Step> steps;
        Regex::MatchData data;
    };

    Decoder() = default;
    Decoder(const Json& json, const std::string& where);

    State begin() const { return {std::vector<State::Step>(steps_.size() + 1), {}}; }

    void push(State& state, std::string_view token, std::string& out) const;
    void finish(State& state, std::string& out) const;

private:
    enum class Kind { byte_level, byte_fallback, fuse, strip, strip_fused, replace, metaspace };
    struct Step {
        Kind kind;
        std::string content;  // what is stripped, or put in place
        std::size_t start = 0, stop = 0;
        std::optional<Pattern> pattern;
        bool drop_first = false;  // Metaspace: the marks of the first token are dropped
    };

    void add(const Json& json, const std::string& where);

    void step(std::size_t i, State& state, std::string_view token, std::string& out) const;

    static std::optional<unsigned char> byte_of(std::string_view token);
    // A run of byte tokens is text as a whole, or one U+FFFD a byte.
    void flush_bytes(std::size_t i, State& state, std::string& out) const;

    std::vector<Step> steps_;
    bool spaces_ = true;
};

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/decoder.ipp"
#endif
