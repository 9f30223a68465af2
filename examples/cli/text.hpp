#pragma once
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graft/checkpoint/hf_config.hpp"
#include "graft/text/chat_template.hpp"
#include "graft/text/named_templates.hpp"
#include "graft/text/tokenizer.hpp"

// The tokeniser and the chat template that options ask for.
namespace cli {

// The tokeniser of a folder, or nothing where there is none: ready-made ids need none.
inline std::optional<graft::Tokenizer> tokenizer_of(const std::filesystem::path& folder)
{
    const auto file = folder / "tokenizer.json";
    if (!std::filesystem::exists(file) && graft::broken_link(file).empty()) { return std::nullopt; }
    return graft::Tokenizer::load(folder);
}

// auto: the checkpoint's own, or nothing; model:NAME: of its own that of this name; else the name of one that ships
// with the library, or a file.
inline std::optional<graft::ChatTemplate> template_of(const std::string& wanted, const graft::Tokenizer& tokenizer)
{
    if (wanted == "auto") {
        if (tokenizer.chat_templates().empty()) { return std::nullopt; }
        return graft::ChatTemplate::own(tokenizer);
    }
    constexpr std::string_view own = "model:";
    if (wanted.starts_with(own)) { return graft::ChatTemplate::own(tokenizer, wanted.substr(own.size())); }
    const auto names = graft::named_template_names();
    if (std::find(names.begin(), names.end(), wanted) == names.end() && std::filesystem::exists(wanted)) {
        return graft::ChatTemplate::file(wanted, tokenizer.special_tokens());
    }
    return graft::ChatTemplate::named(wanted, tokenizer.special_tokens());
}

// Where a generated text ends: the checkpoint's end-of-sequence ids and the tokeniser's.
inline std::vector<std::int64_t> stop_ids(const std::filesystem::path& folder, const graft::Tokenizer& tokenizer)
{
    auto ids = graft::eos_ids(folder);
    if (const auto eos = tokenizer.eos()) { ids.push_back(*eos); }
    return ids;
}

}  // namespace cli
