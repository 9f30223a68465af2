#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "cli/finetune_options.hpp"
#include "cli/program.hpp"
#include "graft/core/machine.hpp"
#include "graft/train/manifest.hpp"

// finetune --replay DIR: the run of DIR/run.json once more, into DIR.replay, and the bytes of its result compared.
namespace cli {

// The options of a run as they were given, and beside them those that say where things are now.
inline FinetuneOptions options_of(const graft::RunManifest& run, const graft::OptionValues& instead,
                                  const std::string& output, const std::string& where)
{
    FinetuneOptions o;
    CLI::App app{"", "finetune"};
    add_finetune_options(app, o);
    graft::OptionValues all = run.options;
    for (const auto& other : instead) {
        std::erase_if(all, [&](const auto& option) { return option.first == other.first; });
        all.push_back(other);
    }
    all.emplace_back("output", output);
    std::vector<std::string> arguments;  // CLI11 wants the last one first
    for (const auto& given : all) {
        const auto* option = app.get_option_no_throw("--" + given.first);
        graft::require(option != nullptr, [&] {
            return where + ": --" + graft::printable(given.first) + " is not an option of this version";
        });
        const bool flag = option->get_expected_max() == 0;
        arguments.insert(arguments.begin(), "--" + given.first + (flag ? "" : "=" + given.second));
    }
    try {
        app.parse(std::move(arguments));
    } catch (const CLI::ParseError& wrong) {
        throw graft::Error(where + ": its options cannot be used again: " + wrong.what());
    }
    o.most_steps = run.steps;
    return o;
}

// Where things are may be said anew beside --replay and --verify-run; anything else would be another run.
inline graft::OptionValues places_of(const CLI::App& app, const std::string& beside)
{
    graft::OptionValues out;
    for (const auto* option : app.get_options()) {
        if (option->count() == 0) { continue; }
        const std::string name = option->get_single_name();
        if (name == beside || name == "output" || name == "overwrite" || name == "quiet" || option->get_positional()) {
            continue;
        }
        bool place = false;
        for (const char* one : {"model", "data", "adapter", "eval", "template", "threads", "stack", "merge-adapter"}) {
            place = place || name == one;
        }
        graft::require(place, [&] {
            return "--" + beside + " takes its settings from run.json: leave out --" + name
                   + " (--model, --data, --adapter, --stack, --eval and --template may say where things are now)";
        });
        out.emplace_back(name, joined_names(option->results()));
    }
    return out;
}

class Replay {
public:
    explicit Replay(const std::string& folder) : folder_(folder), run_(graft::read_manifest(folder).run)
    {
        graft::require(run_.changed.empty(), [&] {
            return folder_ + ": cannot be run again in one piece: it was resumed with other settings ("
                   + graft::name_list(run_.changed) + ")";
        });
        if (run_.target != graft::name(graft::machine().target)) {
            print("note: the run was on a processor with " + graft::printable(run_.target) + ", this one has "
                  + graft::name(graft::machine().target) + ": results differ in the last bits\n");
        }
    }

    const graft::RunManifest& run() const { return run_; }
    std::string default_output() const
    {
        std::filesystem::path folder = std::filesystem::path(folder_).lexically_normal();
        if (!folder.has_filename()) { folder = folder.parent_path(); }
        return folder.string() + ".replay";
    }

    // Before a step: the same base, data and settings?
    void require_same(const graft::RunSettings& now) const
    {
        const auto changes = graft::setting_changes(run_.settings, now);
        graft::require(changes.empty(),
                       [&] { return folder_ + ": cannot be run again: " + graft::changes_text(changes); });
    }

    // After the run: the same bytes?
    void compare(const std::filesystem::path& again) const
    {
        const auto now = graft::read_manifest(again).run;
        std::vector<std::string> differ;
        std::string same;
        for (const auto& [name, hash] : run_.files) {
            if (!name.ends_with(".safetensors")) { continue; }
            const auto found = now.files.find(name);
            if (found == now.files.end() || found->second != hash) {
                differ.push_back(name);
            } else {
                same += "replayed: " + name + " has the same " + graft::with_commas(hash.bytes) + " bytes, sha256 "
                        + hash.sha256 + "\n";
            }
        }
        if (now.metrics != run_.metrics) { differ.emplace_back("the metrics of the steps"); }
        graft::require(differ.empty(), [&] {
            return folder_ + ": run again, the result differs in " + graft::name_list(differ) + "; the new one is in "
                   + graft::printable(again.string(), 1000) + " (last loss " + std::to_string(run_.last_loss) + ", now "
                   + std::to_string(now.last_loss) + ")";
        });
        print(same + "replayed: the metrics of " + std::to_string(run_.steps) + " steps are the same\n");
    }

private:
    std::string folder_;
    graft::RunManifest run_;
};

}  // namespace cli
