#pragma once
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/chat_template.hpp"
#include "graft/text/labels/ends.hpp"
#include "graft/text/labels/probe.hpp"
#include "graft/text/span.hpp"
#include "graft/text/tokenizer.hpp"

// Which tokens of a conversation are learnt: what the assistant says, in every assistant turn, from the end of the
// generation prompt to the end-of-turn token, included; nothing else.
//
// It is found from the template's structure, not by searching for markers: all answers are replaced by words that occur
// nowhere else, and the conversation is rendered again; then every second one, so that each stands by itself between
// two words. What stands around the words must stand around the answers in the given text, to the last byte. So markers
// typed by a user, white space at the seams, tool calls and answers that end like a turn do not disturb it.
// {% generation %} marks are not asked: published ones begin and end in different places.
//
//   begin   the end of the generation prompt: what add_generation_prompt adds behind the turns before. Where that opens
//           (and closes) a think block, the block is a target only if the answer has another one in its place. Where a
//           template has no generation prompt (Mistral) or it holds text that the answer replaces: the first character
//           of the content (labels/prompts.hpp)
//   end     behind the first token after the content: EOS, or what stands in <…>, or all that stands there both before
//           another turn and at the end of the conversation (labels/ends.hpp)
//   cut     what a template prints of a tool's results between the two, with the markers around them
//           (labels/foreign.hpp)
//
// An answer is replaced without its tool calls; where a template refuses that (it checks the order of roles) or prints
// something else, with its calls renamed.
//
// A conversation is rendered at most `most_renderings` times, however many turns it has; 4 to 8 times as a rule.
// Refused with the reason (Error): a template that does not show an assistant turn, or its tool calls, exactly once;
// that renders other turns differently when this one changes; that cannot render the turns before an answer; that
// prints what others say inside of a turn, where that cannot be cut out.
// labels[t] = ids[t] where token t overlaps a span, else graft::ignore; not shifted.
// Source: our own rule; checked against recorded targets (tests/text/labels.cpp).
namespace graft {

namespace detail::labels {

// calls shown; twice (calls taken away, then renamed) 3 probes, one of others, 16 for prompts, 9 for ends; with foreign
// text 2 more and once more all of these; 8 where a hint is looked for.
inline constexpr std::size_t most_renderings = 150;

class Finder {
public:
    explicit Finder(const Conversation& all) : all_(all) {}

    std::vector<AssistantTurn> find();

private:
    // Calls taken away, and else renamed. The reason of the first is the better one: it speaks of contents.
    std::vector<AssistantTurn> pieces();

    std::vector<AssistantTurn> pieces(Calls calls);

    // The same with words for what users and tools say; a template may refuse it.
    void probe_others(Calls calls);

    // What each answer says, from a text in which the answers beside it are replaced.
    std::vector<std::string> answers(const Probe& probe, Calls calls, const std::vector<std::size_t>& begins,
                                     const std::vector<TurnEnd>& tails) const;

    // All of it put together must be the given text.
    std::vector<AssistantTurn> together(const Probe& probe, const std::vector<std::size_t>& begins,
                                        const std::vector<TurnEnd>& tails, const std::vector<std::string>& thinks,
                                        const std::vector<std::string>& said) const;

    [[noreturn]] void changes(std::size_t k) const;

    bool may_hold_others() const { return all_.turns.size() < all_.messages.size(); }

    void cut_foreign(std::vector<AssistantTurn>& turns);

    const Conversation& all_;
    std::optional<Probe> others_;
    std::vector<std::string> prompts_, tokens_;  // what each answer begins behind, and ends with
};

}  // namespace detail::labels

// The assistant's turns of `rendered` = chat.render(messages, false, extra), in order.
std::vector<AssistantTurn> assistant_turns(const ChatTemplate& chat, const nlohmann::ordered_json& messages,
                                           const std::string& rendered, const nlohmann::ordered_json& extra = {});

// What is learnt of it: learnt_spans of these.
std::vector<TextSpan> assistant_spans(const ChatTemplate& chat, const nlohmann::ordered_json& messages,
                                      const std::string& rendered, const nlohmann::ordered_json& extra = {});

// The spans may not overlap and must stand in rising order, as assistant_spans gives them.
std::vector<std::int32_t> labels_from_spans(const Encoding& encoding, std::span<const TextSpan> spans);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/text/labels.ipp"
#endif
