#pragma once
#include "graft/text/tokenizer/pre_tokenizer.hpp"

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/text/span.hpp"
#include "graft/text/tokenizer/aligned_text.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/regex.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE Metaspace::Metaspace(const Json& json, const std::string& where)
    : replacement(text_field(json, "replacement", where))
{
    require(!invalid_utf8(replacement) && !replacement.empty() && char_length(replacement, 0) == replacement.size(),
            where + ": Metaspace's replacement must be one character");
    const Json& scheme = field(json, "prepend_scheme");
    if (!flag_field(json, "add_prefix_space", true, where)) { prepend = Prepend::never; }
    if (!scheme.is_null()) {
        require(scheme == "always" || scheme == "first" || scheme == "never",
                where + ": prepend_scheme must be always, first or never, found " + scheme.dump());
        prepend = scheme == "always" ? Prepend::always : scheme == "first" ? Prepend::first : Prepend::never;
    }
    split = flag_field(json, "split", true, where);
}

GRAFT_INLINE void PreTokenizer::operator()(Words& work, Regex::MatchData& data) const
{
    for (const Step& step : steps_) {
        if (step.metaspace) { mark_spaces(work, *step.metaspace); }
        if (step.prefix_space) { add_prefix(work, " ", true); }
        if (step.pattern) { split(work, step, data); }
    }
    const bool first = !work.words.empty() && work.words[0].begin < work.text.from_nowhere;
    if (byte_level_ && first) { work.text.map_all(); }
}

GRAFT_INLINE void PreTokenizer::add(const Json& json, const std::string& where)
{
    if (json.is_null()) { return; }
    const std::string type = type_field(json, where);
    require(!byte_level_, [&] {
        return where + ": " + type + " after ByteLevel; only files where ByteLevel comes last are supported";
    });
    Step step;
    if (type == "Sequence") {
        const Json& list = field(json, "pretokenizers");
        require(list.is_array(), where + ": pretokenizers must be a list");
        for (const Json& entry : list) { add(entry, where); }
        return;
    }
    if (type == "Split") {
        step.pattern.emplace(field(json, "pattern"), where);
        step.behavior = behavior_of(text_field(json, "behavior", where), where);
        step.invert = flag_field(json, "invert", false, where);
    } else if (type == "ByteLevel") {
        byte_level_ = true;
        step.prefix_space = flag_field(json, "add_prefix_space", true, where);
        if (flag_field(json, "use_regex", true, where)) { step.pattern.emplace(Regex(gpt2_regex, where)); }
    } else if (type == "Digits") {
        step.pattern.emplace(Regex("\\p{N}", where));
        step.behavior =
            flag_field(json, "individual_digits", false, where) ? SplitBehavior::isolated : SplitBehavior::contiguous;
    } else if (type == "Metaspace") {
        step.metaspace.emplace(json, where);
        if (step.metaspace->split) {
            step.pattern.emplace(Json::object({{"String", step.metaspace->replacement}}), where);
            step.behavior = SplitBehavior::merged_with_next;
        }
    } else if (type == "WhitespaceSplit") {
        step.pattern.emplace(Regex("\\s", where));
        step.behavior = SplitBehavior::removed;
    } else {
        throw Error(where + ": unknown type \"" + type
                    + "\"; known: ByteLevel, Digits, Metaspace, Sequence, Split, WhitespaceSplit");
    }
    steps_.push_back(std::move(step));
}

GRAFT_INLINE SplitBehavior PreTokenizer::behavior_of(const std::string& name, const std::string& where)
{
    if (name == "Isolated") { return SplitBehavior::isolated; }
    if (name == "Removed") { return SplitBehavior::removed; }
    if (name == "MergedWithPrevious") { return SplitBehavior::merged_with_previous; }
    if (name == "MergedWithNext") { return SplitBehavior::merged_with_next; }
    if (name == "Contiguous") { return SplitBehavior::contiguous; }
    throw Error(where + ": unknown behavior \"" + name + "\" of a Split");
}

