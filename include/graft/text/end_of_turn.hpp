#pragma once
#include <cstdint>
#include <optional>

#include "graft/text/dataset/end_id.hpp"
#include "graft/text/labels.hpp"

// The token that ends an assistant's turn, where it is a control token: generation stops there.
//
// Found by rendering a two-turn conversation: the last token of what the assistant says (labels.hpp). Nothing where the
// template refuses such a conversation, or ends a turn with ordinary text.
namespace graft {

inline std::optional<std::int32_t> end_of_turn(const ChatTemplate& chat, const Tokenizer& tokenizer)
{
    return detail::dataset::end_of_turn_id(chat, tokenizer);
}

}  // namespace graft
