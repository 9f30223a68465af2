#pragma once
#include "graft/text/dataset/proof.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/text/dataset/example.hpp"
#include "graft/text/dataset/histogram.hpp"
#include "graft/text/dataset/load.hpp"
#include "graft/text/dataset/report.hpp"

namespace graft {

GRAFT_INLINE std::vector<std::size_t> rows_to_look_at(const Dataset& set, std::size_t most)
{
    using Row = DataReport::Row;
    const auto& rows = set.report.rows;
    most = std::min(most, rows.size());
    const bool ends = !set.report.end_of_turn.empty();
    struct Kind {
        std::function<bool(const Row&)> counts;
        std::function<bool(const Row&, const Row&)> worse;
    };
    const Kind kinds[] = {
        {[](const Row&) { return true; }, [](const Row& a, const Row& b) { return a.targets < b.targets; }},
        {[](const Row& r) { return r.tokens_lost > 0; },
         [](const Row& a, const Row& b) {
             return std::pair(a.targets_lost, a.tokens_lost) > std::pair(b.targets_lost, b.tokens_lost);
         }},
        {[](const Row& r) { return r.control > 0; }, [](const Row& a, const Row& b) { return a.control > b.control; }},
        {[&](const Row& r) { return ends && !r.ended; }, [](const Row&, const Row&) { return false; }},
    };
    // The first `most` of each kind; rows that are alike keep their order.
    std::vector<std::vector<std::size_t>> orders;
    for (const auto& kind : kinds) {
        auto& order = orders.emplace_back();
        for (std::size_t i = 0; i < rows.size(); ++i) {
            if (kind.counts(rows[i])) { order.push_back(i); }
        }
        const auto end = order.begin() + std::ptrdiff_t(std::min(most, order.size()));
        std::partial_sort(order.begin(), end, order.end(), [&](std::size_t a, std::size_t b) {
            if (kind.worse(rows[a], rows[b])) { return true; }
            return !kind.worse(rows[b], rows[a]) && a < b;
        });
        order.erase(end, order.end());
    }
    std::vector<std::size_t> out;
    for (std::size_t k = 0; k < most; ++k) {
        for (const auto& order : orders) {
            if (k < order.size() && out.size() < most && std::find(out.begin(), out.end(), order[k]) == out.end()) {
                out.push_back(order[k]);
            }
        }
    }
    return out;
}

GRAFT_INLINE std::string row_title(const Dataset& set, std::size_t number)
{
    using detail::dataset::counted;
    const auto& row = set.report.rows.at(number);
    const auto& example = set.examples.at(std::size_t(row.example));
    std::int64_t tokens = 0;
    for (std::int64_t k = 0; k < row.examples; ++k) {
        tokens += std::int64_t(set.examples.at(std::size_t(row.example + k)).ids.size());
    }
    auto out = detail::dataset::printable(example.source, 400) + " row " + std::to_string(example.row) + ": "
               + counted(row.targets, "target") + " of " + counted(tokens, "token");
    if (set.report.pairs) {
        out += " in both answers (the chosen one is shown)";
    } else if (row.examples > 1) {
        out += " in " + counted(row.examples, "piece") + " (the first is shown)";
    }
    if (row.tokens_lost > 0) {
        out += ", cut: " + counted(row.tokens_lost, "token") + " and " + counted(row.targets_lost, "target") + " lost";
    }
    if (row.control > 0) { out += ", " + counted(row.control, "control token") + " inside the contents"; }
    if (!set.report.end_of_turn.empty() && !row.ended) {
        out += row.end_lost ? ", the end of turn is lost" : ", the end of turn is not learnt";
    }
    return out;
}

GRAFT_INLINE std::vector<MarkedPart> shortened(std::vector<MarkedPart> parts, std::size_t most)
{
    constexpr std::size_t parts_shown = 64;
    constexpr std::string_view gap = "[…]";
    if (parts.size() > parts_shown) {
        parts.resize(parts_shown);
        parts.push_back({.text = std::string(gap), .learnt = false});
    }
    for (auto& part : parts) {
        auto& text = part.text;
        if (text.size() <= most + gap.size()) { continue; }
        const auto inside = [&](std::size_t at) { return at < text.size() && (text[at] & 0xC0) == 0x80; };
        std::size_t head = most / 2, tail = text.size() - most / 2;
        while (head > 0 && inside(head)) { --head; }  // never inside a character
        while (inside(tail)) { ++tail; }
        text = text.substr(0, head) + std::string(gap) + text.substr(tail);
    }
    return parts;
}

}  // namespace graft

namespace graft::detail::dataset {

GRAFT_INLINE std::vector<std::string>
proof_lines(const Dataset& set, std::size_t most,
            const std::function<std::vector<MarkedPart>(const Example&)>& parts_of)
{
    auto lines = summary(set.report, /*histogram*/ false);
    lines.insert(lines.end(), {"", "targets a row, and how many rows have so many"
                                       + std::string(set.report.rows_dropped() > 0 ? " (0: dropped)" : "")});
    for (const auto& line : histogram_lines(target_buckets(set.report))) { lines.push_back("  " + line); }
    const auto worst = rows_to_look_at(set, most);
    if (worst.empty()) { return lines; }
    lines.insert(lines.end(), {"", "rows to look at" + std::string(parts_of ? ", what is learnt in «»" : "")});
    for (const auto number : worst) {
        lines.push_back("  " + row_title(set, number));
        if (!parts_of) { continue; }
        const auto parts = shortened(parts_of(set.examples[std::size_t(set.report.rows[number].example)]), 400);
        lines.push_back("    " + printable(join_marked(parts), 64 * 1024));
    }
    return lines;
}

}  // namespace graft::detail::dataset
