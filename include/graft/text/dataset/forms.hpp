#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/dataset/options.hpp"
#include "graft/text/dataset/read.hpp"
#include "graft/text/dataset/read/bytes.hpp"
#include "graft/text/dataset/turns.hpp"

// One row of a file, told apart by its fields and brought into one of three shapes: turns, text, or ready-made ids.
// The names of fields are those of fields.hpp; `messages` stands here for every name of turns, and so on.
//
//   messages                         turns; tools, system, chat_template_kwargs beside it
//   question, answer                 instruction and output (Alpaca), question and answer, ...: a user's turn (the
//                                    context behind the question, on a line of its own) and an assistant's; system,
//                                    tools, history ([[question, answer], ...]) before them
//   prompt, completion               both text, joined as they are, or both turns; with a system text, tools or a
//                                    history beside them, texts are question and answer (`as_turns`), since joined text
//                                    has no place for those
//   text                             a document
//   input_ids                        labels, attention_mask (zeros: padding on the right, cut away)
//
// Null counts as absent. A row that cannot be learnt from is not an error: `drop` says why.
// Throws BadForm: no known form, two readings, forms that are not trained here (preference pairs). BadRow: a wrong
// type, a malformed turn, ids outside the vocabulary.
namespace graft::detail::dataset {

enum class Form { turns, question, prompt_completion, prompt_completion_turns, text, ids };

// How a row is read, from its fields alone.
struct Reading {
    Form form = Form::text;
    std::string name{};  // "instruction/output", for a person
    std::string kind{};  // what all rows of a file share
    const char *turns = nullptr, *question = nullptr, *context = nullptr, *answer = nullptr, *system = nullptr;
    const char *chosen = nullptr, *rejected = nullptr;  // of preference pairs (pairs.hpp)
    bool text_as_turns = false;                         // as_turns() made turns of texts
};

struct DataRow {
    Form form = Form::text;
    RowPlace place;
    Turns turns;                     // conversations
    Json extra = Json::object();     // what the template sees beside the turns
    std::string instruction, input;  // question and context, as they stand
    bool history = false;
    std::string prompt, text;  // prompt/completion: prompt is the first part of text
    std::vector<std::int32_t> ids, labels;
    bool has_labels = false;
    std::vector<std::pair<std::size_t, std::size_t>> answers;  // first and last token of each span that is learnt
    std::int64_t control = 0;                                  // control tokens typed inside the contents
    std::string tmpl;                    // the checkpoint's template that it took, where there are several
    std::string drop;                    // not empty: why the row cannot be used
    std::vector<std::string_view> used;  // fields that were looked at
};

void refuse_preferences(const Json& row);

// Fields of the question in `reading`, the context apart; false where there is none.
bool find_question(const Json& row, Reading& reading, const char* question);

// The readings of a row as question and answer, or as prompt and completion, to `found`.
void find_answers(const Json& row, bool all_null, std::vector<Reading>& found);

std::vector<Reading> readings_of(const Json& row);

Reading reading_of(const Json& row, const DataOptions& options);

// Texts that would be joined, where something stands beside them that only turns have a place for.
bool needs_turns(const Json& row, const Reading& reading);

void as_turns(Reading& reading);

Json tools_field(const Json& row);

void read_extra(const Json& row, DataRow& out);

// The system text that stands beside the rest of a row.
std::string system_text(const Json& row, const Reading& reading, DataRow& out);

void read_history(const Json& row, DataRow& out);

// What is asked, to the end of the user's turn.
void read_question(const Json& row, const Reading& reading, DataRow& out);

void read_question_and_answer(const Json& row, const Reading& reading, DataRow& out);

void read_conversation(const Json& row, const Reading& reading, DataRow& out);

void read_prompt_turns(const Json& row, const Reading& reading, DataRow& out);

void read_prompt_text(const Json& row, const Reading& reading, DataRow& out);

void read_text(const Json& row, const Reading& reading, DataRow& out);

// A list of integers in [0, vocab), or ignore where labels may hold it.
std::vector<std::int32_t> read_ids(const Json& row, const char* key, const DataOptions& options, bool may_ignore);

void read_ready_ids(const Json& row, const DataOptions& options, DataRow& out);

DataRow read_row(const Json& row, const RowPlace& place, const Reading& reading, const DataOptions& options);

// A row by itself.
DataRow understand(const Json& row, const RowPlace& place, const DataOptions& options);

}  // namespace graft::detail::dataset

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset/forms.ipp"
#endif
