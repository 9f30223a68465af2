#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/span.hpp"
#include "graft/text/tokenizer/aligned_text.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/normalizer.hpp"
#include "graft/text/tokenizer/regex.hpp"

// The pre-tokenisers of tokenizer.json, which cut text into the words that BPE then works on: Split, ByteLevel,
// Digits, Metaspace, WhitespaceSplit, Sequence, null. Any other type is refused by name.
//
// ByteLevel's mapping of bytes to characters is not done here: `byte_level()` says that words are to be read as
// bytes. That needs ByteLevel to be the last step, as it is in every published file; elsewhere it is refused.
namespace graft::detail::tokens {

inline constexpr std::string_view gpt2_regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// What becomes of the matches of a Split.
enum class SplitBehavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };

// `always`, `first` (only at the start of the whole text) or `never` put the replacement in front.
struct Metaspace {
    enum class Prepend { always, first, never };
    std::string replacement;
    Prepend prepend = Prepend::always;
    bool split = true;

    Metaspace(const Json& json, const std::string& where);
};

class PreTokenizer {
public:
    struct Words {
        AlignedText text;
        std::vector<TextSpan> words;  // bytes of `text`, in order, none empty
    };

    PreTokenizer() = default;
    PreTokenizer(const Json& json, const std::string& where) { add(json, where); }

    bool byte_level() const { return byte_level_; }

    void operator()(Words& work, Regex::MatchData& data) const;

private:
    struct Step {
        std::optional<Metaspace> metaspace;
        bool prefix_space = false;
        std::optional<Pattern> pattern;
        SplitBehavior behavior = SplitBehavior::isolated;
        bool invert = false;
    };

    void add(const Json& json, const std::string& where);
    static SplitBehavior behavior_of(const std::string& name, const std::string& where);

    // Rewrites the text so that words begin with `prefix`: all, or only those that begin at the start of the input.
    static void add_prefix(Words& work, std::string_view prefix, bool everywhere);
    static void mark_spaces(Words& work, const Metaspace& metaspace);

    // A word becomes matches and the gaps between them, in order; `merge` then joins or drops them. A match of nothing
    // keeps what is on its sides apart, or joins one of them, as any other; what is empty then is no word.
    struct Part {
        TextSpan at;
        bool match;
    };

    static void split(Words& work, const Step& step, Regex::MatchData& data);
    static std::string_view view(const Words& work, const TextSpan& word);
    static void merge(const std::vector<Part>& parts, SplitBehavior behavior, std::vector<TextSpan>& out);

    std::vector<Step> steps_;
    bool byte_level_ = false;
};

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/pre_tokenizer.ipp"
#endif
