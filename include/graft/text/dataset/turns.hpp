#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/dataset/read.hpp"
#include "graft/text/dataset/read/bytes.hpp"

// Turns of a conversation as chat templates expect them: {role, content, ...} with the roles system, developer, user,
// assistant and tool, from any of the keys of fields.hpp (role and content, from and value).
//
// Roles, case and outer space ignored: the names of `roles` below. Content is text, a list of text parts (joined), or
// null: an empty text where nothing is said, a reason to drop the row where an assistant without tool calls says it.
// Parts of reasoning become reasoning_content. Other keys of a turn (tool_calls, name, ...) are kept for the template;
// null ones are left out, as transformers does. Calls take one form (calls.hpp).
//
// Reasoning is seen by the template as reasoning_content and as thinking, whichever of reasoning_content, thinking and
// reasoning holds it, the first of them where several do (transformers 5.23, _alias_reasoning_fields).
//
// Flags say whether a turn is learnt, and are taken out: weight, loss_weight, loss_scale (0 or 1), train, training,
// loss (true or false), masked, mask (true: not learnt). train_detail, which marks parts of a turn, is not understood.
//
// Throws BadRow: unknown role, two role or content keys or none, other content, a late or second system turn, flags
// that are neither of two values or contradict each other.
namespace graft::detail::dataset {

struct Turns {
    Json messages = Json::array();
    std::vector<bool> learnt;  // one a message: its tokens may be targets
    bool empty_answer = false;
    std::vector<const char*> remarks;  // what a person should be told of this row
};

inline constexpr const char* flag_of_no_answer = "a flag wants a turn learnt that is no answer; only answers are";
inline constexpr const char* call_as_text =
    "a turn of a call (function_call) is learnt as the text that it holds; give tool_calls for the template to write";
inline constexpr const char* other_system =
    "the field of the system text says something else than the conversation's own system turn, which is used";

void remark(Turns& turns, const char* what);

void add_turn(Turns& turns, const char* role, std::string content);

bool has_system(const Json& messages);

// The system text in front, unless the conversation has its own.
void prepend_system(Turns& turns, const std::string& text);

struct RoleName {
    const char* name;
    const char* role;
};

// Source: the tables of LLaMA-Factory, axolotl, FastChat, Unsloth and TRL, the collections OASST (prompter), ToolBench
// (function), Glaive (function_response), Hermes and ShareGPT, and the roles of OpenAI and Gemma (model).
inline constexpr RoleName roles[] = {
    {"system", "system"},
    {"developer", "developer"},
    {"user", "user"},
    {"human", "user"},
    {"input", "user"},
    {"prompter", "user"},
    {"assistant", "assistant"},
    {"gpt", "assistant"},
    {"output", "assistant"},
    {"model", "assistant"},
    {"chatgpt", "assistant"},
    {"bot", "assistant"},
    {"chatbot", "assistant"},
    {"bing", "assistant"},
    {"bard", "assistant"},
    {"ai", "assistant"},
    {"function_call", "assistant"},
    {"tool_call", "assistant"},
    {"tool", "tool"},
    {"observation", "tool"},
    {"function", "tool"},
    {"function_response", "tool"},
    {"tool_response", "tool"},
    {"tool_result", "tool"},
    {"ipython", "tool"},
};

std::string plain_role(std::string_view name);

const char* role_named(std::string_view name);

std::string known_roles();

// The one of these keys that the turn has, null ones only where no other is there.
const char* one_key(const Json& turn, std::span<const char* const> keys, const std::string& here);

// Appends parts of reasoning to `reasoning`.
std::string content_text(const Json& content, const char* key, const std::string& here, std::string& reasoning);

// Takes one flag out of the turn: 1 learnt, 0 not learnt, -1 where it says nothing.
int take_flag(Json& turn, const char* key, bool learnt_if, const std::string& here);

// Whether the flags of the turn want it learnt; all of them are taken out.
bool take_flags(Json& turn, bool assistant, const std::string& here, Turns& turns);

// As transformers does: {"thinking": it, ...the turn..., "reasoning_content": it}.
void alias_reasoning(Json& message);

// Appends one turn; returns why the row must be dropped, or nothing.
const char* append_turn(Json turn, const std::string& here, Turns& turns);

// Appends the turns of a list; returns why the row must be dropped, or nothing.
std::string append_turns(const Json& list, const char* key, Turns& turns);

// Why a conversation cannot be learnt from, or nothing.
std::string unusable(const Turns& turns);

}  // namespace graft::detail::dataset

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset/turns.ipp"
#endif
