#pragma once
#include <cstddef>
#include <iterator>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/chat_template.hpp"

// Conversations with words that occur nowhere else in place of what is said in them, and where a rendered text shows
// these words.
//
//   Conversation    the messages, its words, and changed copies of it
//   Probe           a rendered copy, and where it shows each answer that was replaced
//
// An answer's words stand for its content, and where its tool calls are kept for their names and arguments. Reasoning
// beside the content becomes one word, the same in every turn, so that nothing that somebody wrote is left of the turn.
// Errors: Error "cannot tell what the assistant says in message N …" with the reason.
namespace graft::detail::labels {

using Messages = nlohmann::ordered_json;

enum class Calls { taken_away, renamed };

inline constexpr std::size_t none = std::numeric_limits<std::size_t>::max();

bool has_calls(const Messages& message);

bool is_blank(const Messages& message);

// A word in a text. kind: s content, c a call's name, a its arguments, o another message; owner: the turn's number
// among the answers, or the message's among all.
struct Word {
    char kind;
    std::size_t owner, item, begin, end;
};

class Conversation {
public:
    Conversation(const ChatTemplate& chat, const Messages& messages, const Messages& extra,
                 const std::string& rendered);

    [[noreturn]] void fail(std::size_t turn, const std::string& why) const;

    std::string render(const Messages& changed, std::size_t turn, bool prompt = false) const;

    std::string word(char kind, std::size_t owner, std::size_t item = 0) const;

    // Stands for the reasoning of any turn; words_in passes over it.
    std::string thought() const { return word_ + "thought"; }

    // All words of a text, in order.
    std::vector<Word> words_in(std::string_view text) const;

    // A copy in which the answers that `which` names are replaced, and with `others` what users and tools say.
    template <class Which> Messages changed(Calls calls, const Which& which, bool others = false) const
    {
        Messages out = messages;
        for (std::size_t k = 0; k < turns.size(); ++k) {
            if (which(k)) { replace(out[turns[k]], k, calls); }
        }
        for (std::size_t i = 0; others && i < out.size(); ++i) {
            const auto role = out[i].find("role");
            if (role == out[i].end() || *role == "assistant" || *role == "system" || is_blank(out[i])) { continue; }
            out[i]["content"] = word('o', i);
        }
        return out;
    }
    Messages changed(Calls calls, bool others = false) const;

    // Refuses a template that does not show every call.
    void check_calls() const;

    const ChatTemplate& chat;
    const Messages& messages;
    const Messages& extra;
    const std::string& rendered;
    std::vector<std::size_t> turns;  // numbers of the assistant's messages
    bool any_calls = false;

private:
    void replace(Messages& message, std::size_t turn, Calls calls) const;

    std::size_t rename(Messages& message, std::size_t turn, bool arguments) const;

    std::string word_;
};

// A text in which answers are replaced. Their words divide it: gap(k) lies between the answers k - 1 and k.
struct Probe {
    struct Place {
        std::size_t begin = none, end = 0;
    };

    Probe(const Conversation& all, std::string rendered, Calls calls);

    std::string_view between(std::size_t from, std::size_t to) const;
    std::size_t gap_begin(std::size_t k) const { return k == 0 ? 0 : places[k - 1].end; }
    std::size_t gap_end(std::size_t k) const { return k == places.size() ? text.size() : places[k].begin; }
    std::string_view gap(std::size_t k) const { return between(gap_begin(k), gap_end(k)); }

    // Refuses a text that does not show every answer once, and in order.
    void check(const Conversation& all) const;

    std::string text;
    std::vector<Word> words;
    std::vector<Place> places;         // one an answer
    std::vector<std::size_t> missing;  // answers that are not shown, or more than once
};

}  // namespace graft::detail::labels

#if GRAFT_HEADER_ONLY
#include "graft/text/labels/probe.ipp"
#endif