GRAFT_INLINE void PreTokenizer::add_prefix(Words& work, std::string_view prefix, bool everywhere)
{
    AlignedText out(work.text.tracked);
    out.reserve(work.text.text.size() + prefix.size() * work.words.size());
    for (TextSpan& word : work.words) {
        const std::size_t begin = out.text.size();
        const bool wanted = everywhere || word.begin < work.text.from_start;
        if (wanted && !view(work, word).starts_with(prefix)) { out.put(prefix, work.text, word.begin, word.begin); }
        out.copy(work.text, word.begin, word.end);
        word = {begin, out.text.size()};
    }
    work.text = std::move(out);
}

GRAFT_INLINE void PreTokenizer::mark_spaces(Words& work, const Metaspace& metaspace)
{
    AlignedText out(work.text.tracked);
    out.reserve(work.text.text.size() * 3 / 2);
    for (TextSpan& word : work.words) {
        const std::size_t begin = out.text.size();
        std::size_t done = word.begin;
        for (std::size_t at = word.begin; at < word.end; ++at) {
            if (work.text.text[at] != ' ') { continue; }
            out.copy(work.text, done, at);
            out.put(metaspace.replacement, work.text, at, at + 1, true);
            done = at + 1;
        }
        out.copy(work.text, done, word.end);
        word = {begin, out.text.size()};
    }
    work.text = std::move(out);
    if (metaspace.prepend != Metaspace::Prepend::never) {
        add_prefix(work, metaspace.replacement, metaspace.prepend == Metaspace::Prepend::always);
    }
}

GRAFT_INLINE void PreTokenizer::split(Words& work, const Step& step, Regex::MatchData& data)
{
    std::vector<TextSpan> out;
    out.reserve(work.words.size() + work.text.text.size() / 4);
    if (step.behavior == SplitBehavior::isolated) {  // parts are words: no list of them is needed
        for (const TextSpan& word : work.words) {
            std::size_t done = word.begin;
            step.pattern->each(view(work, word), data, [&](std::size_t begin, std::size_t end) {
                if (word.begin + begin > done) { out.push_back({done, word.begin + begin}); }
                if (end > begin) { out.push_back({word.begin + begin, word.begin + end}); }
                done = word.begin + end;
            });
            if (done < word.end) { out.push_back({done, word.end}); }
        }
    } else {
        std::vector<Part> parts;
        for (const TextSpan& word : work.words) {
            parts.clear();
            std::size_t done = word.begin;
            step.pattern->each(view(work, word), data, [&](std::size_t begin, std::size_t end) {
                if (word.begin + begin > done) { parts.push_back({{done, word.begin + begin}, step.invert}); }
                parts.push_back({{word.begin + begin, word.begin + end}, !step.invert});
                done = word.begin + end;
            });
            if (done < word.end) { parts.push_back({{done, word.end}, step.invert}); }
            merge(parts, step.behavior, out);
        }
    }
    work.words = std::move(out);
}

GRAFT_INLINE std::string_view PreTokenizer::view(const Words& work, const TextSpan& word)
{
    return std::string_view(work.text.text).substr(word.begin, word.end - word.begin);
}

GRAFT_INLINE void PreTokenizer::merge(const std::vector<Part>& parts, SplitBehavior behavior,
                                      std::vector<TextSpan>& out)
{
    const auto before = static_cast<std::ptrdiff_t>(out.size());
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const Part& part = parts[i];
        const bool first = i == 0;
        bool join = false;
        switch (behavior) {
        case SplitBehavior::isolated: break;
        case SplitBehavior::removed:
            if (part.match) { continue; }
            break;
        case SplitBehavior::contiguous: join = !first && part.match == parts[i - 1].match; break;
        // of several matches in a row only the one that touches the gap joins it
        case SplitBehavior::merged_with_previous: join = !first && part.match && !parts[i - 1].match; break;
        case SplitBehavior::merged_with_next: join = !first && !part.match && parts[i - 1].match; break;
        }
        if (join) {
            out.back().end = part.at.end;
        } else {
            out.push_back(part.at);
        }
    }
    const auto empty = [](const TextSpan& word) { return word.begin == word.end; };
    out.erase(std::remove_if(out.begin() + before, out.end(), empty), out.end());
}

}  // namespace graft::detail::tokens
