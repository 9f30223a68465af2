#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/io/atomic_file.hpp"
#include "graft/io/file_kind.hpp"
#include "graft/io/text.hpp"

// JSON files, and their fields, with errors that a person can act on.
//
//   nlohmann::json json = read_json(path);                    whole file; a byte order mark is skipped
//   OrderedJson    json = read_json<OrderedJson>(path);       the same with the order of the file kept
//   parse_json(text, where)                                   the same from memory; where is named in errors
//
//   json_int(object, "hidden_size", where)                    a field that must be there
//   json_int_or(object, "num_key_value_heads", heads, where)  one that may be absent or null
//
// Of names that occur twice in an object the last one counts, as in Python. Nesting is limited to 128 levels, ordered
// files to 20,000 names (their look-up is linear), files to `limit` bytes.
//
// Throws: Error for a file of another kind, which is named (io/file_kind.hpp); "FILE: not JSON at line N, column M:
// reason" (column in bytes, from 1), or "FILE: NAME must be …, found …".
namespace graft {

using OrderedJson = nlohmann::ordered_json;

namespace detail {

[[noreturn]] void not_json(std::string_view text, std::size_t byte, const std::string& where,
                           const std::string& reason);

// What the parser itself does not limit: depth (dumping recurses), names (OrderedJson is quadratic in them), NUL bytes
// (the parser takes one for the end).
void limit_json(std::string_view text, const std::string& where, std::size_t most_names);

}  // namespace detail

template <class Json = nlohmann::json> Json parse_json(std::string_view text, const std::string& where)
{
    refuse_wrong_file(text, where, FileWanted::settings);
    if (text.starts_with("\xEF\xBB\xBF")) { text.remove_prefix(3); }
    constexpr bool ordered = std::is_same_v<Json, OrderedJson>;
    detail::limit_json(text, where, ordered ? 20'000 : std::numeric_limits<std::size_t>::max());
    try {
        return Json::parse(text.begin(), text.end());
    } catch (const nlohmann::json::parse_error& error) {
        std::string_view reason = error.what();  // "[json.exception…] parse error at line 1, column 2: reason"
        if (const auto cut = reason.find(": "); cut != std::string_view::npos) { reason.remove_prefix(cut + 2); }
        const std::size_t byte = error.byte == 0 ? 0 : error.byte - 1;
        detail::not_json(text, byte, where, text.empty() ? "the file is empty" : std::string(reason));
    } catch (const nlohmann::json::exception& error) {  // a number out of range
        throw Error(where + ": not JSON: " + printable(error.what(), 300));
    }
}

template <class Json = nlohmann::json>
Json read_json(const std::filesystem::path& path, std::size_t limit = std::size_t(64) << 20)
{
    return parse_json<Json>(read_file(path, limit), printable(path.string(), 1000));
}

// A short form of a value for messages.
template <class Json> std::string json_text(const Json& value)
{
    if (value.is_object() || value.is_array()) { return value.is_object() ? "an object" : "a list"; }
    return printable(value.dump(-1, ' ', false, Json::error_handler_t::replace), 60);
}

template <class Json>
[[noreturn]] void json_field_error(const std::string& where, const std::string& key, const char* wanted,
                                   const Json& found)
{
    throw Error(where + ": " + printable(key) + " must be " + wanted + ", found " + json_text(found));
}

// The field, or nullptr where it is absent or null.
template <class Json> const Json* json_find(const Json& object, const std::string& key)
{
    if (!object.is_object()) { return nullptr; }
    const auto at = object.find(key);
    return at == object.end() || at->is_null() ? nullptr : &*at;
}

template <class Json> const Json& json_at(const Json& object, const std::string& key, const std::string& where)
{
    require(object.is_object(), [&] { return where + ": must be an object, found " + json_text(object); });
    const Json* field = json_find(object, key);
    require(field != nullptr, [&] { return where + ": the field " + printable(key) + " is missing"; });
    return *field;
}

template <class Json> std::int64_t json_as_int(const Json& value, const std::string& key, const std::string& where)
{
    const bool fits = value.is_number_integer()
                      && !(value.is_number_unsigned()
                           && value.template get<std::uint64_t>()
                                  > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
    if (!fits) { json_field_error(where, key, "a whole number", value); }
    return value.template get<std::int64_t>();
}

template <class Json> double json_as_number(const Json& value, const std::string& key, const std::string& where)
{
    if (!value.is_number()) { json_field_error(where, key, "a number", value); }
    return value.template get<double>();
}

template <class Json> bool json_as_bool(const Json& value, const std::string& key, const std::string& where)
{
    if (!value.is_boolean()) { json_field_error(where, key, "true or false", value); }
    return value.template get<bool>();
}

template <class Json> std::string json_as_string(const Json& value, const std::string& key, const std::string& where)
{
    if (!value.is_string()) { json_field_error(where, key, "a text", value); }
    return value.template get<std::string>();
}

template <class Json> std::int64_t json_int(const Json& object, const std::string& key, const std::string& where)
{
    return json_as_int(json_at(object, key, where), key, where);
}
template <class Json> double json_number(const Json& object, const std::string& key, const std::string& where)
{
    return json_as_number(json_at(object, key, where), key, where);
}
template <class Json> bool json_bool(const Json& object, const std::string& key, const std::string& where)
{
    return json_as_bool(json_at(object, key, where), key, where);
}
template <class Json> std::string json_string(const Json& object, const std::string& key, const std::string& where)
{
    return json_as_string(json_at(object, key, where), key, where);
}

template <class Json>
std::int64_t json_int_or(const Json& object, const std::string& key, std::int64_t absent, const std::string& where)
{
    const Json* field = json_find(object, key);
    return field == nullptr ? absent : json_as_int(*field, key, where);
}
template <class Json>
double json_number_or(const Json& object, const std::string& key, double absent, const std::string& where)
{
    const Json* field = json_find(object, key);
    return field == nullptr ? absent : json_as_number(*field, key, where);
}
template <class Json>
bool json_bool_or(const Json& object, const std::string& key, bool absent, const std::string& where)
{
    const Json* field = json_find(object, key);
    return field == nullptr ? absent : json_as_bool(*field, key, where);
}
template <class Json>
std::string json_string_or(const Json& object, const std::string& key, const std::string& absent,
                           const std::string& where)
{
    const Json* field = json_find(object, key);
    return field == nullptr ? absent : json_as_string(*field, key, where);
}

// One number or a list of them; none where the field is absent or null.
template <class Json>
std::vector<std::int64_t> json_ints(const Json& object, const std::string& key, const std::string& where)
{
    std::vector<std::int64_t> out;
    const Json* field = json_find(object, key);
    if (field == nullptr) { return out; }
    if (!field->is_array()) { return {json_as_int(*field, key, where)}; }
    for (const Json& item : *field) { out.push_back(json_as_int(item, key, where)); }
    return out;
}

// A list of texts; none where the field is absent or null.
template <class Json>
std::vector<std::string> json_strings(const Json& object, const std::string& key, const std::string& where)
{
    std::vector<std::string> out;
    const Json* field = json_find(object, key);
    if (field == nullptr) { return out; }
    if (!field->is_array()) { json_field_error(where, key, "a list of texts", *field); }
    for (const Json& item : *field) { out.push_back(json_as_string(item, key, where)); }
    return out;
}

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/io/json_file.ipp"
#endif
