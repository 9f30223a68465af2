#pragma once
#include "graft/text/dataset/shown.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/text/dataset/forms.hpp"
#include "graft/text/dataset/read/bytes.hpp"

namespace graft::detail::dataset {

GRAFT_INLINE std::string_view bare(std::string_view all)
{
    while (!all.empty() && json_space(all.front())) { all.remove_prefix(1); }
    while (!all.empty() && json_space(all.back())) { all.remove_suffix(1); }
    return all;
}

GRAFT_INLINE std::int64_t characters(std::string_view text)
{
    return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

GRAFT_INLINE bool holds(std::string_view text, std::string_view part, std::size_t& from)
{
    const auto anchor = part.substr(0, 16);
    std::size_t left = 8 * (text.size() + part.size());
    for (auto at = text.find(anchor, from); at != text.npos; at = text.find(anchor, at + 1)) {
        const auto there = text.substr(at, part.size());
        const auto same = std::size_t(std::mismatch(there.begin(), there.end(), part.begin()).first - there.begin());
        if (same == part.size()) {
            from = at + same;
            return true;
        }
        if (left < same + 1) { return true; }
        left -= same + 1;
    }
    return false;
}

GRAFT_INLINE std::vector<std::string_view> pieces(const Json& message)
{
    constexpr std::string_view open = "<think>", close = "</think>";
    std::vector<std::string_view> out;
    if (const auto it = message.find("reasoning_content"); it != message.end() && it->is_string()) {
        out.push_back(bare(it->get_ref<const std::string&>()));
    }
    std::string_view content = message["content"].get_ref<const std::string&>();
    if (const auto end = content.find(close); end != content.npos) {
        auto thought = content.substr(0, end);
        if (const auto begin = thought.find(open); begin != thought.npos) {
            out.push_back(bare(thought.substr(0, begin)));
            thought.remove_prefix(begin + open.size());
        }
        out.push_back(bare(thought));
        content.remove_prefix(end + close.size());
    }
    out.push_back(bare(content));
    return out;
}

GRAFT_INLINE Hidden hidden_chars(const DataRow& row, std::string_view text, bool all)
{
    Hidden sum;
    std::size_t from = 0;
    for (std::size_t i = 0; i < row.turns.messages.size(); ++i) {
        const Json& message = row.turns.messages[i];
        if (message["role"] != "assistant" || !message["content"].is_string()) { continue; }
        if (!all && !row.turns.learnt[i]) { continue; }
        const auto start = from;  // a template may write the pieces in any order
        for (const auto piece : pieces(message)) {
            const auto size = characters(piece);
            std::size_t end = start;
            sum.said += size;
            if (size > 0 && !holds(text, piece, end)) { sum.hidden += size; }
            from = std::max(from, end);
        }
    }
    return sum;
}

}  // namespace graft::detail::dataset
