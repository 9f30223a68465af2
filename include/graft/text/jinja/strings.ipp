#pragma once
#include "graft/text/jinja/strings.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "graft/text/jinja/arguments.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/value.hpp"

namespace graft::detail::jinja {

GRAFT_INLINE std::string_view stripped(Machine& m, std::string_view text, const Value* chars, int sides)
{
    m.look_at(text.size());
    if (chars == nullptr) {
        if ((sides & 1) != 0) { text = trim_left(text); }
        return (sides & 2) != 0 ? trim_right(text) : text;
    }
    std::vector<char32_t> set;
    const std::string& list = chars->str();
    for (std::size_t at = 0; at < list.size(); at += char_bytes(list, at)) { set.push_back(char_at(list, at)); }
    const auto in_set = [&](std::size_t at) {
        m.look_at(4 * set.size());
        return std::find(set.begin(), set.end(), char_at(text, at)) != set.end();
    };
    while ((sides & 1) != 0 && !text.empty() && in_set(0)) { text.remove_prefix(char_bytes(text, 0)); }
    while ((sides & 2) != 0 && !text.empty() && in_set(last_char(text))) { text = text.substr(0, last_char(text)); }
    return text;
}

GRAFT_INLINE List split_at(Machine& m, const std::string& text, const std::string& separator, std::int64_t most)
{
    if (separator.empty()) { m.fail("split: the separator is empty"); }
    m.look_at(text.size());
    List out;
    std::size_t from = 0;
    while (most < 0 || static_cast<std::int64_t>(out.size()) < most) {
        const std::size_t at = text.find(separator, from);
        if (at == std::string::npos) { break; }
        m.step();
        out.push_back(m.text(text.substr(from, at - from)));
        from = at + separator.size();
    }
    out.push_back(m.text(text.substr(from)));
    return out;
}

GRAFT_INLINE List rsplit_at(Machine& m, const std::string& text, const std::string& separator, std::int64_t most)
{
    if (separator.empty()) { m.fail("rsplit: the separator is empty"); }
    m.look_at(text.size());
    List out;
    std::size_t end = text.size();
    while (end >= separator.size() && (most < 0 || static_cast<std::int64_t>(out.size()) < most)) {
        const std::size_t at = text.rfind(separator, end - separator.size());
        if (at == std::string::npos) { break; }
        m.step();
        out.push_back(m.text(text.substr(at + separator.size(), end - at - separator.size())));
        end = at;
    }
    out.push_back(m.text(text.substr(0, end)));
    std::reverse(out.begin(), out.end());
    return out;
}

GRAFT_INLINE List split_words(Machine& m, const std::string& text, std::int64_t most)
{
    m.look_at(text.size());
    List out;
    std::string_view rest = trim_left(text);
    while (!rest.empty()) {
        m.step();
        std::size_t end = 0;
        while (end < rest.size() && !is_space(char_at(rest, end))) { end += char_bytes(rest, end); }
        if (most >= 0 && static_cast<std::int64_t>(out.size()) >= most) { end = trim_right(rest).size(); }
        out.push_back(m.text(std::string(rest.substr(0, end))));
        rest = trim_left(rest.substr(end));
    }
    return out;
}

GRAFT_INLINE List split_lines(Machine& m, const std::string& text, bool keep)
{
    m.look_at(text.size());
    List out;
    std::size_t from = 0;
    for (std::size_t at = 0; at < text.size();) {
        const char32_t c = char_at(text, at);
        std::size_t next = at + char_bytes(text, at);
        if ((c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029) {
            if (c == 13 && next < text.size() && text[next] == '\n') { ++next; }
            m.step();
            out.push_back(m.text(text.substr(from, (keep ? next : at) - from)));
            from = next;
        }
        at = next;
    }
    if (from < text.size()) { out.push_back(m.text(text.substr(from))); }
    return out;
}

GRAFT_INLINE std::string replaced(Machine& m, const std::string& text, const std::string& from, const std::string& to,
                                  std::int64_t most)
{
    m.look_at(text.size());
    std::string out;
    std::size_t at = 0;
    for (std::int64_t n = 0; most < 0 || n < most; ++n) {
        const std::size_t found = from.empty() ? at : text.find(from, at);
        if (found == std::string::npos) { break; }
        m.step();
        out.append(text, at, found - at);
        out += to;
        at = found + from.size();
        if (from.empty()) {
            if (at >= text.size()) {
                at = text.size();
                break;
            }
            out.append(text, at, char_bytes(text, at));
            at += char_bytes(text, at);
        }
        if (out.size() > m.options.limits.output) { m.reserve(out.size()); }
    }
    return out.append(text, at, std::string::npos);
}

GRAFT_INLINE std::string capitalized(const std::string& text)
{
    if (text.empty()) { return text; }
    const std::size_t first = char_bytes(text, 0);
    return mapped(std::string_view(text).substr(0, first), to_upper)
           + mapped(std::string_view(text).substr(first), to_lower);
}

GRAFT_INLINE std::string joined(Machine& m, const List& items, const std::string& glue)
{
    std::string out;
    for (std::size_t i = 0; i < items.size(); ++i) {
        m.step();
        if (i > 0) { out += glue; }
        out += to_text(m, items[i]);
        if (out.size() > m.options.limits.output) { m.reserve(out.size()); }
    }
    return out;
}

GRAFT_INLINE std::string formatted(Machine& m, const std::string& form, const Args& args)
{
    std::string out;
    std::size_t next = 0;
    for (std::size_t i = 0; i < form.size(); ++i) {
        const char c = form[i];
        if ((c == '{' || c == '}') && i + 1 < form.size() && form[i + 1] == c) {
            out += c, ++i;
            continue;
        }
        if (c == '}') { m.fail("format: a single '}'"); }
        if (c != '{') {
            out += c;
            continue;
        }
        const std::size_t end = form.find('}', i);
        if (end == std::string::npos) { m.fail("format: a single '{'"); }
        const std::string field = form.substr(i + 1, end - i - 1);
        const Value* value = nullptr;
        if (field.find_first_not_of("0123456789") == std::string::npos) {
            const std::size_t index = field.empty()      ? next++
                                      : field.size() > 4 ? args.positional.size()
                                                         : std::stoul(field);
            if (index < args.positional.size()) { value = &args.positional[index]; }
        }
        for (const auto& [name, named] : args.named) {
            if (name == field) { value = &named; }
        }
        if (value == nullptr) {
            m.fail("format: no value for '{" + field + "}' (only {}, {0} and {name} are supported)");
        }
        out += to_text(m, *value);
        m.step();
        if (out.size() > m.options.limits.output) { m.reserve(out.size()); }
        i = end;
    }
    return out;
}

GRAFT_INLINE bool same_case(const std::string& text, char32_t (*map)(char32_t))
{
    bool any = false;
    for (std::size_t at = 0; at < text.size(); at += char_bytes(text, at)) {
        const char32_t c = char_at(text, at);
        if (map(c) != c) { return false; }
        any = any || is_cased(c);
    }
    return any;
}

}  // namespace graft::detail::jinja
