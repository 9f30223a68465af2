#pragma once
#include <cstdint>
#include <optional>

#include "graft/text/labels.hpp"

// The token that ends an assistant's turn, where it is a control token: generation stops there.
//
// Found by rendering a two-turn conversation: the last token of what the assistant says (labels.hpp). Nothing where the
// template refuses such a conversation, or ends a turn with ordinary text.
namespace graft {

inline std::optional<std::int32_t> end_of_turn(const ChatTemplate& chat, const Tokenizer& tokenizer)
{
    const nlohmann::ordered_json messages = {{{"role", "user"}, {"content", "a"}},
                                             {{"role", "assistant"}, {"content", "b"}}};
    const nlohmann::ordered_json extra = {{"instruction", "a"}, {"input", ""}};
    try {
        const auto text = chat.render(messages, false, extra);
        const auto spans = assistant_spans(chat, messages, text, extra);
        const auto encoding = tokenizer.encode_with_spans(text, {.add_special = false});
        const auto labels = labels_from_spans(encoding, spans);
        for (std::size_t t = labels.size(); t-- > 0;) {
            if (labels[t] == ignore) { continue; }
            if (tokenizer.is_special(labels[t])) { return labels[t]; }
            return std::nullopt;
        }
    } catch (const Error&) {
    }
    return std::nullopt;
}

}  // namespace graft
