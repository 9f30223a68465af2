#pragma once
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/dataset/forms.hpp"
#include "graft/text/dataset/options.hpp"
#include "graft/text/dataset/read/bytes.hpp"
#include "graft/text/dataset/turns.hpp"

// Rows of preference pairs: one prompt, a chosen and a rejected answer. Each row becomes two rows of forms.hpp, prompt
// and answer together, of which the answer is learnt. The prompt is what the forms of forms.hpp have before an answer:
//
//   prompt                            text, joined with the answers as they are; with a system text, tools or a history
//                                     beside it, a user's turn (see forms.hpp)
//   instruction, question, ...        a user's turn, with the context behind it, system, history and tools before it
//   prompt, messages, conversations   turns; a conversation that is an answer again, or the prompt and one of the
//                                     answers, says nothing new
//   nothing                           the turns that both answers begin with. Texts that begin alike are no prompt
//   prompt_ids                        ready-made ids, with chosen_ids and rejected_ids
//
// Behind turns an answer is a list of turns, a lone turn, or text; it may repeat the prompt's turns. A prompt that is
// text beside them is a user's turn of its own, or repeats one that is there and is used once.
//
// Null counts as absent; a pair that cannot be learnt from (an answer is missing, both are the same, two prompts) is
// not an error: `drop` says why.
// Throws BadForm: no known form, no prompt, two readings. BadRow: a wrong type, a malformed turn, ids outside the
// vocabulary.
namespace graft::detail::dataset {

struct PairRow {
    Form form = Form::prompt_completion;  // joined texts, question, turns or ids
    std::array<DataRow, 2> sides;         // chosen, rejected
    std::string prompt;                   // of text
    std::size_t prompt_ids = 0;           // of ids
    std::string drop;
    std::vector<std::string_view> used;
};

inline constexpr std::array<const char*, 2> side_names = {"chosen", "rejected"};

// The one field that asks, `prompt` among them; null where none holds anything.
const char* question_of_pair(const Json& row);

Reading pair_reading_of(const Json& row);

void read_pair_text(const Json& row, const Reading& reading, PairRow& out);

// A list of turns, a lone turn, or text as the assistant's.
std::string answer_turns(const Json& value, const char* key, Turns& to);

std::size_t common_turns(const Json& a, const Json& b);

inline bool begins_with(const Json& all, const Json& part) { return common_turns(all, part) == part.size(); }

bool asks(const Json& messages);

// What the row says before its answers, as turns; `from` is where each answer goes on from there.
struct PairPrompt {
    Turns turns;
    std::array<std::size_t, 2> from = {0, 0};
    std::string drop;
};

// The conversation that stands in a field of its own; nothing where it only says again what the answers say.
void take_conversation(const Json& row, const Reading& reading, const std::array<Turns, 2>& answers,
                       PairPrompt& prompt);

// Turns that were given, repeated by the answers or not; or else those that both answers begin with.
void take_common(const std::array<Turns, 2>& answers, PairPrompt& prompt);

// A prompt that is text, beside turns: a turn of its own where nobody asks yet, or one that is there already.
void take_text(const std::string& text, const std::array<Turns, 2>& answers, PairPrompt& prompt);

PairPrompt pair_prompt(const Json& row, const Reading& reading, const std::array<Turns, 2>& answers, DataRow& ask);

// Why the answers cannot follow this prompt, or nothing.
std::string misfit(const Json& row, const std::array<Turns, 2>& answers, const PairPrompt& prompt);

void read_pair_turns(const Json& row, const Reading& reading, PairRow& out);

void read_pair_ids(const Json& row, const DataOptions& options, PairRow& out);

PairRow read_pair(const Json& row, const RowPlace& place, const Reading& reading, const DataOptions& options);

}  // namespace graft::detail::dataset

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset/pairs.ipp"
#endif
