#pragma once
#include "graft/text/dataset/fields.hpp"

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "graft/text/dataset/bad_row.hpp"
#include "graft/text/dataset/read/bytes.hpp"

namespace graft::detail::dataset {

GRAFT_INLINE bool present(const Json& row, const char* key)
{
    const auto it = row.find(key);
    return it != row.end() && !it->is_null();
}

GRAFT_INLINE int fill(const Json& row, const char* key)
{
    const auto it = row.find(key);
    if (it == row.end()) { return -1; }
    if (it->is_null()) { return 0; }
    const bool empty = it->is_string() ? it->get_ref<const std::string&>().empty()
                                       : (it->is_array() || it->is_object()) && it->empty();
    return empty ? 1 : 2;
}

GRAFT_INLINE std::string names_of(Holds holds)
{
    std::vector<std::string> names;
    for (const auto& field : fields) {
        if (field.holds == holds) { names.emplace_back(field.name); }
    }
    std::string out;
    for (std::size_t i = 0; i < names.size(); ++i) {
        out += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + names[i];
    }
    return out;
}

GRAFT_INLINE std::string fields_of(const Json& row)
{
    std::vector<std::string> names;
    for (const auto& [key, value] : row.items()) {
        if (names.size() < 8) { names.push_back(printable(key, 40)); }
    }
    std::string out;
    for (const auto& name : names) { out += (out.empty() ? "" : ", ") + name; }
    if (row.size() > names.size()) { out += ", and " + std::to_string(row.size() - names.size()) + " more"; }
    return out.empty() ? "no fields" : "fields " + out;
}

GRAFT_INLINE std::vector<const char*> fields_for(const Json& row, Holds holds)
{
    int best = -1, best_late = -1;
    for (const auto& field : fields) {
        if (field.holds == holds) {
            int& of = field.late ? best_late : best;
            of = std::max(of, fill(row, field.name));
        }
    }
    const bool late = best < 1 && best_late >= 0 && (best < 0 || best_late == 2);
    const int want = late ? best_late : best;
    std::vector<const char*> found;
    for (const auto& field : fields) {
        if (want < 0 || field.holds != holds || field.late != late || fill(row, field.name) != want) { continue; }
        const bool again =
            std::any_of(found.begin(), found.end(), [&](const char* name) { return row[name] == row[field.name]; });
        if (!again || (holds == Holds::turns && want == 1)) { found.push_back(field.name); }
    }
    return found;
}

GRAFT_INLINE void two_readings(const std::string& one, const std::string& other, const char* cure)
{
    throw BadForm("can be read as " + one + " and as " + other + "; "
                  + (cure != nullptr ? cure : "keep the fields of one of them"));
}

GRAFT_INLINE const char* field_for(const Json& row, Holds holds)
{
    const auto found = fields_for(row, holds);
    if (found.size() > 1) {
        throw BadForm(std::string("has ") + found[0] + " and " + found[1] + ", which say different things; keep one");
    }
    return found.empty() ? nullptr : found[0];
}

GRAFT_INLINE std::string text_field(const Json& row, const char* key)
{
    if (key == nullptr) { return {}; }
    const auto it = row.find(key);
    if (it == row.end() || it->is_null()) { return {}; }
    row_requires(it->is_string(),
                 [&] { return std::string(key) + " must be text, found " + std::string(it->type_name()); });
    return it->get<std::string>();
}

}  // namespace graft::detail::dataset
