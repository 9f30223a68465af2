#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>

#include <nlohmann/json.hpp>

#include "graft/core/error.hpp"
#include "graft/core/labels.hpp"
#include "graft/text/span.hpp"

// end_of_turn of text/end_of_turn.hpp for any template and tokeniser.
namespace graft::detail::dataset {

template <class Template, class Tok>
std::optional<std::int32_t> end_of_turn_id(const Template& chat, const Tok& tokenizer)
{
    const nlohmann::ordered_json messages = {{{"role", "user"}, {"content", "a"}},
                                             {{"role", "assistant"}, {"content", "b"}}};
    const nlohmann::ordered_json extra = {{"instruction", "a"}, {"input", ""}};
    try {
        const auto text = chat.render(messages, false, extra);
        const auto spans = learnt_spans(assistant_turns(chat, messages, text, extra));
        const auto encoding = tokenizer.encode_with_spans(text, {.add_special = false, .control_tokens = true});
        const auto labels = labels_from_spans(encoding, spans);
        for (std::size_t t = labels.size(); t-- > 0;) {
            if (labels[t] == ignore) { continue; }
            if (tokenizer.is_special(labels[t])) { return labels[t]; }
            return std::nullopt;
        }
    } catch (const Error&) {}
    return std::nullopt;
}

}  // namespace graft::detail::dataset
