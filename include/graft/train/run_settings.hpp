#pragma once
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/text.hpp"

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
inline std::string hash_of(const RunSettings& settings, const std::string& name)
{
    const auto at = std::find_if(settings.begin(), settings.end(), [&](const auto& s) { return s.name == name; });
    return at == settings.end() ? std::string() : at->hash;
}

struct SettingChange {
    std::string name, was, now;  // "not given" where there was, or is, none
};

inline std::vector<SettingChange> setting_changes(const RunSettings& was, const RunSettings& now)
{
    const auto find = [](const RunSettings& in, const std::string& name) {
        const auto at = std::find_if(in.begin(), in.end(), [&](const RunSetting& s) { return s.name == name; });
        return at == in.end() ? nullptr : &*at;
    };
    std::vector<SettingChange> out;
    for (const RunSetting& setting : now) {
        const RunSetting* old = find(was, setting.name);
        if (old == nullptr) {
            out.push_back({setting.name, "not given", setting.value});
        } else if (old->hash.empty() || setting.hash.empty() ? old->value != setting.value
                                                             : old->hash != setting.hash) {
            out.push_back({setting.name, old->value, setting.value});
        }
    }
    for (const RunSetting& setting : was) {
        if (find(now, setting.name) == nullptr) { out.push_back({setting.name, setting.value, "not given"}); }
    }
    return out;
}

inline std::string changes_text(const std::vector<SettingChange>& changes, std::size_t most = 8)
{
    std::string out;
    for (std::size_t i = 0; i < changes.size() && i < most; ++i) {
        const SettingChange& change = changes[i];
        out += (i == 0 ? "--" : "; --") + printable(change.name) + " was " + printable(change.was) + ", now "
               + printable(change.now);
    }
    if (changes.size() > most) { out += "; and " + std::to_string(changes.size() - most) + " more"; }
    return out;
}

inline OrderedJson settings_json(const RunSettings& settings)
{
    OrderedJson out = OrderedJson::array();
    for (const RunSetting& setting : settings) {
        OrderedJson one{{"name", setting.name}, {"value", setting.value}};
        if (!setting.hash.empty()) { one["hash"] = setting.hash; }
        out.push_back(std::move(one));
    }
    return out;
}

inline RunSettings settings_of_json(const OrderedJson& list, const std::string& where)
{
    require(list.is_array(), [&] { return where + ": settings must be a list, found " + json_text(list); });
    RunSettings out;
    for (const OrderedJson& one : list) {
        out.push_back({json_string(one, "name", where), json_string(one, "value", where),
                       json_string_or(one, "hash", "", where)});
    }
    return out;
}

}  // namespace graft
