#pragma once
#include "graft/core/error.hpp"
#include "graft/io/file_kind.hpp"
#include "graft/text/jinja.hpp"
#include "graft/text/named_templates.hpp"
#include "graft/text/tokenizer.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <utility>

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
    static ChatTemplate from_text(std::string text, std::string name, SpecialTokens tokens)
    {
        auto parsed = JinjaTemplate::parse(std::move(text), name);
        return {std::move(name), {{"default", std::move(parsed)}}, std::move(tokens)};
    }

    std::string render(const nlohmann::ordered_json& messages, bool add_generation_prompt = false,
                       const nlohmann::ordered_json& extra = {}) const
    {
        return render_marked(messages, add_generation_prompt, extra).text;
    }

    // The same, with what stood in {% generation %} blocks.
    JinjaTemplate::Rendered render_marked(const nlohmann::ordered_json& messages, bool add_generation_prompt = false,
                                          const nlohmann::ordered_json& extra = {}) const;

    const std::string& name() const { return name_; }
    // Of several templates the name of the one that such a conversation takes; empty where there is one alone. Error
    // where none fits.
    std::string chosen(const nlohmann::ordered_json& extra) const
    {
        return templates_.size() == 1 && templates_.begin()->first == "default" ? std::string() : pick(extra)->first;
    }
    const SpecialTokens& special_tokens() const { return tokens_; }
    // Bounds, and the date that strftime_now sees; a run that must repeat itself sets the latter.
    JinjaOptions options;

private:
    using Templates = std::map<std::string, JinjaTemplate>;

    ChatTemplate(std::string name, Templates templates, SpecialTokens tokens)
        : name_(std::move(name)), templates_(std::move(templates)), tokens_(std::move(tokens))
    {}

    static bool has_tools(const nlohmann::ordered_json& extra)
    {
        const auto tools = extra.find("tools");
        return tools != extra.end() && !tools->is_null() && !tools->empty();
    }
    std::string names() const;
    Templates::const_iterator pick(const nlohmann::ordered_json& extra) const;

    std::string name_;
    Templates templates_;
    SpecialTokens tokens_;
};

namespace detail {

inline std::string named_template_list()
{
    std::string list;
    for (const auto& each : named_templates) { list += (list.empty() ? "" : ", ") + std::string(each.name); }
    return list;
}

}  // namespace detail

inline ChatTemplate ChatTemplate::own(const Tokenizer& tokenizer)
{
    const auto& texts = tokenizer.chat_templates();
    require(!texts.empty(), [] {
        return "the checkpoint has no chat template (neither chat_template.jinja nor chat_template in "
               "tokenizer_config.json); choose one by name ("
               + detail::named_template_list() + ") or give a file";
    });
    const std::string name = "the checkpoint's own";
    const bool one = texts.size() == 1 && texts.begin()->first == "default";
    Templates parsed;
    for (const auto& [each, text] : texts) {
        parsed.emplace(each, JinjaTemplate::parse(text, one ? name : name + ", " + each));
    }
    return {name, std::move(parsed), tokenizer.special_tokens()};
}

inline ChatTemplate ChatTemplate::own(const Tokenizer& tokenizer, const std::string& name)
{
    const auto& texts = tokenizer.chat_templates();
    const auto found = texts.find(name);
    if (texts.empty()) { return own(tokenizer); }  // refused there
    require(found != texts.end(), [&] {
        std::string list;
        for (const auto& each : texts) { list += (list.empty() ? "" : ", ") + each.first; }
        return "the checkpoint has no chat template named \"" + name + "\"; its own are " + list;
    });
    return from_text(found->second, "the checkpoint's own, " + name, tokenizer.special_tokens());
}

inline std::string ChatTemplate::names() const
{
    std::string list;
    for (const auto& each : templates_) { list += (list.empty() ? "" : ", ") + each.first; }
    return list;
}

inline ChatTemplate::Templates::const_iterator ChatTemplate::pick(const nlohmann::ordered_json& extra) const
{
    auto found = has_tools(extra) ? templates_.find("tool_use") : templates_.end();
    if (found == templates_.end()) { found = templates_.find("default"); }
    require(found != templates_.end(), [&] {
        return name_ + " chat templates are " + names() + ", and none of them is for a conversation with"
               + (has_tools(extra) ? "" : "out")
               + " tools (none is named default); choose one with --template model:NAME";
    });
    return found;
}

inline ChatTemplate ChatTemplate::named(std::string_view name, SpecialTokens tokens)
{
    for (const auto& each : detail::named_templates) {
        if (each.name == name) { return from_text(std::string(each.text), std::string(name), std::move(tokens)); }
    }
    throw Error("there is no chat template named \"" + std::string(name) + "\"; the named ones are "
                + detail::named_template_list());
}

inline ChatTemplate ChatTemplate::file(const std::filesystem::path& path, SpecialTokens tokens)
{
    constexpr std::uintmax_t most = 1U << 20;
    std::error_code error;
    require(std::filesystem::is_regular_file(path, error),
            [&] { return "cannot read the chat template " + path.string() + ": there is no such file"; });
    const auto size = std::filesystem::file_size(path, error);
    require(!error && size <= most, [&] {
        return "cannot read the chat template " + path.string() + ": expected a text of at most " + std::to_string(most)
               + " bytes";
    });
    std::ifstream in(path, std::ios::binary);
    std::string text(static_cast<std::size_t>(size), '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    require(in.gcount() == static_cast<std::streamsize>(text.size()), [&] {
        return "cannot read the chat template " + path.string() + ": reading stopped after "
               + std::to_string(in.gcount()) + " of " + std::to_string(size) + " bytes";
    });
    refuse_wrong_file(text, path, FileWanted::settings);
    return from_text(std::move(text), path.string(), std::move(tokens));
}

inline JinjaTemplate::Rendered ChatTemplate::render_marked(const nlohmann::ordered_json& messages,
                                                           bool add_generation_prompt,
                                                           const nlohmann::ordered_json& extra) const
{
    require(messages.is_array(), [&] { return "chat template \"" + name() + "\": messages must be an array"; });
    require(extra.is_object() || extra.is_null(),
            [&] { return "chat template \"" + name() + "\": the further variables must be an object"; });
    nlohmann::ordered_json variables = {{"messages", messages},
                                        {"tools", nullptr},
                                        {"documents", nullptr},
                                        {"add_generation_prompt", add_generation_prompt}};
    for (const auto& [token, text] : tokens_) { variables[token] = text; }
    for (const auto& [key, value] : extra.items()) { variables[key] = value; }
    if (variables["tools"].is_array() && variables["tools"].empty()) { variables["tools"] = nullptr; }
    return pick(extra)->second.render(variables, options);
}

}  // namespace graft
