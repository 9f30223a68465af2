#pragma once
#include "graft/text/chat_template.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/io/file_kind.hpp"
#include "graft/text/jinja.hpp"
#include "graft/text/named_templates.hpp"
#include "graft/text/tokenizer.hpp"

namespace graft {

GRAFT_INLINE ChatTemplate ChatTemplate::from_text(std::string text, std::string name, SpecialTokens tokens)
{
    auto parsed = JinjaTemplate::parse(std::move(text), name);
    return {std::move(name), {{"default", std::move(parsed)}}, std::move(tokens)};
}

GRAFT_INLINE std::string ChatTemplate::render(const nlohmann::ordered_json& messages, bool add_generation_prompt,
                                              const nlohmann::ordered_json& extra) const
{
    return render_marked(messages, add_generation_prompt, extra).text;
}

GRAFT_INLINE std::string ChatTemplate::chosen(const nlohmann::ordered_json& extra) const
{
    return templates_.size() == 1 && templates_.begin()->first == "default" ? std::string() : pick(extra)->first;
}

GRAFT_INLINE bool ChatTemplate::has_tools(const nlohmann::ordered_json& extra)
{
    const auto tools = extra.find("tools");
    return tools != extra.end() && !tools->is_null() && !tools->empty();
}

}  // namespace graft

namespace graft::detail {

GRAFT_INLINE std::string named_template_list()
{
    std::string list;
    for (const auto& each : named_templates) { list += (list.empty() ? "" : ", ") + std::string(each.name); }
    return list;
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE ChatTemplate ChatTemplate::own(const Tokenizer& tokenizer)
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

GRAFT_INLINE ChatTemplate ChatTemplate::own(const Tokenizer& tokenizer, const std::string& name)
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

GRAFT_INLINE std::string ChatTemplate::names() const
{
    std::string list;
    for (const auto& each : templates_) { list += (list.empty() ? "" : ", ") + each.first; }
    return list;
}

GRAFT_INLINE ChatTemplate::Templates::const_iterator ChatTemplate::pick(const nlohmann::ordered_json& extra) const
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

GRAFT_INLINE ChatTemplate ChatTemplate::named(std::string_view name, SpecialTokens tokens)
{
    for (const auto& each : detail::named_templates) {
        if (each.name == name) { return from_text(std::string(each.text), std::string(name), std::move(tokens)); }
    }
    throw Error("there is no chat template named \"" + std::string(name) + "\"; the named ones are "
                + detail::named_template_list());
}

GRAFT_INLINE ChatTemplate ChatTemplate::file(const std::filesystem::path& path, SpecialTokens tokens)
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

GRAFT_INLINE JinjaTemplate::Rendered ChatTemplate::render_marked(const nlohmann::ordered_json& messages,
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
