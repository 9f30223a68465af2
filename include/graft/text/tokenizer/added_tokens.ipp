#pragma once
#include "graft/text/tokenizer/added_tokens.hpp"

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/unicode.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE std::vector<AddedToken> read_added_tokens(const Json& list, const std::string& where)
{
    std::vector<AddedToken> out;
    if (list.is_null()) { return out; }
    require(list.is_array(), where + ": added_tokens must be a list");
    for (const Json& entry : list) {
        const std::string place = where + ": added_tokens[" + std::to_string(out.size()) + "]";
        require(entry.is_object(), [&] { return place + " must be an object, found " + kind_of(entry); });
        AddedToken token;
        const Json& id = field(entry, "id");
        require(id.is_number_unsigned() && id.get<std::uint64_t>() < (1u << 24),
                [&] { return place + ": id must be a whole number from 0 to 16777215, found " + id.dump(); });
        token.id = id.get<std::int32_t>();
        token.content = text_field(entry, "content", place);
        token.special = flag_field(entry, "special", false, place);
        token.normalized = flag_field(entry, "normalized", !token.special, place);
        token.single_word = flag_field(entry, "single_word", false, place);
        token.lstrip = flag_field(entry, "lstrip", false, place);
        token.rstrip = flag_field(entry, "rstrip", false, place);
        token.control = token.special;
        out.push_back(std::move(token));
    }
    return out;
}

GRAFT_INLINE void Trie::add(std::string_view text, std::uint32_t value)
{
    if (text.empty()) { return; }
    std::uint32_t node = 0;
    first_[static_cast<unsigned char>(text[0])] = true;
    for (const char c : text) {
        std::uint32_t& next = edges_[key(node, c)];
        if (next == 0) {
            next = static_cast<std::uint32_t>(value_.size());
            value_.push_back(none);
        }
        node = next;
    }
    value_[node] = value;
}

GRAFT_INLINE Trie::Match Trie::find(std::string_view text, std::size_t from) const
{
    for (; from < text.size(); ++from) {
        if (!first_[static_cast<unsigned char>(text[from])]) { continue; }
        Match best{from, from, 0};
        std::uint32_t node = 0;
        for (std::size_t at = from; at < text.size(); ++at) {
            const std::uint32_t* next = edges_.find(key(node, text[at]));
            if (next == nullptr) { break; }
            node = *next;
            if (value_[node] != none) { best.end = at + 1, best.value = value_[node]; }
        }
        if (best.end > best.begin) { return best; }
    }
    return {text.size(), text.size(), 0};
}

GRAFT_INLINE std::uint64_t Trie::key(std::uint32_t node, char c)
{
    return std::uint64_t(node) << 8 | static_cast<unsigned char>(c);
}

GRAFT_INLINE bool touches_word(std::string_view text, std::size_t begin, std::size_t end)
{
    if (end < text.size() && is_word(code_point(text, end))) { return true; }
    if (begin == 0) { return false; }
    std::size_t before = begin - 1;
    while (before > 0 && is_continuation(text[before])) { --before; }
    return is_word(code_point(text, before));
}

}  // namespace graft::detail::tokens
