#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "graft/text/dataset/bad_row.hpp"
#include "graft/text/dataset/read.hpp"

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

inline bool present(const Json& row, const char* key)
{
    const auto it = row.find(key);
    return it != row.end() && !it->is_null();
}

// -1 absent, 0 null, 1 empty, 2 holds something.
inline int fill(const Json& row, const char* key)
{
    const auto it = row.find(key);
    if (it == row.end()) { return -1; }
    if (it->is_null()) { return 0; }
    const bool empty = it->is_string() ? it->get_ref<const std::string&>().empty()
                                       : (it->is_array() || it->is_object()) && it->empty();
    return empty ? 1 : 2;
}

// "a, b or c" of the names that hold this.
inline std::string names_of(Holds holds)
{
    std::vector<std::string> names;
    for (const auto& field : fields) {
        if (field.holds == holds) { names.emplace_back(field.name); }
    }
    std::string out;
    for (std::size_t i = 0; i < names.size(); ++i) {
        out += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + names[i];
    }
    return out;
}

inline std::string fields_of(const Json& row)
{
    std::vector<std::string> names;
    for (const auto& [key, value] : row.items()) {
        if (names.size() < 8) { names.push_back(printable(key, 40)); }
    }
    std::string out;
    for (const auto& name : names) { out += (out.empty() ? "" : ", ") + name; }
    if (row.size() > names.size()) { out += ", and " + std::to_string(row.size() - names.size()) + " more"; }
    return out.empty() ? "no fields" : "fields " + out;
}

// The names of this kind that the row has, the fullest ones alone; equal values once.
inline std::vector<const char*> fields_for(const Json& row, Holds holds)
{
    int best = -1, best_late = -1;
    for (const auto& field : fields) {
        if (field.holds == holds) {
            int& of = field.late ? best_late : best;
            of = std::max(of, fill(row, field.name));
        }
    }
    const bool late = best < 1 && best_late >= 0 && (best < 0 || best_late == 2);
    const int want = late ? best_late : best;
    std::vector<const char*> found;
    for (const auto& field : fields) {
        if (want < 0 || field.holds != holds || field.late != late || fill(row, field.name) != want) { continue; }
        const bool again =
            std::any_of(found.begin(), found.end(), [&](const char* name) { return row[name] == row[field.name]; });
        if (!again || (holds == Holds::turns && want == 1)) { found.push_back(field.name); }
    }
    return found;
}

[[noreturn]] inline void two_readings(const std::string& one, const std::string& other, const char* cure = nullptr)
{
    throw BadForm("can be read as " + one + " and as " + other + "; "
                  + (cure != nullptr ? cure : "keep the fields of one of them"));
}

// The one field of this kind, or null.
inline const char* field_for(const Json& row, Holds holds)
{
    const auto found = fields_for(row, holds);
    if (found.size() > 1) {
        throw BadForm(std::string("has ") + found[0] + " and " + found[1] + ", which say different things; keep one");
    }
    return found.empty() ? nullptr : found[0];
}

// A string field; null and absent give an empty one.
inline std::string text_field(const Json& row, const char* key)
{
    if (key == nullptr) { return {}; }
    const auto it = row.find(key);
    if (it == row.end() || it->is_null()) { return {}; }
    row_requires(it->is_string(),
                 [&] { return std::string(key) + " must be text, found " + std::string(it->type_name()); });
    return it->get<std::string>();
}

}  // namespace graft::detail::dataset
