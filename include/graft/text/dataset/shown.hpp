#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/dataset/fields.hpp"
#include "graft/text/dataset/forms.hpp"
#include "graft/text/dataset/read/bytes.hpp"
#include "graft/text/dataset/report.hpp"

// What a template leaves out of the turns that it is given.
//
//   TurnFields      fields of turns beside role and content that change no text. Whether one does is seen by rendering
//                   a row without it: for each role and field the first four rows that have it, then the 8th, 16th, …,
//                   until one differs
//   hidden_chars    characters of an answer that its rendered row does not hold: reasoning, in a field or between
//                   <think> and </think>, which templates leave out of earlier turns
namespace graft::detail::dataset {

template <class Template> class TurnFields {
public:
    // `text` is the row as it is rendered.
    void look(const Template& tmpl, const DataRow& row, const std::string& text)
    {
        std::vector<Key> here;
        for (const auto& message : row.turns.messages) {
            for (const auto& [key, value] : message.items()) {
                if (key == "role" || key == "content") { continue; }
                Key field{message["role"].template get<std::string>(), reasoning(key) ? "reasoning" : key};
                if (std::find(here.begin(), here.end(), field) == here.end() && here.size() < most) {
                    here.push_back(std::move(field));
                }
            }
        }
        for (const auto& key : here) {
            if (seen_.size() >= most && !seen_.contains(key)) { continue; }
            auto& field = seen_[key];
            if (field.used) { continue; }
            const auto n = ++field.rows;
            if (n <= 4 || (n & (n - 1)) == 0) { field.used = changes(tmpl, row, key, text); }
        }
    }

    std::vector<std::string> unused() const
    {
        std::vector<std::string> names;
        for (const auto& [key, field] : seen_) {
            if (!field.used) { names.push_back(key.first + "." + printable(key.second, 60)); }
        }
        return names;
    }

private:
    using Key = std::pair<std::string, std::string>;  // role, field
    struct Field {
        std::int64_t rows = 0;
        bool used = false;
    };
    static constexpr std::size_t most = 64;

    static bool reasoning(const std::string& key)
    {
        return std::find(std::begin(reasoning_fields), std::end(reasoning_fields), key) != std::end(reasoning_fields);
    }

    static bool changes(const Template& tmpl, const DataRow& row, const Key& field, const std::string& text)
    {
        Json without = row.turns.messages;
        for (auto& message : without) {
            if (message["role"] != field.first) { continue; }
            if (field.second != "reasoning") {
                message.erase(field.second);
            } else {
                for (const char* name : reasoning_fields) { message.erase(name); }
            }
        }
        try {
            return tmpl.render(without, false, row.extra) != text;
        } catch (const Error&) {
            return true;
        }
    }

    std::map<Key, Field> seen_;
};

std::string_view bare(std::string_view all);

std::int64_t characters(std::string_view text);

// Whether `text` holds `part` from `from` on, which moves behind it. Comparing is bounded by a multiple of the text
// (both may be made of one letter, a million times); where it ends early the part counts as there.
bool holds(std::string_view text, std::string_view part, std::size_t& from);

// What one answer says, in pieces that a template may leave out one by one.
std::vector<std::string_view> pieces(const Json& message);

struct Hidden {
    std::int64_t said = 0, hidden = 0;
};

Hidden hidden_chars(const DataRow& row, std::string_view text, bool all);

}  // namespace graft::detail::dataset

#if GRAFT_HEADER_ONLY
#include "graft/text/dataset/shown.ipp"
#endif
