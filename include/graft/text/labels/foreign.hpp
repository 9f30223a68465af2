#pragma once
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/labels/ends.hpp"
#include "graft/text/labels/probe.hpp"
#include "graft/text/span.hpp"

// What others say inside an assistant's turn: some templates print the results of tools between an answer's calls and
// its text.
//
//   find_foreign    the messages that each answer holds between its begin and its end, seen in a text in which all that
//                   anybody says is words
//   blocks_of       what the template writes for them: these words, and what stands around them and goes when the
//                   messages go. Refused where that cannot be told
//   cut             the same in the text that is learnt from
//
// Errors: as Conversation.
namespace graft::detail::labels {

inline constexpr const char* not_told = "what a tool says inside of it cannot be told from its own words";

// One answer in a text: its piece, and the words of others in it.
struct Held {
    std::size_t begin = 0, end = 0;
    std::vector<Word> words;
};

// prompts and tokens: what each answer begins behind and ends with.
std::vector<Held> find_foreign(const Conversation& all, const Probe& probe,
                               const std::vector<std::string_view>& prompts, const std::vector<std::string>& tokens);

// What is in `with` and not in `without`: a piece that was put in at one place, and must hold [from, to) of `with`.
// Where several readings fit, the one that begins like a token.
TextSpan inserted(std::string_view with, std::string_view without, std::size_t from, std::size_t to);

// The blocks of answer k, with the words of others in them, in order.
std::vector<std::string> blocks_of(const Conversation& all, const Probe& with, const Held& held, const Probe& without,
                                   std::size_t k);

// The blocks in `text`, the answer as it is; `answer` is the same with the words of others in it. Offsets of text.
std::vector<TextSpan> cut(const Conversation& all, std::string_view text, std::string_view answer,
                          const std::vector<std::string>& blocks, std::size_t k);

}  // namespace graft::detail::labels

#if GRAFT_HEADER_ONLY
#include "graft/text/labels/foreign.ipp"
#endif
