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
// Errors: Error with the template's name, line and column; TemplateRefusal where the template refuses the conversation.
namespace graft {

class ChatTemplate {
public:
    using SpecialTokens = std::map<std::string, std::string>;    // "eos_token" → "</s>"

    // The checkpoint's own template. Error with the named ones where it has none.
    static ChatTemplate own(const Tokenizer& tokenizer);
    // One that ships with the library: alpaca, chatml, gemma, llama3, mistral, zephyr.
    static ChatTemplate named(std::string_view name, SpecialTokens tokens);
    static ChatTemplate file(const std::filesystem::path& path, SpecialTokens tokens);
    static ChatTemplate from_text(std::string text, std::string name, SpecialTokens tokens)
    {
        return {JinjaTemplate::parse(std::move(text), std::move(name)), std::move(tokens)};
    }

    std::string render(const nlohmann::ordered_json& messages, bool add_generation_prompt = false,
                       const nlohmann::ordered_json& extra = {}) const
    {
        return render_marked(messages, add_generation_prompt, extra).text;
    }

    // The same, with what stood in {% generation %} blocks.
    JinjaTemplate::Rendered render_marked(const nlohmann::ordered_json& messages, bool add_generation_prompt = false,
                                          const nlohmann::ordered_json& extra = {}) const;

    const std::string& name() const { return template_.name(); }
    std::string source() const { return template_.source(); }
    const SpecialTokens& special_tokens() const { return tokens_; }
    // Bounds, and the date that strftime_now sees; a run that must repeat itself sets the latter.
    JinjaOptions options;

private:
    ChatTemplate(JinjaTemplate parsed, SpecialTokens tokens) : template_(std::move(parsed)), tokens_(std::move(tokens))
    {}

    JinjaTemplate template_;
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
    const auto& text = tokenizer.chat_template();
    require(text.has_value(), [] {
        return "the checkpoint has no chat template (neither chat_template.jinja nor chat_template in "
               "tokenizer_config.json); choose one by name ("
            + detail::named_template_list() + ") or give a file";
    });
    return from_text(*text, "the checkpoint's own", tokenizer.special_tokens());
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
    require(std::filesystem::is_regular_file(path, error), [&] {
        return "cannot read the chat template " + path.string() + ": there is no such file";
    });
    const auto size = std::filesystem::file_size(path, error);
    require(!error && size <= most, [&] {
        return "cannot read the chat template " + path.string() + ": expected a text of at most "
            + std::to_string(most) + " bytes";
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
    nlohmann::ordered_json variables = {{"messages", messages}, {"tools", nullptr}, {"documents", nullptr},
                                        {"add_generation_prompt", add_generation_prompt}};
    for (const auto& [token, text] : tokens_) { variables[token] = text; }
    for (const auto& [key, value] : extra.items()) { variables[key] = value; }
    if (variables["tools"].is_array() && variables["tools"].empty()) { variables["tools"] = nullptr; }
    return template_.render(variables, options);
}

}  // namespace graft
