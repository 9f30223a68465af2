#pragma once
#include "graft/checkpoint/save.hpp"

#include <cstddef>
#include <filesystem>
#include <string>
#include <system_error>

#include "graft/checkpoint/adapter.hpp"

namespace graft {

GRAFT_INLINE void finish_checkpoint(const std::filesystem::path& base, const std::filesystem::path& folder,
                                    const std::string& config, const BeforeLast& before_last)
{
    for (const char* name :
         {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
          "merges.txt", "tokenizer.model", "chat_template.jinja", "generation_config.json"}) {
        if (std::filesystem::exists(base / name)) {
            write_file(folder / name, read_file(base / name, std::size_t(256) << 20));
        }
    }
    constexpr const char* more = "additional_chat_templates";
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(base / more, none)) {
        if (entry.path().extension() != ".jinja") { continue; }
        std::filesystem::create_directory(folder / more);
        write_file(folder / more / entry.path().filename(), read_file(entry.path(), std::size_t(256) << 20));
    }
    if (before_last) { before_last("config.json", config); }
    write_file(folder / "config.json", config);
}

}  // namespace graft
