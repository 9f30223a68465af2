#pragma once
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/labels/probe.hpp"

// Where each answer begins: behind the generation prompt.
//
// What add_generation_prompt adds is learnt from the turns before one answer, rendered with it and without, once for
// each role that stands before an answer; that it stands before every other answer too is seen in the text itself, in
// which all that users and tools say is words. An answer that this does not fit is asked for by itself, `most` in all.
// Reasoning that the template writes as a message of its own (gpt-oss) is the answer's: the prompt before it counts.
// Nobody can ask before the first turn of all where the template reads messages[0]: then what is added behind a
// question is looked for.
// Errors: as Conversation.
namespace graft::detail::labels {

std::size_t common_prefix(std::string_view a, std::string_view b);

struct Prompt {
    std::string added;       // up to a think block that it opens
    std::string think;       // from there on
    std::string stands;      // what is seen before a word: the prompt, and what the template writes behind it
    std::size_t behind = 0;  // bytes of `stands` behind the prompt
    bool nothing = false;
};

class Prompts {
public:
    // probe: every answer replaced; changed: its conversation; others: the same with words for users and tools, or null
    Prompts(const Conversation& all, Calls calls, const Probe& probe, const Messages& changed, const Probe* others)
        : all_(all), calls_(calls), probe_(probe), changed_(changed), others_(others)
    {}

    // The begin of answer k, in bytes of the probe, and its prompt.
    std::pair<std::size_t, const Prompt*> begin(std::size_t k);

private:
    static constexpr std::size_t most = 8;

    std::string role_before(std::size_t k) const;

    void require_more(std::size_t k) const;

    std::size_t learn(std::size_t k, Prompt& prompt);

    std::size_t seen(std::size_t k, std::size_t begin, Prompt& prompt) const;

    // Where no prompt is added, an answer begins with its content; calls begin where the turns before end.
    std::size_t in_front(std::size_t k, const std::string& closed, bool asked);

    std::optional<std::size_t> search(std::size_t k, const Prompt& prompt) const;

    // Whether a message between the answer before and this one holds the text.
    bool typed(std::size_t k, const std::string& text) const;

    const Conversation& all_;
    Calls calls_;
    const Probe& probe_;
    const Messages& changed_;
    const Probe* others_;
    std::vector<std::pair<std::string, std::unique_ptr<Prompt>>> known_;
};

}  // namespace graft::detail::labels

#if GRAFT_HEADER_ONLY
#include "graft/text/labels/prompts.ipp"
#endif
