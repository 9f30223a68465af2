#pragma once
#include <cstdint>
#include <optional>

#include "graft/core/inline.hpp"
#include "graft/text/chat_template.hpp"
#include "graft/text/labels.hpp"
#include "graft/text/tokenizer.hpp"

// The token that ends an assistant's turn, where it is a control token: generation stops there.
//
// Found by rendering a two-turn conversation: the last token of what the assistant says (labels.hpp). Nothing where the
// template refuses such a conversation, or ends a turn with ordinary text.
namespace graft {

std::optional<std::int32_t> end_of_turn(const ChatTemplate& chat, const Tokenizer& tokenizer);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/text/end_of_turn.ipp"
#endif
