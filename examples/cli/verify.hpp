#pragma once
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/program.hpp"
#include "cli/text.hpp"
#include "graft/checkpoint/verify.hpp"
#include "graft/text/end_of_turn.hpp"

// inspect --verify: does a folder stand alone? Prints what was looked at, and everything that was found.
namespace cli {

namespace fs = std::filesystem;

// "; no token has row 7, rows 510 to 511": padding mostly, which is as it should be; holes are worth a look.
inline std::string rows_without_token(std::int64_t rows, const graft::Tokenizer& tokenizer)
{
    std::vector<std::string> ranges;
    std::int64_t count = 0;
    for (std::int64_t id = 0; id < rows; ++id) {
        const std::int64_t begin = id;
        while (id < rows && !tokenizer.has(std::int32_t(id))) { ++id; }
        if (id == begin) { continue; }
        count += id - begin;
        ranges.push_back(id == begin + 1 ? "row " + std::to_string(begin)
                                         : "rows " + std::to_string(begin) + " to " + std::to_string(id - 1));
    }
    if (ranges.empty()) { return ""; }
    const std::size_t shown = std::min<std::size_t>(ranges.size(), 4);
    std::string text = "; no token has ";
    for (std::size_t i = 0; i < shown; ++i) { text += (i == 0 ? "" : ", ") + ranges[i]; }
    return text + (shown < ranges.size() ? ", ... (" + std::to_string(count) + " in all)" : "");
}

// Ids of the files that no token has, and tokens that the model has no row for.
inline graft::VerifiedPart verify_tokenizer(const fs::path& folder, const graft::ModelConfig& config,
                                            std::optional<graft::Tokenizer>& tokenizer)
{
    graft::VerifiedPart part{.name = "tokeniser", .said = {}};
    try {
        tokenizer = tokenizer_of(folder);
    } catch (const graft::Error& error) {
        part.findings.emplace_back(error.what());
        return part;
    }
    const auto within = [&](std::int64_t id, const std::string& what) {
        if (id < 0 || id >= config.vocab) {
            part.findings.push_back(what + " " + std::to_string(id) + " is beyond the vocabulary of "
                                    + std::to_string(config.vocab));
        } else if (tokenizer && !tokenizer->has(std::int32_t(id))) {
            part.findings.push_back(what + " " + std::to_string(id) + " is no token of the tokeniser");
        }
    };
    for (const std::int64_t id : config.bos) { within(id, "config.json: bos_token_id"); }
    for (const std::int64_t id : config.eos) { within(id, "config.json: eos_token_id"); }
    if (fs::exists(folder / "generation_config.json")) {
        try {
            for (const std::int64_t id : graft::eos_ids(folder)) { within(id, "generation_config.json: eos_token_id"); }
        } catch (const graft::Error& error) {
            part.findings.emplace_back(error.what());
        }
    }
    if (!tokenizer) {
        part.said = "none: only rows of ready-made ids can be learnt";
        return part;
    }
    std::vector<std::string> beyond;
    std::int64_t tokens = 0;
    for (std::size_t id = 0; id < tokenizer->size(); ++id) {
        if (!tokenizer->has(std::int32_t(id))) { continue; }
        ++tokens;
        if (std::int64_t(id) < config.vocab) { continue; }
        beyond.push_back(graft::printable(tokenizer->token(std::int32_t(id)), 40) + " (" + std::to_string(id) + ")");
    }
    if (!beyond.empty()) {
        part.findings.push_back("the model has " + std::to_string(config.vocab) + " rows and none for "
                                + graft::name_list(beyond));
    }
    part.said = std::to_string(tokens) + " tokens for " + std::to_string(config.vocab) + " rows"
                + rows_without_token(config.vocab, *tokenizer);
    return part;
}

inline graft::VerifiedPart verify_template(const std::optional<graft::Tokenizer>& tokenizer)
{
    graft::VerifiedPart part{.name = "template", .said = "none: name one with --template to learn conversations"};
    if (!tokenizer) {
        part.said = "not looked at", part.looked = false;
        return part;
    }
    if (tokenizer->chat_templates().empty()) { return part; }
    try {
        const auto chat = graft::ChatTemplate::own(*tokenizer);
        const nlohmann::ordered_json messages = {{{"role", "user"}, {"content", "What is new?"}},
                                                 {{"role", "assistant"}, {"content", "Nothing much."}}};
        const std::string text = chat.render(messages);
        for (const char* said : {"What is new?", "Nothing much."}) {
            if (text.find(said) == std::string::npos) {
                part.findings.push_back(std::string("the template leaves out what was said: ") + said);
            }
        }
        chat.render(nlohmann::ordered_json::array({messages.front()}), true);
        const auto ids = tokenizer->encode(text, graft::chat_encoding(chat, *tokenizer, text));
        part.said = "renders a question and its answer, " + std::to_string(ids.size()) + " tokens";
    } catch (const graft::Error& error) {
        part.findings.emplace_back(error.what());
    }
    return part;
}

inline std::string verification_text(const graft::Verification& parts)
{
    std::string text;
    for (const auto& part : parts) {
        const auto count = part.findings.size();
        text += "  " + part.name + std::string(part.name.size() < 11 ? 11 - part.name.size() : 1, ' ');
        if (!part.looked) {
            text += "-   " + part.said + "\n";
        } else if (count == 0) {
            text += "ok  " + part.said + "\n";
        } else {
            text += std::to_string(count) + (count == 1 ? " finding\n" : " findings\n");
        }
        for (const auto& finding : part.findings) { text += "    " + graft::printable(finding, 1000) + "\n"; }
    }
    return text;
}

inline void verify(const fs::path& folder)
{
    const std::string where = graft::printable(folder.string(), 1000);
    graft::require(fs::is_directory(folder), [&] { return where + ": --verify looks at a checkpoint folder"; });
    const auto config = graft::read_config(folder);
    graft::Verification parts{{.name = "config",
                               .said = std::string(graft::family_name(config.family)) + ", "
                                       + std::to_string(config.layers) + " layers, "
                                       + std::to_string(graft::covered_positions(config)) + " positions"}};
    for (auto& part : graft::verify_weights(folder, config)) { parts.push_back(std::move(part)); }
    std::optional<graft::Tokenizer> tokenizer;
    parts.push_back(verify_tokenizer(folder, config, tokenizer));
    parts.push_back(verify_template(tokenizer));

    print("verify " + where + "\n" + verification_text(parts));
    const auto count = graft::findings(parts);
    graft::require(count == 0, [&] {
        std::string text = where + ": " + std::to_string(count) + (count == 1 ? " finding" : " findings");
        int said = 0;
        for (const auto& part : parts) {
            for (const auto& finding : part.findings) {
                if (++said <= 8) { text += (said == 1 ? ": " : "; ") + graft::printable(finding, 300); }
            }
        }
        return text + (count > 8 ? "; and " + std::to_string(count - 8) + " more" : "");
    });
    print("nothing found: the folder stands alone\n");
}

}  // namespace cli
