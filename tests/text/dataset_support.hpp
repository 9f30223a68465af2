#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/text/dataset/load.hpp"

// A tokeniser and a chat template small enough to know every id by heart, so that the rules for rows are tested alone:
// a byte is its own value + 10; control tokens are <s> 1, </s> 2, <|a|> 3, <|z|> 4.
namespace small {

struct Encoding {
    std::vector<std::int32_t> ids;
    std::vector<graft::TextSpan> spans;
};
struct EncodeOptions {
    bool add_special = true, control_tokens = true;
};

struct Tokenizer {
    bool space_in_front = false;  // put a space in front of the first text alone
    bool has_eos = true;

    Encoding encode_with_spans(std::string_view text, EncodeOptions options) const
    {
        Encoding out;
        if (options.add_special) { add(out, 1, 0, 0); }
        if (space_in_front && !text.empty() && text[0] != '<') { add(out, ' ' + 10, 0, 0); }
        for (std::size_t i = 0; i < text.size();) {
            std::size_t length = 1;
            std::int32_t id = static_cast<unsigned char>(text[i]) + 10;
            for (int k = 0; options.control_tokens && k < 4; ++k) {
                const std::string_view token = names[k];
                if (text.substr(i, token.size()) == token) { id = k + 1, length = token.size(); }
            }
            add(out, id, i, i + length);
            i += length;
        }
        return out;
    }
    std::string decode(std::span<const std::int32_t> ids, bool = false) const
    {
        std::string out;
        for (auto id : ids) {  // ids that name no token give nothing
            out += id >= 10 ? std::string(1, char(id - 10)) : is_special(id) ? std::string(names[id - 1]) : "";
        }
        return out;
    }
    std::optional<std::int32_t> eos() const { return has_eos ? std::optional<std::int32_t>(2) : std::nullopt; }
    std::string bos_text() const { return "<s>"; }
    bool is_special(std::int32_t id) const { return id >= 1 && id <= 4; }

private:
    static constexpr const char* names[] = {"<s>", "</s>", "<|a|>", "<|z|>"};
    static void add(Encoding& out, std::int32_t id, std::size_t begin, std::size_t end)
    {
        out.ids.push_back(id), out.spans.push_back({begin, end});
    }
};

// <|a|>role:content<|z|> for each turn; refuses a tool turn, and two turns of one role behind each other. As "alpaca"
// it writes Q:instruction I:input A:content</s> where it is given these variables.
struct Template {
    std::string called = "small";

    const std::string& name() const { return called; }
    std::string render(const nlohmann::ordered_json& messages, bool, const nlohmann::ordered_json& extra) const
    {
        std::vector<graft::TextSpan> spans;
        return write(messages, extra, spans);
    }
    std::string write(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& extra,
                      std::vector<graft::TextSpan>& spans) const
    {
        std::string out, before;
        if (called == "alpaca" && extra.contains("instruction")) {
            out = "Q:" + extra.at("instruction").get<std::string>() + " I:" + extra.at("input").get<std::string>()
                  + " A:";
            const auto from = out.size();
            out += messages.back().at("content").get<std::string>() + "</s>";
            spans.push_back({from, out.size()});
            return out;
        }
        if (extra.contains("tools")) { out += "<|a|>tools:" + extra["tools"].dump() + "<|z|>"; }
        for (const auto& message : messages) {
            const auto role = message.at("role").get<std::string>();
            graft::require(role != "tool", "no tools here");
            graft::require(role != before, "roles must alternate");
            before = role;
            out += "<|a|>" + role + ":";
            const auto from = out.size();
            out += message.at("content").get<std::string>() + "<|z|>";
            if (role == "assistant") { spans.push_back({from, out.size()}); }
        }
        return out;
    }
};

inline std::vector<graft::AssistantTurn> assistant_turns(const Template& tmpl, const nlohmann::ordered_json& messages,
                                                         std::string_view, const nlohmann::ordered_json& extra)
{
    std::vector<graft::TextSpan> spans;
    tmpl.write(messages, extra, spans);
    std::vector<graft::AssistantTurn> turns;
    for (const auto& span : spans) { turns.push_back({span}); }
    return turns;
}

inline std::vector<std::int32_t> labels_from_spans(const Encoding& coded, const std::vector<graft::TextSpan>& spans)
{
    auto labels = coded.ids;
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const bool learnt = std::any_of(spans.begin(), spans.end(), [&](const auto& span) {
            return coded.spans[i].begin < span.end && span.begin < coded.spans[i].end;
        });
        if (!learnt) { labels[i] = graft::ignore; }
    }
    return labels;
}

// A file that is gone with its object.
class File {
public:
    explicit File(std::string_view text, const std::string& extension = ".jsonl")
    {
        static std::atomic<int> count = 0;
        path_ = std::filesystem::temp_directory_path()
                / ("graft_dataset_" + std::to_string(std::uintptr_t(this)) + "_" + std::to_string(++count) + extension);
        std::ofstream(path_, std::ios::binary).write(text.data(), std::streamsize(text.size()));
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File()
    {
        std::error_code ignored;
        std::filesystem::remove(path_, ignored);
    }
    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

struct Setting {
    graft::DataOptions options = {};
    bool no_template = false, no_tokenizer = false;
    Tokenizer tokens = {};
    Template tmpl = {};
};

inline graft::Dataset load_files(const std::vector<std::filesystem::path>& files, const Setting& with = {})
{
    return graft::detail::dataset::load_rows(
        std::span(files), with.no_tokenizer ? nullptr : &with.tokens, with.no_template ? nullptr : &with.tmpl,
        with.options, [] { return Template{.called = "alpaca"}; }, "alpaca, chatml");
}

inline graft::Dataset load(std::string_view text, const Setting& with = {}, const std::string& extension = ".jsonl")
{
    const File file(text, extension);
    return load_files({file.path()}, with);
}

// The text of the error, its path cut down to "FILE", or "" where there was none.
inline std::string error_of(std::string_view text, const Setting& with = {}, const std::string& extension = ".jsonl")
{
    const File file(text, extension);
    try {
        load_files({file.path()}, with);
    } catch (const graft::Error& error) {
        std::string message = error.what();
        const auto path = file.path().string();
        for (auto at = message.find(path); at != message.npos; at = message.find(path)) {
            message.replace(at, path.size(), "FILE");
        }
        return message;
    }
    return {};
}

// The example as text, what is learnt in [].
inline std::string shown(const graft::Example& example, const Tokenizer& tokens = {})
{
    std::string out;
    for (const auto& part : graft::detail::dataset::mark_parts(example, [&](auto ids) { return tokens.decode(ids); })) {
        out += part.learnt ? "[" + part.text + "]" : part.text;
    }
    return out;
}

}  // namespace small
