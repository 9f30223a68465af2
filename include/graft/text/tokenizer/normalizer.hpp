#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/tokenizer/aligned_text.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/normal_form.hpp"
#include "graft/text/tokenizer/precompiled.hpp"
#include "graft/text/tokenizer/regex.hpp"
#include "graft/text/tokenizer/unicode.hpp"

// The normalisers of tokenizer.json: Lowercase, NFC, NFD, NFKC, NFKD, Nmt, Precompiled, Prepend, Replace, Strip,
// StripAccents, Sequence, null. Any other type is refused by name.
namespace graft::detail::tokens {

// {"String": text} or {"Regex": expression}.
class Pattern {
public:
    Pattern(const Json& json, const std::string& where);
    explicit Pattern(Regex regex) : regex_(std::move(regex)) {}

    template <class Call> void each(std::string_view text, Regex::MatchData& data, Call&& match) const
    {
        if (regex_) { return regex_->each(text, data, match); }
        for (std::size_t at = text.find(literal_); at != text.npos; at = text.find(literal_, at + literal_.size())) {
            match(at, at + literal_.size());
        }
    }

private:
    std::string literal_;
    std::optional<Regex> regex_;
};

class Normalizer {
public:
    Normalizer() = default;
    Normalizer(const Json& json, const std::string& where) { add(json, where); }

    bool empty() const { return steps_.empty(); }

    void operator()(AlignedText& text, Regex::MatchData& data) const;

private:
    enum class Kind { form, lowercase, nmt, precompiled, prepend, replace, strip, strip_accents };
    struct Step {
        Kind kind;
        std::string content{};
        std::optional<Pattern> pattern{};
        NormalForm form = NormalForm::nfc;
        std::optional<Precompiled> charsmap{};
        bool left = false, right = false;
    };

    void add(const Json& json, const std::string& where);

    // What a character becomes, into `out`; false where it stays.
    static bool lowercase(char32_t c, std::string& out);
    static bool strip_accents(char32_t c, std::string&) { return is_mark(c); }
    // Control characters go, other kinds of white space become spaces (tokenizers, normalizers/unicode.rs).
    static bool nmt(char32_t c, std::string& out);
    template <class Map> static void map_characters(AlignedText& text, Map&& map)
    {
        AlignedText out(text.tracked);
        out.reserve(text.text.size());
        std::size_t kept = 0;
        std::string now;
        for (std::size_t at = 0; at < text.text.size();) {
            const std::size_t end = at + char_length(text.text, at);
            now.clear();
            if (map(code_point(text.text, at), now)) {
                out.copy(text, kept, at);
                out.put(now, text, at, end);
                kept = end;
            }
            at = end;
        }
        if (kept == 0) { return; }
        out.copy(text, kept, text.text.size());
        text = std::move(out);
    }
    static void strip(AlignedText& text, bool left, bool right);
    static void prepend(AlignedText& text, const std::string& content);
    static void replace(AlignedText& text, const Pattern& pattern, const std::string& content, Regex::MatchData& data);

    std::vector<Step> steps_;
};

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/normalizer.ipp"
#endif
