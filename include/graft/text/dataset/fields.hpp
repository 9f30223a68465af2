#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/dataset/read.hpp"
#include "graft/text/dataset/read/bytes.hpp"

// Names of fields as published data sets have them, and what each of them holds: the one table that forms, lists of
// known fields and errors are made from.
//
//   turns       messages (OpenAI), conversations (ShareGPT), conversation, dialogue, dialog
//   question    instruction (Alpaca, Dolly), question (OpenOrca, GSM8K), query (MetaMathQA), prompt; problem, inputs;
//               input where there is no other
//   context     input (Alpaca), context (Dolly): goes on behind the question
//   answer      output (Alpaca), response (Dolly, OpenOrca), answer (GSM8K), completion (TRL); solution, targets
//   chosen, rejected   also as chosen_messages, chosen_response, … of preference pairs
//   system      system, system_prompt (OpenOrca), system_message
//
// A `late` name counts only where no earlier name of its kind holds something, since it often stands beside them for
// another purpose (the whole text as `prompt`). Null counts as absent, and an empty text gives way to one that says
// something. Two names of one kind that say different things are two readings of a row (BadForm).
namespace graft::detail::dataset {

enum class Holds { turns, question, context, answer, chosen, rejected, system, text, ids, beside };

struct Field {
    const char* name;
    Holds holds;
    bool late = false;
};

inline constexpr Field fields[] = {
    {"messages", Holds::turns},
    {"conversations", Holds::turns},
    {"conversation", Holds::turns},
    {"dialogue", Holds::turns},
    {"dialog", Holds::turns},
    {"instruction", Holds::question},
    {"question", Holds::question},
    {"query", Holds::question},
    {"prompt", Holds::question, true},
    {"problem", Holds::question, true},
    {"inputs", Holds::question, true},
    {"input", Holds::context},
    {"context", Holds::context},
    {"output", Holds::answer},
    {"response", Holds::answer},
    {"answer", Holds::answer},
    {"completion", Holds::answer},
    {"solution", Holds::answer, true},
    {"targets", Holds::answer, true},
    {"chosen", Holds::chosen},
    {"chosen_messages", Holds::chosen},
    {"chosen_response", Holds::chosen},
    {"rejected", Holds::rejected},
    {"rejected_messages", Holds::rejected},
    {"rejected_response", Holds::rejected},
    {"system", Holds::system},
    {"system_prompt", Holds::system},
    {"system_message", Holds::system},
    {"text", Holds::text},
    {"input_ids", Holds::ids},
    {"tools", Holds::beside},
    {"history", Holds::beside},
};

// Keys of a turn: who speaks, what is said (text, as OASST has it, where neither of the two is there), and whether it
// is learnt. A turn of {input, output} is a question and its answer (Capybara).
inline constexpr const char* turn_role_keys[] = {"role", "from"};
inline constexpr const char* turn_text_keys[] = {"content", "value"};
inline constexpr const char* learn_flags[] = {"weight", "loss_weight", "loss_scale", "train", "training", "loss"};
inline constexpr const char* mask_flags[] = {"masked", "mask"};
inline constexpr const char* part_flags[] = {"train_detail", "training_detail"};
inline constexpr const char* reasoning_fields[] = {"reasoning_content", "thinking", "reasoning"};

bool present(const Json& row, const char* key);

// -1 absent, 0 null, 1 empty, 2 holds something.
int fill(const Json& row, const char* key);

// "a, b or c" of the names that hold this.
std::string names_of(Holds holds);

std::string fields_of(const Json& row);

// The names of this kind that the row has, the fullest ones alone; equal values once.
std::vector<const char*> fields_for(const Json& row, Holds holds);

[[noreturn]] void two_readings(const std::string& one, const std::string& other, const char* cure = nullptr);

// The one field of this kind, or null.
const char* field_for(const Json& row, Holds holds);

// A string field; null and absent give an empty one.
std::string text_field(const Json& row, const char* key);

}  // namespace graft::detail::dataset

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset/fields.ipp"
#endif
