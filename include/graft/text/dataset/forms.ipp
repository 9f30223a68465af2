#pragma once
#include "graft/text/dataset/forms.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/labels.hpp"
#include "graft/text/dataset/bad_row.hpp"
#include "graft/text/dataset/fields.hpp"
#include "graft/text/dataset/options.hpp"
#include "graft/text/dataset/read/bytes.hpp"
#include "graft/text/dataset/turns.hpp"

namespace graft::detail::dataset {

GRAFT_INLINE void refuse_preferences(const Json& row)
{
    const auto is_bool = [&](const char* key) { return row.contains(key) && row[key].is_boolean(); };
    const auto alone = [](std::string why) {
        BadForm bad(std::move(why));
        bad.of_row = false;
        throw bad;
    };
    for (const auto& field : fields) {
        if ((field.holds == Holds::chosen || field.holds == Holds::rejected) && present(row, field.name)) {
            alone("these rows are preference pairs (chosen, rejected); train on them with --task dpo");
        }
    }
    if (is_bool("label") || is_bool("kto_tag")) {
        alone("judged answers (a true or false label) are not trained here; keep the good answers, without the label");
    }
}

GRAFT_INLINE bool find_question(const Json& row, Reading& reading, const char* question)
{
    reading.question = question;
    if (question == nullptr && row.contains("input")) {
        reading.question = "input", reading.context = row.contains("context") ? "context" : nullptr;
    } else if (question != nullptr) {
        reading.context = field_for(row, Holds::context);
    }
    return reading.question != nullptr;
}

GRAFT_INLINE void find_answers(const Json& row, bool all_null, std::vector<Reading>& found)
{
    const auto turns = [&](const char* key) { return row.contains(key) && row[key].is_array(); };
    auto questions = fields_for(row, Holds::question);
    const auto answers = fields_for(row, Holds::answer);
    const bool joined = row.contains("prompt") && row.contains("completion")
                        && (all_null || present(row, "prompt") || present(row, "completion"));
    const auto form = turns("prompt") || turns("completion") ? Form::prompt_completion_turns : Form::prompt_completion;
    if (joined) {
        const char* name = form == Form::prompt_completion ? "prompt/completion (text)" : "prompt/completion (turns)";
        found.push_back({.form = form, .name = name, .kind = name, .question = "prompt", .answer = "completion"});
    }
    if (questions.empty()) { questions.push_back(nullptr); }
    for (const char* question : questions) {
        for (const char* answer : answers) {
            Reading reading{.form = Form::question, .answer = answer};
            if (!find_question(row, reading, question)) { continue; }
            const bool same =
                joined && std::string_view(reading.question) == "prompt" && std::string_view(answer) == "completion";
            if (same || (!all_null && !present(row, reading.question) && !present(row, answer))) { continue; }
            reading.name = reading.kind = std::string(reading.question) + "/" + answer;
            found.push_back(std::move(reading));
        }
    }
}

GRAFT_INLINE std::vector<Reading> readings_of(const Json& row)
{
    std::vector<Reading> found;
    // First by fields that hold something; a row whose fields are all null is known by their names.
    for (const bool or_null : {false, true}) {
        const auto has = [&](const char* key) { return or_null ? row.contains(key) : present(row, key); };
        if (has("input_ids")) { found.push_back({.form = Form::ids, .name = "input_ids", .kind = "input_ids"}); }
        for (const char* turns : fields_for(row, Holds::turns)) {
            if (has(turns)) { found.push_back({.form = Form::turns, .name = turns, .kind = turns, .turns = turns}); }
        }
        find_answers(row, or_null, found);
        if (has("text")) { found.push_back({.form = Form::text, .name = "text", .kind = "text"}); }
        if (!found.empty()) { break; }
    }
    return found;
}

GRAFT_INLINE Reading reading_of(const Json& row, const DataOptions& options)
{
    refuse_preferences(row);
    const auto alone = [](std::string why) {
        BadForm bad(std::move(why));
        bad.of_row = false;
        throw bad;
    };
    auto found = readings_of(row);
    if (found.empty()) {
        BadForm bad("has " + fields_of(row) + "; expected " + names_of(Holds::turns) + "; or a question ("
                    + names_of(Holds::question) + " or input) with an answer (" + names_of(Holds::answer)
                    + "), prompt and completion for one; or text; or input_ids");
        bad.unknown = true;
        throw bad;
    }
    const bool task_decides = found.size() == 2 && found[1].form == Form::text;
    if (task_decides && options.task_given) { found.erase(found.begin() + (options.task == Task::text ? 0 : 1)); }
    if (found.size() > 1) {
        two_readings(found[0].name, found[1].name, task_decides ? "say --task sft or --task text" : nullptr);
    }
    Reading& one = found[0];
    if (options.task != Task::text && one.form == Form::text) {
        alone("rows of text have no answers to learn; use --task text");
    }
    if (options.task != Task::sft && one.form != Form::text && one.form != Form::ids) {
        alone("--task text learns documents, these rows are " + one.name
              + "; use --task sft (with --train-on all to learn every token)");
    }
    one.system = one.form == Form::ids ? nullptr : field_for(row, Holds::system);
    if (one.form == Form::text && one.system != nullptr && fill(row, one.system) == 2) {
        throw BadForm(std::string("has ") + one.system
                      + " beside text, which has no place for it; write it into the "
                        "text, or take the field out");
    }
    return std::move(one);
}

GRAFT_INLINE bool needs_turns(const Json& row, const Reading& reading)
{
    const auto text = [&](const char* key) { return fill(row, key) == 2 && !(row[key] == "[]"); };
    return reading.form == Form::prompt_completion
           && ((reading.system != nullptr && fill(row, reading.system) == 2) || text("tools") || text("history"));
}

GRAFT_INLINE void as_turns(Reading& reading)
{
    reading.form = Form::question;
    reading.text_as_turns = true;
    for (std::string* name : {&reading.name, &reading.kind}) {
        if (const auto at = name->find("(text)"); at != name->npos) { name->replace(at, 6, "(text as turns)"); }
    }
}

GRAFT_INLINE Json tools_field(const Json& row)
{
    const auto it = row.find("tools");
    if (it == row.end() || it->is_null()) { return Json::array(); }
    Json tools = *it;
    if (tools.is_string()) {
        const auto text = tools.get<std::string>();
        if (text.find_first_not_of(" \t\r\n") == text.npos) { return Json::array(); }
        tools = parsed(text);
    }
    row_requires(tools.is_array(), [] { return std::string("tools must be a list, or a list as JSON text"); });
    return tools;
}

GRAFT_INLINE void read_extra(const Json& row, DataRow& out)
{
    out.used.insert(out.used.end(), {"tools", "chat_template_kwargs"});
    if (present(row, "chat_template_kwargs")) {
        const auto& more = row["chat_template_kwargs"];
        row_requires(more.is_object(), [] { return std::string("chat_template_kwargs must be an object"); });
        for (const auto& item : more.items()) {
            const std::string& key = item.key();  // clang 14 does not capture structured bindings
            row_requires(key != "messages" && key != "tools" && key != "add_generation_prompt",
                         [&] { return "chat_template_kwargs must not set " + key; });
            out.extra[key] = item.value();
        }
    }
    if (Json tools = tools_field(row); !tools.empty()) { out.extra["tools"] = std::move(tools); }
}

GRAFT_INLINE std::string system_text(const Json& row, const Reading& reading, DataRow& out)
{
    if (reading.system != nullptr) { out.used.push_back(reading.system); }
    return text_field(row, reading.system);
}

GRAFT_INLINE void read_history(const Json& row, DataRow& out)
{
    out.used.push_back("history");
    const auto it = row.find("history");
    if (it == row.end() || it->is_null()) { return; }
    const auto wrong = [] { return std::string("history must be a list of [question, answer], both text"); };
    row_requires(it->is_array(), wrong);
    for (const auto& pair : *it) {
        row_requires(pair.is_array() && pair.size() == 2 && pair[0].is_string() && pair[1].is_string(), wrong);
        add_turn(out.turns, "user", pair[0].get<std::string>());
        add_turn(out.turns, "assistant", pair[1].get<std::string>());
        out.history = true;
    }
}

GRAFT_INLINE void read_question(const Json& row, const Reading& reading, DataRow& out)
{
    for (const char* key : {reading.question, reading.context}) {
        if (key != nullptr) { out.used.push_back(key); }
    }
    out.instruction = text_field(row, reading.question);
    out.input = text_field(row, reading.context);
    const auto system = system_text(row, reading, out);
    if (!system.empty()) { add_turn(out.turns, "system", system); }
    read_history(row, out);
    auto question = out.instruction;
    if (!out.input.empty()) { question += (question.empty() ? "" : "\n") + out.input; }
    add_turn(out.turns, "user", std::move(question));
}

GRAFT_INLINE void read_question_and_answer(const Json& row, const Reading& reading, DataRow& out)
{
    read_extra(row, out);
    read_question(row, reading, out);
    out.used.push_back(reading.answer);
    if (!present(row, reading.answer)) {
        out.drop = "the answer is null";
        return;
    }
    add_turn(out.turns, "assistant", text_field(row, reading.answer));
}

GRAFT_INLINE void read_conversation(const Json& row, const Reading& reading, DataRow& out)
{
    read_extra(row, out);
    out.used.push_back(reading.turns);
    const auto system = system_text(row, reading, out);
    if (!present(row, reading.turns)) {
        out.drop = std::string(reading.turns) + " is null";
        return;
    }
    out.drop = append_turns(row[reading.turns], reading.turns, out.turns);
    prepend_system(out.turns, system);
    if (out.drop.empty()) { out.drop = unusable(out.turns); }
}

GRAFT_INLINE void read_prompt_turns(const Json& row, const Reading& reading, DataRow& out)
{
    read_extra(row, out);
    out.used.insert(out.used.end(), {"prompt", "completion"});
    const auto system = system_text(row, reading, out);
    for (const char* key : {"prompt", "completion"}) {
        if (!present(row, key)) {
            out.drop = std::string(key == std::string_view("prompt") ? "the prompt" : "the answer") + " is null";
            return;
        }
        row_requires(row[key].is_array(),
                     [] { return std::string("prompt and completion must both be text or both be turns"); });
    }
    auto dropped = append_turns(row["prompt"], "prompt", out.turns);
    std::fill(out.turns.learnt.begin(), out.turns.learnt.end(), false);
    const auto before = out.turns.messages.size();
    if (dropped.empty()) { dropped = append_turns(row["completion"], "completion", out.turns); }
    if (dropped.empty() && out.turns.messages.size() == before) { dropped = "no assistant turn"; }
    prepend_system(out.turns, system);
    out.drop = dropped.empty() ? unusable(out.turns) : dropped;
}

GRAFT_INLINE void read_prompt_text(const Json& row, const Reading& reading, DataRow& out)
{
    out.used.insert(out.used.end(), {"prompt", "completion"});
    system_text(row, reading, out);
    out.prompt = text_field(row, "prompt");
    const auto completion = text_field(row, "completion");
    if (!present(row, "completion")) { out.drop = "the answer is null"; }
    out.text = out.prompt + completion;
    out.turns.empty_answer = completion.empty();
}

GRAFT_INLINE void read_text(const Json& row, const Reading& reading, DataRow& out)
{
    out.used.push_back("text");
    system_text(row, reading, out);
    out.text = text_field(row, "text");
    if (out.text.empty()) { out.drop = present(row, "text") ? "the text is empty" : "the text is null"; }
}

GRAFT_INLINE std::vector<std::int32_t> read_ids(const Json& row, const char* key, const DataOptions& options,
                                                bool may_ignore)
{
    const auto& list = row[key];
    row_requires(list.is_array(), [&] { return std::string(key) + " must be a list of integers"; });
    const std::int64_t limit = options.vocab > 0 ? options.vocab : std::numeric_limits<std::int32_t>::max();
    std::vector<std::int32_t> ids;
    ids.reserve(list.size());
    for (std::size_t i = 0; i < list.size(); ++i) {
        const auto& value = list[i];
        const auto wrong = [&](const std::string& why) {
            throw BadRow(std::string(key) + " " + why, key + ("[" + std::to_string(i) + "] is ")
                                                           + printable(value.is_array() ? "a list" : value.dump(), 40));
        };
        if (value.is_array()) { wrong("holds a list: a row is one sequence; write a batch row by row"); }
        if (!value.is_number_integer()) { wrong("must hold integers, found " + std::string(value.type_name())); }
        // Unsigned values above 2^63 would turn negative.
        const bool huge = value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t(limit);
        const auto id = huge ? limit : value.get<std::int64_t>();
        if ((id < 0 || id >= limit) && !(may_ignore && id == ignore)) {
            wrong(std::string("holds an id outside ") + (may_ignore ? "-100 and " : "") + "0 to "
                  + std::to_string(limit - 1) + (options.vocab > 0 ? " (the model's vocabulary)" : ""));
        }
        ids.push_back(std::int32_t(id));
    }
    return ids;
}

GRAFT_INLINE void read_ready_ids(const Json& row, const DataOptions& options, DataRow& out)
{
    out.used.insert(out.used.end(), {"input_ids", "labels", "attention_mask"});
    if (!present(row, "input_ids")) {
        out.drop = "input_ids is null";
        return;
    }
    out.ids = read_ids(row, "input_ids", options, false);
    out.has_labels = present(row, "labels");
    const auto same_length = [&](const char* key, std::size_t length) {
        row_requires(
            length == out.ids.size(), [&] { return std::string(key) + " and input_ids must have as many values"; },
            std::string(key) + " has " + std::to_string(length) + " values, input_ids "
                + std::to_string(out.ids.size()));
    };
    if (out.has_labels) {
        out.labels = read_ids(row, "labels", options, true);
        same_length("labels", out.labels.size());
    } else {
        row_requires(options.task == Task::text || options.train_on == TrainOn::all, [] {
            return std::string("input_ids without labels do not tell what is an answer; add labels (-100: not "
                               "learnt), or use --train-on all or --task text");
        });
        out.labels = out.ids;
    }
    if (present(row, "attention_mask")) {
        const auto mask = read_ids(row, "attention_mask", DataOptions{.vocab = 2}, false);
        same_length("attention_mask", mask.size());
        const auto real = std::size_t(std::find(mask.begin(), mask.end(), 0) - mask.begin());
        row_requires(std::count(mask.begin(), mask.end(), 1) == std::ptrdiff_t(real), [] {
            return std::string("attention_mask has a 1 behind a 0; padding is understood on the right only");
        });
        out.ids.resize(real), out.labels.resize(real);
    }
    if (out.ids.empty()) { out.drop = "no tokens"; }
}

GRAFT_INLINE DataRow read_row(const Json& row, const RowPlace& place, const Reading& reading,
                              const DataOptions& options)
{
    DataRow out;
    out.place = place;
    out.form = reading.form;
    switch (out.form) {
    case Form::turns: read_conversation(row, reading, out); break;
    case Form::question: read_question_and_answer(row, reading, out); break;
    case Form::prompt_completion: read_prompt_text(row, reading, out); break;
    case Form::prompt_completion_turns: read_prompt_turns(row, reading, out); break;
    case Form::text: read_text(row, reading, out); break;
    case Form::ids: read_ready_ids(row, options, out); break;
    }
    return out;
}

GRAFT_INLINE DataRow understand(const Json& row, const RowPlace& place, const DataOptions& options)
{
    auto reading = reading_of(row, options);
    if (needs_turns(row, reading)) { as_turns(reading); }
    return read_row(row, place, reading, options);
}

}  // namespace graft::detail::dataset
