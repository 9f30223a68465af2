#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/data.hpp"
#include "cli/program.hpp"
#include "cli/replay.hpp"
#include "cli/resume.hpp"
#include "cli/text.hpp"
#include "graft/checkpoint/adapter.hpp"
#include "graft/train/adapter_stack.hpp"
#include "graft/train/manifest.hpp"
#include "graft/train/metrics_file.hpp"

// inspect --verify-run DIR: what DIR/run.json says, held against everything that is still there.
namespace cli {

class RunCheck {
public:
    RunCheck(std::string folder, const graft::OptionValues& places)
        : folder_(std::move(folder)), found_(graft::read_manifest(folder_)),
          o_(options_of(found_.run, places, folder_, folder_ + "/run.json"))
    {}

    // Prints a line for each check; throws where one of them fails.
    void run()
    {
        const auto& run = found_.run;
        print("run " + graft::printable(folder_, 300) + ", by graft " + graft::printable(run.graft) + "\n");
        says("run.json", "whole, sha256 " + found_.sha256);
        for (const auto& [name, hash] : run.files) {
            const std::string file = name;
            check(file, [&, want = hash] {
                graft::check_file(folder_, file, want);
                return "the bytes that the run wrote, sha256 " + want.sha256;
            });
        }
        check("metrics.jsonl", [&] { return metrics(); });
        check("base", [&] { return base(); });
        check("data", [&] { return data(o_.data, "data"); });
        if (!o_.eval.empty()) {
            check("eval", [&] { return data({o_.eval}, "eval"); });
        }
        if (!o_.adapter.empty()) {
            check("adapter before", [&] { return adapter(); });
        }
        if (!o_.stack.empty()) {
            check("adapters below", [&] { return stack(); });
        }
        if (!o_.merge_adapter.empty()) {
            check("adapter merged", [&] { return merged(); });
        }
        says("steps", std::to_string(run.steps) + " of " + std::to_string(run.planned) + ", loss "
                          + loss_text(run.first_loss, 5) + " to " + loss_text(run.last_loss, 5));
        says("rows", std::to_string(run.rows) + ", each trained on " + std::to_string(run.least)
                         + (run.most == run.least ? "" : " to " + std::to_string(run.most))
                         + (run.most == 1 ? " time" : " times"));
        says("tensors", std::to_string(run.trained) + " of " + std::to_string(run.declared)
                            + " trainable ones changed, 0 of " + std::to_string(run.frozen) + " frozen ones");
        for (const auto& change : run.changed) { says("changed on the way", graft::printable(change)); }
        graft::require(failed_.empty(),
                       [&] { return folder_ + ": not what its run.json says: " + graft::name_list(failed_); });
    }

private:
    struct NotThere {
        std::string what;
    };

    static void says(const std::string& name, const std::string& text)
    {
        print("  " + name + std::string(name.size() < 26 ? 26 - name.size() : 1, ' ') + text + "\n");
    }
    void check(const std::string& name, const std::function<std::string()>& work)
    {
        try {
            says(name, "ok: " + work());
        } catch (const NotThere& missing) {
            says(name, "not checked: " + graft::printable(missing.what, 300) + " is not there");
        } catch (const graft::Error& error) {
            says(name, std::string("WRONG: ") + error.what());
            failed_.push_back(name);
        }
    }
    static void need(const std::filesystem::path& path)
    {
        std::error_code code;
        if (!std::filesystem::exists(path, code)) { throw NotThere{path.string()}; }
    }
    void same(const std::string& setting, const std::string& hash) const
    {
        const std::string want = graft::hash_of(found_.run.settings, setting);
        graft::require(hash == want, [&] {
            return "the run had sha256 " + want.substr(0, 16) + "…, now it is " + hash.substr(0, 16) + "…";
        });
    }

    std::string metrics() const
    {
        const auto path = std::filesystem::path(folder_) / "metrics.jsonl";
        need(path);
        const auto steps = graft::metrics_of(graft::read_file(path, std::size_t(4) << 30), path.string());
        graft::require(graft::metrics_hash(steps) == found_.run.metrics, "not the lines that the run wrote");
        return std::to_string(steps.size()) + " steps, times and memory left aside";
    }
    std::string base() const
    {
        need(o_.model);
        const auto hash = graft::base_fingerprint(graft::Checkpoint::open(o_.model));
        same("model", hash);
        if (std::filesystem::exists(std::filesystem::path(folder_) / "adapter_model.safetensors")) {
            const auto metadata = graft::adapter_metadata(folder_);
            const auto kept = metadata.find("graft.base");
            const auto over = o_.merge_adapter.empty() ? hash : merged_base();
            graft::require(kept != metadata.end() && kept->second == over, "the adapter's file names another base");
        }
        return o_.model + ", sha256 " + hash;
    }
    // What --merge-adapter has made.
    std::string merged_base() const
    {
        const auto folder = std::filesystem::path(folder_) / "base";
        need(folder);
        return graft::base_fingerprint(graft::Checkpoint::open(folder));
    }
    std::string merged() const
    {
        for (const auto& folder : o_.merge_adapter) { need(folder); }
        const auto hash = merged_hash(o_);
        same("merge-adapter", hash);
        return merged_text(o_) + ", sha256 " + hash;
    }
    std::string data(const std::vector<std::string>& files, const char* setting) const
    {
        for (const auto& file : files) { need(file); }
        need(o_.model);
        const auto config = config_of(o_.model, o_.rope_scaling, {});
        const auto tokenizer = tokenizer_of(o_.model);
        std::optional<graft::ChatTemplate> chat;
        if (tokenizer) { chat = template_of(o_.chat_template, *tokenizer); }
        const auto set = read_data(o_, files, tokenizer, chat, length_of(o_.max_length, &config), config.vocab);
        const auto hash = graft::data_fingerprint(set.examples);
        same(setting, hash);
        return std::to_string(set.examples.size()) + " examples in their order, sha256 " + hash;
    }
    std::string adapter() const
    {
        need(o_.adapter);
        const auto hash = graft::adapter_fingerprint(o_.adapter);
        same("adapter", hash);
        std::string chain = "; it has no run.json";
        if (graft::has_manifest(o_.adapter)) {
            const auto earlier = graft::read_manifest(o_.adapter);
            graft::require(earlier.sha256 == found_.run.earlier, "its run.json is not that of the adapter continued");
            graft::require(earlier.run.after == found_.run.before,
                           "the run began with other tensors than the earlier one ended with");
            chain = ", its run.json the one that this run went on from";
        }
        return o_.adapter + ", sha256 " + hash + chain;
    }

    std::string stack() const
    {
        for (const auto& folder : o_.stack) { need(folder); }
        const auto hash =
            graft::stack_fingerprint(std::vector<std::filesystem::path>(o_.stack.begin(), o_.stack.end()));
        same("stack", hash);
        return joined_names(o_.stack) + ", sha256 " + hash;
    }

    std::string folder_;
    graft::FoundManifest found_;
    FinetuneOptions o_;
    std::vector<std::string> failed_;
};

}  // namespace cli
