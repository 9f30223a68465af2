#pragma once
#include "graft/text/end_of_turn.hpp"

#include <cstdint>
#include <optional>

#include "graft/text/chat_template.hpp"
#include "graft/text/dataset/end_id.hpp"
#include "graft/text/tokenizer.hpp"

namespace graft {

GRAFT_INLINE std::optional<std::int32_t> end_of_turn(const ChatTemplate& chat, const Tokenizer& tokenizer)
{
    return detail::dataset::end_of_turn_id(chat, tokenizer);
}

}  // namespace graft
