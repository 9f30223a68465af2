#pragma once
#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/labels.hpp"
#include "graft/text/dataset/options.hpp"
#include "graft/text/dataset/read.hpp"
#include "graft/text/dataset/turns.hpp"

// One row of a file, told apart by its fields and brought into one of three shapes: turns, text, or ready-made ids.
//
//   messages                         OpenAI; tools, system, chat_template_kwargs beside it
//   conversations                    ShareGPT; the same fields beside it
//   instruction, output              Alpaca; input, system, history ([[question, answer], ...])
//   prompt, completion               both text, or both turns
//   text                             a document
//   input_ids                        labels, attention_mask (zeros: padding on the right, cut away)
//
// Null counts as absent. A row that cannot be learnt from is not an error: `drop` says why.
// Throws Error with file, line, row and key: no known form, two forms, a wrong type, an unknown role, forms that are
// not trained here (preference pairs), ids outside the vocabulary.
namespace graft::detail::dataset {

enum class Form { messages, conversations, instruction, prompt_completion, prompt_completion_turns, text, ids };

inline const char* form_name(Form form)
{
    switch (form) {
    case Form::messages: return "messages";
    case Form::conversations: return "conversations";
    case Form::instruction: return "instruction/output";
    case Form::prompt_completion: return "prompt/completion (text)";
    case Form::prompt_completion_turns: return "prompt/completion (turns)";
    case Form::text: return "text";
    case Form::ids: return "input_ids";
    }
    return "";
}

struct DataRow {
    Form     form = Form::text;
    RowPlace place;
    Turns    turns;                       // conversations
    Json     extra = Json::object();      // what the template sees beside the turns
    std::string instruction, input;       // instruction rows, as they stand
    bool     history = false;
    std::string prompt, text;             // prompt/completion: prompt is the first part of text
    std::vector<std::int32_t> ids, labels;
    bool     has_labels = false;
    std::vector<std::pair<std::size_t, std::size_t>> answers;   // first and last token of each span that is learnt
    std::int64_t control = 0;             // control tokens typed inside the contents
    std::string drop;                     // not empty: why the row cannot be used
};

inline bool present(const Json& row, const char* key)
{
    const auto it = row.find(key);
    return it != row.end() && !it->is_null();
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

inline void refuse_preferences(const Json& row, const RowPlace& place)
{
    const auto is_bool = [&](const char* key) { return row.contains(key) && row[key].is_boolean(); };
    require(!present(row, "chosen") && !present(row, "rejected"), [&] {
        return at(place) + ": these rows are preference pairs (chosen, rejected); train on them with --task dpo";
    });
    require(!is_bool("label") && !is_bool("kto_tag"), [&] {
        return at(place) + ": judged answers (a true or false label) are not trained here; keep the good answers, "
                           "without the label";
    });
}

inline Form form_of(const Json& row, const RowPlace& place, const DataOptions& options)
{
    refuse_preferences(row, place);
    // First by fields that hold something; a row whose fields are all null is known by their names.
    std::vector<Form> found;
    for (const bool or_null : {false, true}) {
        const auto has = [&](const char* key) { return or_null ? row.contains(key) : present(row, key); };
        const auto pair = [&](const char* a, const char* b) {
            return row.contains(a) && row.contains(b) && (has(a) || has(b));
        };
        if (has("input_ids")) { found.push_back(Form::ids); }
        if (has("messages")) { found.push_back(Form::messages); }
        if (has("conversations")) { found.push_back(Form::conversations); }
        if (pair("prompt", "completion")) {
            const bool turns = row["prompt"].is_array() || row["completion"].is_array();
            found.push_back(turns ? Form::prompt_completion_turns : Form::prompt_completion);
        }
        if (pair("instruction", "output")) { found.push_back(Form::instruction); }
        if (has("text")) { found.push_back(Form::text); }
        if (!found.empty()) { break; }
    }
    require(!found.empty(), [&] {
        return at(place) + ": row " + std::to_string(place.row) + " has " + fields_of(row) +
               "; expected messages, conversations, instruction and output, prompt and completion, text, or input_ids";
    });
    if (found.size() == 2 && found[1] == Form::text && options.task_given) {
        return options.task == Task::text ? Form::text : found[0];
    }
    require(found.size() == 1, [&] {
        const bool task_decides = found.size() == 2 && found[1] == Form::text;
        return at(place) + ": row " + std::to_string(place.row) + " can be read as " + form_name(found[0]) + " and as "
               + form_name(found[1]) + "; "
               + (task_decides ? "say --task sft or --task text" : "keep the fields of one of them");
    });
    require(options.task == Task::text || found[0] != Form::text, [&] {
        return at(place) + ": rows of text have no answers to learn; use --task text";
    });
    require(options.task == Task::sft || found[0] == Form::text || found[0] == Form::ids, [&] {
        return at(place) + ": --task text learns documents, these rows are " + form_name(found[0]) +
               "; use --task sft (with --train-on all to learn every token)";
    });
    return found[0];
}

// A string field; null and absent give an empty one.
inline std::string text_field(const Json& row, const char* key, const RowPlace& place)
{
    const auto it = row.find(key);
    if (it == row.end() || it->is_null()) { return {}; }
    require(it->is_string(), [&] {
        return at(place) + ": " + key + " must be text, found " + std::string(it->type_name());
    });
    return it->get<std::string>();
}

inline Json tools_field(const Json& row, const RowPlace& place)
{
    const auto it = row.find("tools");
    if (it == row.end() || it->is_null()) { return Json::array(); }
    Json tools = *it;
    if (tools.is_string()) {
        const auto text = tools.get<std::string>();
        if (text.find_first_not_of(" \t\r\n") == text.npos) { return Json::array(); }
        JsonEnd end;
        for (char c : text) { end.take(c, place); }
        tools = Json::parse(text, nullptr, false);
    }
    require(tools.is_array(), [&] { return at(place) + ": tools must be a list, or a list as JSON text"; });
    return tools;
}

inline void read_extra(const Json& row, DataRow& out)
{
    if (present(row, "chat_template_kwargs")) {
        const auto& more = row["chat_template_kwargs"];
        require(more.is_object(), [&] { return at(out.place) + ": chat_template_kwargs must be an object"; });
        for (const auto& item : more.items()) {
            const std::string& key = item.key();   // clang 14 does not capture structured bindings
            require(key != "messages" && key != "tools" && key != "add_generation_prompt", [&] {
                return at(out.place) + ": chat_template_kwargs must not set " + key;
            });
            out.extra[key] = item.value();
        }
    }
    if (Json tools = tools_field(row, out.place); !tools.empty()) { out.extra["tools"] = std::move(tools); }
}

inline void read_history(const Json& row, DataRow& out)
{
    const auto it = row.find("history");
    if (it == row.end() || it->is_null()) { return; }
    const auto wrong = [&] { return at(out.place) + ": history must be a list of [question, answer], both text"; };
    require(it->is_array(), wrong);
    for (const auto& pair : *it) {
        require(pair.is_array() && pair.size() == 2 && pair[0].is_string() && pair[1].is_string(), wrong);
        add_turn(out.turns, "user", pair[0].get<std::string>());
        add_turn(out.turns, "assistant", pair[1].get<std::string>());
        out.history = true;
    }
}

inline void read_instruction(const Json& row, DataRow& out)
{
    out.instruction = text_field(row, "instruction", out.place);
    out.input       = text_field(row, "input", out.place);
    const auto system = text_field(row, "system", out.place);
    if (!system.empty()) { add_turn(out.turns, "system", system); }
    read_history(row, out);
    auto question = out.instruction;
    if (!out.input.empty()) { question += (question.empty() ? "" : "\n") + out.input; }
    add_turn(out.turns, "user", std::move(question));
    if (!present(row, "output")) {
        out.drop = "the answer is null";
        return;
    }
    add_turn(out.turns, "assistant", text_field(row, "output", out.place));
}

inline void read_conversation(const Json& row, const char* key, DataRow& out)
{
    if (!present(row, key)) {
        out.drop = std::string(key) + " is null";
        return;
    }
    out.drop          = append_turns(row[key], key, out.place, out.turns);
    const auto system = text_field(row, "system", out.place);
    if (!system.empty() && (out.turns.messages.empty() || out.turns.messages[0]["role"] != "system")) {
        prepend_system(out.turns, system);
    }
    if (out.drop.empty()) { out.drop = unusable(out.turns); }
}

inline void read_prompt_turns(const Json& row, DataRow& out)
{
    for (const char* key : {"prompt", "completion"}) {
        if (!present(row, key)) {
            out.drop = std::string(key == std::string_view("prompt") ? "the prompt" : "the answer") + " is null";
            return;
        }
        require(row[key].is_array(), [&] {
            return at(out.place) + ": prompt and completion must both be text or both be turns";
        });
    }
    auto dropped = append_turns(row["prompt"], "prompt", out.place, out.turns);
    std::fill(out.turns.learnt.begin(), out.turns.learnt.end(), false);
    const auto before = out.turns.messages.size();
    if (dropped.empty()) { dropped = append_turns(row["completion"], "completion", out.place, out.turns); }
    if (dropped.empty() && out.turns.messages.size() == before) { dropped = "no assistant turn"; }
    out.drop = dropped.empty() ? unusable(out.turns) : dropped;
}

inline void read_prompt_text(const Json& row, DataRow& out)
{
    out.prompt            = text_field(row, "prompt", out.place);
    const auto completion = text_field(row, "completion", out.place);
    if (!present(row, "completion")) { out.drop = "the answer is null"; }
    out.text               = out.prompt + completion;
    out.turns.empty_answer = completion.empty();
}

// A list of integers in [0, vocab), or ignore where labels may hold it.
inline std::vector<std::int32_t> read_ids(const Json& row, const char* key, const DataOptions& options, bool may_ignore,
                                          const RowPlace& place)
{
    const auto& list = row[key];
    require(list.is_array(), [&] { return at(place) + ": " + key + " must be a list of integers"; });
    const std::int64_t limit = options.vocab > 0 ? options.vocab : std::numeric_limits<std::int32_t>::max();
    std::vector<std::int32_t> ids;
    ids.reserve(list.size());
    for (std::size_t i = 0; i < list.size(); ++i) {
        const auto& value = list[i];
        const auto  here  = [&] { return at(place) + ": " + key + "[" + std::to_string(i) + "] "; };
        require(
            !value.is_array(), [&] { return here() + "is a list: a row is one sequence; write a batch row by row"; });
        require(value.is_number_integer(), [&] {
            return here() + "must be an integer, found " + std::string(value.type_name());
        });
        // Unsigned values above 2^63 would turn negative.
        const bool huge = value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t(limit);
        const auto id   = huge ? limit : value.get<std::int64_t>();
        require((id >= 0 && id < limit) || (may_ignore && id == ignore), [&] {
            return here() + "is " + value.dump() + ", outside " + (may_ignore ? "-100 and " : "") + "0 to " +
                   std::to_string(limit - 1) + (options.vocab > 0 ? " (the model's vocabulary)" : "");
        });
        ids.push_back(std::int32_t(id));
    }
    return ids;
}

inline void read_ready_ids(const Json& row, const DataOptions& options, DataRow& out)
{
    if (!present(row, "input_ids")) {
        out.drop = "input_ids is null";
        return;
    }
    out.ids        = read_ids(row, "input_ids", options, false, out.place);
    out.has_labels = present(row, "labels");
    const auto same_length = [&](const char* key, std::size_t length) {
        require(length == out.ids.size(), [&] {
            return at(out.place) + ": " + key + " has " + std::to_string(length) + " values, input_ids " +
                   std::to_string(out.ids.size()) + "; they must be as many";
        });
    };
    if (out.has_labels) {
        out.labels = read_ids(row, "labels", options, true, out.place);
        same_length("labels", out.labels.size());
    } else {
        require(options.task == Task::text || options.train_on == TrainOn::all, [&] {
            return at(out.place) + ": input_ids without labels do not tell what is an answer; add labels (-100: not "
                                   "learnt), or use --train-on all or --task text";
        });
        out.labels = out.ids;
    }
    if (present(row, "attention_mask")) {
        const auto mask = read_ids(row, "attention_mask", DataOptions{.vocab = 2}, false, out.place);
        same_length("attention_mask", mask.size());
        const auto real = std::size_t(std::find(mask.begin(), mask.end(), 0) - mask.begin());
        require(std::count(mask.begin(), mask.end(), 1) == std::ptrdiff_t(real), [&] {
            return at(out.place) + ": attention_mask has a 1 behind a 0; padding is understood on the right only";
        });
        out.ids.resize(real), out.labels.resize(real);
    }
    if (out.ids.empty()) { out.drop = "no tokens"; }
}

// Fields that the form uses; the rest is ignored, and listed once.
inline bool is_known_field(Form form, std::string_view key)
{
    const auto among = [&](std::initializer_list<std::string_view> names) {
        return std::find(names.begin(), names.end(), key) != names.end();
    };
    const bool beside = among({"tools", "chat_template_kwargs"});
    switch (form) {
    case Form::messages: return beside || among({"messages", "system"});
    case Form::conversations: return beside || among({"conversations", "system"});
    case Form::instruction: return beside || among({"instruction", "input", "output", "system", "history"});
    case Form::prompt_completion: return among({"prompt", "completion"});
    case Form::prompt_completion_turns: return beside || among({"prompt", "completion"});
    case Form::text: return key == "text";
    case Form::ids: return among({"input_ids", "labels", "attention_mask"});
    }
    return false;
}

inline DataRow understand(const Json& row, const RowPlace& place, const DataOptions& options)
{
    DataRow out;
    out.place = place;
    out.form  = form_of(row, place, options);
    switch (out.form) {
    case Form::messages:
        read_extra(row, out);
        read_conversation(row, "messages", out);
        break;
    case Form::conversations:
        read_extra(row, out);
        read_conversation(row, "conversations", out);
        break;
    case Form::instruction:
        read_extra(row, out);
        read_instruction(row, out);
        break;
    case Form::prompt_completion: read_prompt_text(row, out); break;
    case Form::prompt_completion_turns:
        read_extra(row, out);
        read_prompt_turns(row, out);
        break;
    case Form::text:
        out.text = text_field(row, "text", place);
        if (out.text.empty()) { out.drop = present(row, "text") ? "the text is empty" : "the text is null"; }
        break;
    case Form::ids: read_ready_ids(row, options, out); break;
    }
    return out;
}

}  // namespace graft::detail::dataset
