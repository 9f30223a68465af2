#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cli/program.hpp"
#include "graft/checkpoint/adapter_config.hpp"
#include "graft/io/text.hpp"
#include "graft/models/generate.hpp"
#include "graft/text/tokenizer.hpp"
#include "graft/train/ending.hpp"
#include "graft/train/report.hpp"

// What a model says before and after a training: the first rows of the data, continued from where their answer begins.
namespace cli {

class Samples {
public:
    static constexpr std::int64_t most_tokens = 48;  // that are generated

    // `stop`: ids that end a text. Without a tokeniser there are no samples.
    Samples(std::span<const graft::Example> examples, const graft::ModelConfig& config,
            const graft::Tokenizer* tokenizer, std::vector<std::int64_t> stop)
        : examples_(examples), tokenizer_(tokenizer), stop_(std::move(stop))
    {
        if (tokenizer == nullptr) { return; }
        const std::int64_t most = graft::covered_positions(config);
        const std::int64_t room = std::min(most, config.sliding_window.value_or(most));
        for (const auto& example : examples) {
            std::size_t end = 0;
            while (end < example.labels.size() && example.labels[end] == graft::ignore) { ++end; }
            end = std::min(std::max<std::size_t>(end, 1), example.ids.size());
            const std::vector<std::int32_t> prompt(example.ids.begin(), example.ids.begin() + std::ptrdiff_t(end));
            if (!prompts_.empty() && prompts_.back() == prompt) { continue; }  // the other answer of a pair
            if (std::int64_t(end) + most_tokens > room) { continue; }
            prompts_.push_back(prompt);
            due_.push_back(graft::answer_length(example, stop_) <= most_tokens);
            if (prompts_.size() == 2) { break; }
        }
    }

    template <class Model> void before(const Model& model, graft::Report& report) const
    {
        for (const auto& prompt : prompts_) {
            report.samples.push_back({tokenizer_->decode(prompt), "", ""});
            try {
                report.samples.back().before = text_of(said(model, prompt));
            } catch (const graft::NotFinite&) {
                return;  // the first loss says it better: by tensor and row
            }
        }
    }
    // Returns why none of the samples ended whose answer in the data is short enough; empty where one did.
    template <class Model, class Rope>
    std::string after(const Model& model, const Rope& rope, const graft::AdapterTargets* adapter, bool continued,
                      graft::Report& report) const
    {
        std::int64_t due = 0, ended = 0;
        for (std::size_t i = 0; i < prompts_.size(); ++i) {
            const auto more = said(model, prompts_[i]);
            report.samples[i].after = text_of(more);
            due += due_[i], ended += due_[i] && std::int64_t(more.size()) < most_tokens;
        }
        if (due == 0 || ended > 0) { return ""; }
        const auto ending = graft::measure_ending(model, examples_, stop_, rope);
        const bool known = ending.token >= 0;
        return std::to_string(due) + " of " + std::to_string(due) + " samples did not end: "
               + graft::why_endless(ending, {.token = known ? name_of(ending.token) : "",
                                             .stops = stops_text(),
                                             .row_trained = known && trains_row(model, adapter, ending.token),
                                             .tied = model.config.tied,
                                             .continued = continued});
    }
    static std::string text(const graft::ReportSample& sample)
    {
        return "\nprompt  " + graft::printable(sample.prompt, 300) + "\nbefore  " + graft::printable(sample.before, 300)
               + "\nafter   " + graft::printable(sample.after, 300) + "\n";
    }

private:
    template <class Model>
    std::vector<std::int32_t> said(const Model& model, std::span<const std::int32_t> prompt) const
    {
        return graft::generate(model, prompt, {.max_tokens = most_tokens, .stop = stop_});
    }
    std::string text_of(std::span<const std::int32_t> ids) const { return tokenizer_->decode(ids, true); }
    std::string name_of(std::int64_t id) const
    {
        return tokenizer_->has(std::int32_t(id)) ? graft::printable(tokenizer_->token(std::int32_t(id)), 60) : "token";
    }
    std::string stops_text() const
    {
        std::vector<std::string> names;
        for (const auto id : stop_) {
            const std::string name = name_of(id) + " (" + std::to_string(id) + ")";
            if (std::find(names.begin(), names.end(), name) == names.end()) { names.push_back(name); }
        }
        return graft::name_list(names);
    }
    // Whether the run moves this token's row of the head; without an adapter it moves everything.
    template <class Model>
    static bool trains_row(const Model& model, const graft::AdapterTargets* adapter, std::int32_t token)
    {
        if (adapter == nullptr) { return true; }
        const auto& saved = adapter->saved;
        const bool tied = model.config.tied;
        const bool whole = !saved.frozen && saved.has(tied ? "model.embed_tokens.weight" : "lm_head.weight");
        const bool branch = std::any_of(adapter->modules.begin(), adapter->modules.end(),
                                        [](const auto& target) { return target.name == "lm_head"; });
        const auto& rows = adapter->tokens;
        return whole || branch || (tied && std::find(rows.begin(), rows.end(), token) != rows.end());
    }

    std::span<const graft::Example> examples_;
    const graft::Tokenizer* tokenizer_;
    std::vector<std::int64_t> stop_;
    std::vector<std::vector<std::int32_t>> prompts_;
    std::vector<bool> due_;  // the answer in the data is no longer than a sample
};

}  // namespace cli
