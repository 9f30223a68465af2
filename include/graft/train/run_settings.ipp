#pragma once
#include "graft/train/run_settings.hpp"

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/io/json_file.hpp"
#include "graft/io/text.hpp"

namespace graft {

GRAFT_INLINE std::string hash_of(const RunSettings& settings, const std::string& name)
{
    const auto at = std::find_if(settings.begin(), settings.end(), [&](const auto& s) { return s.name == name; });
    return at == settings.end() ? std::string() : at->hash;
}

GRAFT_INLINE std::vector<SettingChange> setting_changes(const RunSettings& was, const RunSettings& now)
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

GRAFT_INLINE std::string changes_text(const std::vector<SettingChange>& changes, std::size_t most)
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

GRAFT_INLINE OrderedJson settings_json(const RunSettings& settings)
{
    OrderedJson out = OrderedJson::array();
    for (const RunSetting& setting : settings) {
        OrderedJson one{{"name", setting.name}, {"value", setting.value}};
        if (!setting.hash.empty()) { one["hash"] = setting.hash; }
        out.push_back(std::move(one));
    }
    return out;
}

GRAFT_INLINE RunSettings settings_of_json(const OrderedJson& list, const std::string& where)
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
