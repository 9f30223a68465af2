#pragma once
#include "graft/io/json_edit.hpp"

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace graft::detail {

GRAFT_INLINE JsonScan::JsonScan(std::string_view text, std::size_t at) : text_(text), at_(at)
{
    if (at_ == 0 && text_.starts_with("\xEF\xBB\xBF")) { at_ = 3; }
}

GRAFT_INLINE char JsonScan::look() const
{
    require(at_ < text_.size(), "json_edit: the text ends inside a value");
    return text_[at_];
}

GRAFT_INLINE bool JsonScan::take(char c)
{
    if (look() != c) { return false; }
    at_ += 1;
    return true;
}

GRAFT_INLINE void JsonScan::spaces()
{
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) { ++at_; }
}

GRAFT_INLINE JsonSpan JsonScan::text_value()
{
    const std::size_t begin = at_;
    at_ += 1;
    while (!take('"')) { at_ += look() == '\\' ? 2 : 1; }
    return {begin, at_};
}

GRAFT_INLINE JsonSpan JsonScan::value()
{
    const std::size_t begin = at_;
    if (look() == '"') { return text_value(); }
    if (look() != '{' && look() != '[') {
        at_ = std::min(text_.find_first_of(",]} \t\r\n", at_), text_.size());
        return {begin, at_};
    }
    std::size_t levels = 0;
    do {
        const char c = look();
        if (c == '"') {
            text_value();
            continue;
        }
        levels += std::size_t(c == '{' || c == '[');
        levels -= std::size_t(c == '}' || c == ']');
        at_ += 1;
    } while (levels > 0);
    return {begin, at_};
}

// Calls see(key, whole, value) for each element of the list or object that begins at `at`.
template <class See> void json_elements(std::string_view text, std::size_t at, See&& see)
{
    JsonScan scan(text, at);
    const bool object = scan.take('{');
    if (!object) { require(scan.take('['), "json_edit: neither a list nor an object"); }
    const char close = object ? '}' : ']';
    scan.spaces();
    while (!scan.take(close)) {
        const std::size_t begin = scan.at();
        JsonSpan key;
        if (object) {
            key = scan.text_value();
            scan.spaces();
            require(scan.take(':'), "json_edit: a key without a value");
            scan.spaces();
        }
        const JsonSpan value = scan.value();
        see(key, JsonSpan{begin, value.end}, value);
        scan.spaces();
        if (scan.take(',')) { scan.spaces(); }
    }
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE std::optional<JsonSpan> json_value_span(std::string_view text, const std::string& key)
{
    detail::JsonScan start(text);
    start.spaces();
    std::optional<JsonSpan> found;
    if (start.look() != '{') { return found; }
    detail::json_elements(text, start.at(), [&](JsonSpan name, JsonSpan, JsonSpan value) {
        const auto quoted = text.substr(name.begin, name.end - name.begin);  // \u0061 is a, too
        if (nlohmann::json::parse(quoted.begin(), quoted.end()) == key) { found = value; }
    });
    return found;
}

GRAFT_INLINE std::string json_replaced(std::string_view text, JsonSpan span, std::string_view value)
{
    std::string out(text.substr(0, span.begin));
    out += value;
    return out += text.substr(span.end);
}

GRAFT_INLINE std::string json_appended(std::string_view text, JsonSpan span, const std::vector<JsonMember>& more)
{
    std::size_t first = 0, last = 0;  // where the first element begins, and the last ends
    detail::json_elements(text, span.begin, [&](JsonSpan, JsonSpan whole, JsonSpan) {
        if (first == 0) { first = whole.begin; }
        last = whole.end;
    });
    const bool empty = first == 0;
    if (empty) { last = span.begin + 1; }
    const auto before = empty ? std::string_view() : text.substr(span.begin + 1, first - span.begin - 1);
    const auto line = before.rfind('\n');
    const auto indent = line == std::string_view::npos ? std::string_view() : before.substr(line + 1);
    // The object or list stands in the outermost object, so that its elements are two levels deep.
    const int unit = line == std::string_view::npos ? -1 : int(std::min<std::size_t>(8, (indent.size() + 1) / 2));
    const char fill = indent.starts_with('\t') ? '\t' : ' ';
    std::string added;
    for (const auto& [key, value] : more) {
        if (!empty || !added.empty()) { added += ','; }
        added += before;
        if (text[span.begin] == '{') { added += nlohmann::json(key).dump() + (unit < 0 ? ":" : ": "); }
        for (const char c : value.dump(unit, fill)) {
            added += c;
            if (c == '\n') { added += indent; }
        }
    }
    return json_replaced(text, {last, last}, added);
}

}  // namespace graft
