#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/text/dataset/forms.hpp"
#include "graft/text/span.hpp"

// Whether what is learnt is what will be asked. A model that is asked gets the generation prompt, encoded by itself,
// and goes on from there. Where the first token of an answer also holds the end of that prompt (a space behind
// "Answer:", say), the model has learnt to go on from other tokens than it is given.
//
// A token that begins in front of its answer is no harm by itself: [/INST] in Mistral's format ends its prompt, and the
// space in front of the answer is the answer's. So the prompt is rendered and encoded, but only where there is such a
// token: for the first answer that begins with it, and `most_asked` of them in a row.
namespace graft::detail::dataset {

template <class Tok, class Template, class Coded>
bool begins_in_prompt(const Tok& tokens, const Template& tmpl, const DataRow& row, const Coded& coded,
                      const std::vector<TextSpan>& spans, bool add_special)
{
    constexpr std::size_t most_asked = 8;
    const auto& messages = row.turns.messages;
    std::vector<std::int32_t> asked;
    std::size_t answer = 0;
    for (std::size_t i = 0; i < messages.size() && answer < spans.size() && asked.size() < most_asked; ++i) {
        if (messages[i]["role"] != "assistant" || !row.turns.learnt[i]) { continue; }
        const auto begin = spans[answer++].begin;
        const auto token = std::partition_point(coded.spans.begin(), coded.spans.end(),
                                                [&](const TextSpan& t) { return t.end <= begin; });
        if (token == coded.spans.end() || token->begin >= begin) { continue; }
        const auto end = coded.ids.begin() + (token - coded.spans.begin());
        if (std::find(asked.begin(), asked.end(), *end) != asked.end()) { continue; }
        asked.push_back(*end);
        auto before = messages;
        before.erase(before.begin() + std::ptrdiff_t(i), before.end());
        try {
            const auto prompt = tokens.encode_with_spans(tmpl.render(before, true, row.extra),
                                                         {.add_special = add_special, .control_tokens = true});
            if (!std::equal(prompt.ids.begin(), prompt.ids.end(), coded.ids.begin(), end)) { return true; }
        } catch (const Error&) {  // a template that cannot render the turns before: nobody asks that way
        }
    }
    return false;
}

}  // namespace graft::detail::dataset
