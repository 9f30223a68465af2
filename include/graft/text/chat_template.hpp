#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/jinja.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/tokenizer.hpp"

// A chat template with the special tokens that it writes: a conversation → the text that a model is trained on and
// asked with. The text holds BOS where the template writes it: encode it with add_special = false.
//
// Messages are an array of {role, content, …}; further keys of a message are the template's to see. Variables, as in
// transformers: messages, tools and documents (none unless given; an empty array of tools is none),
// add_generation_prompt, every special token by name (bos_token, …), and the keys of `extra` (enable_thinking, …),
// which win over all others.
//
// A checkpoint may have several templates, by name. As in transformers, a conversation with tools is rendered by the
// one named tool_use where there is one, any other by the one named default.
// Errors: Error with the template's name, line and column; TemplateRefusal where the template refuses the conversation.
namespace graft {

class ChatTemplate {
public:
    using SpecialTokens = std::map<std::string, std::string>;  // "eos_token" → "</s>"

    // The checkpoint's own templates, or the one of this name. Error with the named ones where it has none, and with
    // the names of its own where it has not this.
    static ChatTemplate own(const Tokenizer& tokenizer);
    static ChatTemplate own(const Tokenizer& tokenizer, const std::string& name);
    // One that ships with the library: alpaca, chatml, gemma, llama3, mistral, zephyr.
    static ChatTemplate named(std::string_view name, SpecialTokens tokens);
    static ChatTemplate file(const std::filesystem::path& path, SpecialTokens tokens);
    static ChatTemplate from_text(std::string text, std::string name, SpecialTokens tokens);

    std::string render(const nlohmann::ordered_json& messages, bool add_generation_prompt = false,
                       const nlohmann::ordered_json& extra = {}) const;

    // The same, with what stood in {% generation %} blocks.
    JinjaTemplate::Rendered render_marked(const nlohmann::ordered_json& messages, bool add_generation_prompt = false,
                                          const nlohmann::ordered_json& extra = {}) const;

    const std::string& name() const { return name_; }
    // Of several templates the name of the one that such a conversation takes; empty where there is one alone. Error
    // where none fits.
    std::string chosen(const nlohmann::ordered_json& extra) const;
    const SpecialTokens& special_tokens() const { return tokens_; }
    // Bounds, and the date that strftime_now sees; a run that must repeat itself sets the latter.
    JinjaOptions options;

private:
    using Templates = std::map<std::string, JinjaTemplate>;

    ChatTemplate(std::string name, Templates templates, SpecialTokens tokens)
        : name_(std::move(name)), templates_(std::move(templates)), tokens_(std::move(tokens))
    {}

    static bool has_tools(const nlohmann::ordered_json& extra);
    std::string names() const;
    Templates::const_iterator pick(const nlohmann::ordered_json& extra) const;

    std::string name_;
    Templates templates_;
    SpecialTokens tokens_;
};

namespace detail {

std::string named_template_list();

}  // namespace detail

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/text/chat_template.ipp"
#endif
