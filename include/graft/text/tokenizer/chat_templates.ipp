#pragma once
#include "graft/text/tokenizer/chat_templates.hpp"

#include <cstddef>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/io/file_kind.hpp"
#include "graft/text/tokenizer/json.hpp"
#include "graft/text/tokenizer/unicode.hpp"

namespace graft::detail::tokens {

GRAFT_INLINE ChatTemplates templates_in_config(const Json& config, const std::string& where)
{
    const Json& found = field(config, "chat_template");
    if (found.is_null()) { return {}; }
    if (found.is_string()) { return {{"default", found.get<std::string>()}}; }
    ChatTemplates out;
    if (found.is_object()) {
        for (const auto& item : found.items()) {
            require(item.value().is_string(),
                    [&] { return where + ": chat_template: the template \"" + item.key() + "\" must be a string"; });
            out[item.key()] = item.value().get<std::string>();
        }
        return out;
    }
    require(found.is_array(), where
                                  + ": chat_template must be a string, a list of {name, template}, or a mapping of "
                                    "names to templates");
    for (const Json& entry : found) {
        require(field(entry, "name").is_string() && field(entry, "template").is_string(),
                where + ": chat_template: every entry needs a name and a template, both strings");
        out[entry["name"].get<std::string>()] = entry["template"].get<std::string>();
    }
    return out;
}

GRAFT_INLINE ChatTemplates templates_in_folder(const std::filesystem::path& folder,
                                               const std::function<std::string(const std::filesystem::path&)>& read)
{
    constexpr std::size_t most = 100;
    ChatTemplates out;
    const auto take = [&](const std::string& name, const std::filesystem::path& path) {
        auto text = read(path);
        refuse_wrong_file(text, path, FileWanted::settings);
        require(!invalid_utf8(text), [&] { return path.string() + ": not UTF-8"; });
        out[name] = std::move(text);
    };
    const auto single = folder / "chat_template.jinja";
    if (std::filesystem::exists(single)) { take("default", single); }
    std::error_code error;
    std::size_t files = 0;
    for (std::filesystem::directory_iterator entry(folder / more_templates, error), end; !error && entry != end;
         entry.increment(error)) {
        if (entry->path().extension() != ".jinja") { continue; }
        require(++files <= most, [&] {
            return (folder / more_templates).string() + ": more than " + std::to_string(most) + " templates";
        });
        take(entry->path().stem().string(), entry->path());
    }
    return out;
}

}  // namespace graft::detail::tokens
