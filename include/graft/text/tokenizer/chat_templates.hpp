#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "graft/core/inline.hpp"
#include "graft/text/tokenizer/json.hpp"

// The chat templates that come with a tokeniser, by name. One without a name is "default".
//
//   templates_in_config    the key chat_template of tokenizer_config.json: a text, a list of {name, template}, or a
//                          mapping of names to texts
//   templates_in_folder    chat_template.jinja, which is "default", and additional_chat_templates/NAME.jinja. Where
//                          there is one of these, those of the config count for nothing
//
// Errors: Error with the file, where a template is not a text, not UTF-8 or not to be read.
// Source: transformers 5.23, tokenization_utils_base.py (from_pretrained, get_chat_template).
namespace graft::detail::tokens {

using ChatTemplates = std::map<std::string, std::string>;

inline constexpr const char* more_templates = "additional_chat_templates";

ChatTemplates templates_in_config(const Json& config, const std::string& where);

// read: the text of a file.
ChatTemplates templates_in_folder(const std::filesystem::path& folder,
                                  const std::function<std::string(const std::filesystem::path&)>& read);

}  // namespace graft::detail::tokens

#if GRAFT_HEADER_ONLY
#include "graft/text/tokenizer/chat_templates.ipp"
#endif
