#pragma once
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/inline.hpp"

// Chat templates that are chosen by name, for a checkpoint that has none or should get another: texts of our own, in
// the language of jinja.hpp. Rendered they are what Unsloth renders under the names chatml, llama-3, mistral, zephyr
// and gemma, and for alpaca the text of Stanford's original (one turn; the answer follows "### Response:" directly, and
// BOS is left to the tokeniser). None of them writes a system text that the conversation does not have, but for
// alpaca's sentence, which a system message replaces.
//
// alpaca takes the first user turn apart where the variables `instruction` and `input` are given.
namespace graft {

namespace detail {

struct NamedTemplate {
    std::string_view name, text;
};

inline constexpr std::array named_templates{
    NamedTemplate{"alpaca", R"({%- for message in messages %}
{%- if message.role == 'assistant' %}
{{- message.content + eos_token }}
{%- elif message.role == 'user' %}
{%- if loop.first or (loop.index0 == 1 and messages[0].role == 'system') %}
{%- set task = instruction | default(message.content, true) %}
{%- set context = input | default('', true) if instruction else '' %}
{%- if loop.first and context %}
{{- 'Below is an instruction that describes a task, paired with an input that provides further context. ' }}
{{- 'Write a response that appropriately completes the request.\n\n' }}
{%- elif loop.first %}
{{- 'Below is an instruction that describes a task. ' }}
{{- 'Write a response that appropriately completes the request.\n\n' }}
{%- endif %}
{%- else %}
{{- '\n\n' }}
{%- set task, context = message.content, '' %}
{%- endif %}
{{- '### Instruction:\n' + task + '\n\n' }}
{%- if context %}{{ '### Input:\n' + context + '\n\n' }}{% endif %}
{{- '### Response:' }}
{%- elif message.role == 'system' and loop.first %}
{{- message.content + '\n\n' }}
{%- else %}
{{- raise_exception('alpaca has no place for a message of the role ' + message.role + ' here') }}
{%- endif %}
{%- endfor %})"},
    NamedTemplate{"chatml", R"({%- for message in messages %}
{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})"},
    NamedTemplate{"gemma", R"({{- bos_token }}
{%- set ns = namespace(system='') %}
{%- for message in messages %}
{%- if message.role == 'system' and loop.first %}
{%- set ns.system = message.content | trim + ' ' %}
{%- elif message.role == 'user' %}
{{- '<start_of_turn>user\n' + ns.system + message.content | trim + '<end_of_turn>\n' }}
{%- set ns.system = '' %}
{%- elif message.role == 'assistant' %}
{{- '<start_of_turn>model\n' + message.content | trim + '<end_of_turn>\n' }}
{%- else %}
{{- raise_exception('gemma has no place for a message of the role ' + message.role + ' here') }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %})"},
    NamedTemplate{"llama3", R"({{- bos_token }}
{%- for message in messages %}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %})"},
    NamedTemplate{"mistral", R"({{- bos_token }}
{%- set ns = namespace(system='') %}
{%- for message in messages %}
{%- if message.role == 'system' and loop.first %}
{%- set ns.system = message.content + ' ' %}
{%- elif message.role == 'user' %}
{{- '[INST] ' + ns.system + message.content + ' [/INST]' }}
{%- set ns.system = '' %}
{%- elif message.role == 'assistant' %}
{{- message.content + eos_token }}
{%- else %}
{{- raise_exception('mistral has no place for a message of the role ' + message.role + ' here') }}
{%- endif %}
{%- endfor %})"},
    NamedTemplate{"zephyr", R"({%- for message in messages %}
{%- if message.role not in ['system', 'user', 'assistant'] %}
{{- raise_exception('zephyr has no place for a message of the role ' + message.role) }}
{%- endif %}
{{- '<|' + message.role + '|>\n' + message.content + eos_token + '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %})"},
};

}  // namespace detail

std::vector<std::string> named_template_names();

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/text/named_templates.ipp"
#endif
