#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/io/json_file.hpp"

// The settings of a run that a resumed run must share, by the names of the program's options.
//
//   RunSettings was = …, now = …;            {.name = "lr", .value = "0.01"}; an option that is not given is left out
//   setting_changes(was, now)                what differs, in the order of `now`
//   changes_text(changes)                    "--lr was 0.01, now 0.02; --batch was 4, now 8"; eight, "and N more"
//
//   settings_json(settings)                  [{"name": "lr", "value": "0.01"}, {…, "hash": "9f86…"}]
//   settings_of_json(list, where)            and back
//
// Where both have a hash, the hashes are compared and the values only shown: the path of a model may change, its bytes
// may not. Throws: Error of settings_of_json alone, which names the file and the field.
namespace graft {

struct RunSetting {
    std::string name;    // of the option, without dashes
    std::string value;   // as a person reads it
    std::string hash{};  // of what it stands for; empty: the value is compared
};

using RunSettings = std::vector<RunSetting>;

// The hash of a setting; empty where it has none.
std::string hash_of(const RunSettings& settings, const std::string& name);

struct SettingChange {
    std::string name, was, now;  // "not given" where there was, or is, none
};

std::vector<SettingChange> setting_changes(const RunSettings& was, const RunSettings& now);

std::string changes_text(const std::vector<SettingChange>& changes, std::size_t most = 8);

OrderedJson settings_json(const RunSettings& settings);

RunSettings settings_of_json(const OrderedJson& list, const std::string& where);

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/train/run_settings.ipp"
#endif
