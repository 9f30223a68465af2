#pragma once
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/chat_template.hpp"
#include "graft/text/labels/probe.hpp"

// Where each answer ends: behind the first token after it. That is a special token but BOS, or what stands in <…>, or
// all that stands there both before another turn and at the end of the conversation.
//
// Behind tool calls that are kept there is text of the calls first: there it is the token that ends an answer without
// calls, looked for up to the next word.
//
// A template that writes nothing behind the last answer, and <…> as soon as something follows, is refused: a model
// would not learn to stop. Which of the named templates writes that token behind every answer is said with it.
// Errors: as Conversation.
namespace graft::detail::labels {

struct TurnEnd {
    std::size_t close = 0, end = 0;
};  // the token with white space in front, in bytes of the gap behind

// The first token of a text, white space in front of it included; 0: none.
std::size_t first_token(const ChatTemplate& chat, std::string_view tail);

class Ends {
public:
    Ends(const Conversation& all, Calls calls, const Probe& probe, const Messages& changed)
        : all_(all), calls_(calls), probe_(probe), changed_(changed)
    {}

    TurnEnd end(std::size_t k);

private:
    static constexpr std::size_t most = 4;

    // following: what the template writes behind an answer once another turn follows.
    [[noreturn]] void fail(std::size_t k, const std::string& following) const;

    // The named templates that end an answer with the token, as options; those that also begin it alike, if any do.
    std::string named_with(const std::string& token) const;

    // What stands behind an answer both when it is the last turn and when another follows.
    std::string shared_end(std::size_t k, std::string& following);

    std::string behind(const std::string& text, std::size_t k) const;

    // The token behind an answer without calls: of this conversation, or of a small one.
    const std::string& plain_end(std::size_t k);
    const std::string& keep(std::string_view token);

    const Conversation& all_;
    Calls calls_;
    const Probe& probe_;
    const Messages& changed_;
    std::vector<std::string> shared_;
    std::optional<std::string> plain_;
};

}  // namespace graft::detail::labels

#if GRAFT_HEADER_ONLY
#include "graft/text/labels/ends.ipp"
#endif
