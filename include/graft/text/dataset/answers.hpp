#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/core/labels.hpp"
#include "graft/text/dataset/read.hpp"
#include "graft/text/span.hpp"

// Where the answers of a row lie among its tokens, and whether their end is learnt.
namespace graft::detail::dataset {

using Answers = std::vector<std::pair<std::size_t, std::size_t>>;  // first and last token of each

// The tokens that each span touches.
template <class Coded> Answers answers_of(const Coded& coded, const std::vector<TextSpan>& spans)
{
    Answers out;
    for (const auto& span : spans) {
        const auto inside = [&](const TextSpan& t) {
            return t.begin < t.end && t.begin < span.end && span.begin < t.end;
        };
        const auto from = out.empty() ? coded.spans.begin() : coded.spans.begin() + std::ptrdiff_t(out.back().second);
        const auto first = std::find_if(from, coded.spans.end(), inside);
        if (first == coded.spans.end()) { continue; }
        auto last = first;
        for (auto next = first; next != coded.spans.end() && next->begin < span.end; ++next) {
            if (inside(*next)) { last = next; }
        }
        out.emplace_back(first - coded.spans.begin(), last - coded.spans.begin());
    }
    return out;
}

// Where nobody said what an answer is: each run of targets, or all targets together.
Answers answers_of(const std::vector<std::int32_t>& labels, bool each_run);

// Whether the last target of every answer that has targets is one of `ends`. Up to three blank tokens may follow it:
// templates write white space behind a turn, which is learnt where everything is. Answers behind the last label are cut
// away as a whole.
template <class Tok>
bool all_end(const Answers& answers, const std::vector<std::int32_t>& labels, const std::vector<std::int32_t>& ends,
             const Tok& tokens)
{
    constexpr int most_blanks = 3;
    const auto blank = [&](std::int32_t id) {
        const auto text = tokens.decode(std::span(&id, 1));
        return std::all_of(text.begin(), text.end(), [](char c) { return json_space(c); });
    };
    for (const auto& [first, last] : answers) {
        if (first >= labels.size()) { break; }
        bool any = false, found = false;
        int blanks = 0;
        for (auto t = std::min(last, labels.size() - 1) + 1; !found && t-- > first;) {
            if (labels[t] == ignore) { continue; }
            any = true;
            found = std::find(ends.begin(), ends.end(), labels[t]) != ends.end();
            if (!found && (++blanks > most_blanks || !blank(labels[t]))) { break; }
        }
        if (any && !found) { return false; }
    }
    return !ends.empty();
}

}  // namespace graft::detail::dataset

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset/answers.ipp"
#endif
