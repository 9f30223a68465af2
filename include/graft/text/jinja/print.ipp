#pragma once
#include "graft/text/jinja/print.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/unicode.hpp"
#include "graft/text/jinja/value.hpp"

namespace graft::detail::jinja {

GRAFT_INLINE std::string float_text(double x)
{
    if (std::isnan(x)) { return "nan"; }
    if (std::isinf(x)) { return x < 0 ? "-inf" : "inf"; }
    char buffer[64];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, x, std::chars_format::scientific).ptr;
    const std::string shortest(buffer, end);
    const std::size_t e = shortest.find('e');
    const int exponent = std::stoi(shortest.substr(e + 1));
    std::string mantissa = shortest.substr(0, e);
    if (exponent < -4 || exponent >= 16) {
        const int size = std::abs(exponent);
        return mantissa + (exponent < 0 ? "e-" : "e+") + (size < 10 ? "0" : "") + std::to_string(size);
    }
    const std::string sign = mantissa[0] == '-' ? "-" : "";
    std::erase_if(mantissa, [](char c) { return c == '-' || c == '.'; });
    const int digits = static_cast<int>(mantissa.size());
    if (exponent < 0) { return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + mantissa; }
    if (exponent >= digits - 1) {
        return sign + mantissa + std::string(static_cast<std::size_t>(exponent - digits + 1), '0') + ".0";
    }
    mantissa.insert(static_cast<std::size_t>(exponent) + 1, ".");
    return sign + mantissa;
}

GRAFT_INLINE void append_hex(std::string& out, std::uint32_t code, int digits)
{
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) { out += "0123456789abcdef"[(code >> shift) & 15U]; }
}

GRAFT_INLINE void append_quoted(std::string& out, const std::string& text)
{
    const bool single = text.find('\'') == std::string::npos || text.find('"') != std::string::npos;
    const char quote = single ? '\'' : '"';
    out += quote;
    for (std::size_t at = 0; at < text.size(); at += char_bytes(text, at)) {
        const char32_t c = char_at(text, at);
        if (c == '\\' || c == static_cast<char32_t>(quote)) {
            out += '\\', out += static_cast<char>(c);
        } else if (c == '\n' || c == '\r' || c == '\t') {
            out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
        } else if (is_printable(c)) {
            append_char(out, c);
        } else if (c < 0x100) {
            out += "\\x", append_hex(out, c, 2);
        } else if (c < 0x10000) {
            out += "\\u", append_hex(out, c, 4);
        } else {
            out += "\\U", append_hex(out, c, 8);
        }
    }
    out += quote;
}

GRAFT_INLINE std::string Printer::str(const Value& v)
{
    if (v.is_text()) { return v.str(); }
    if (v.is_undefined()) { return {}; }
    return repr(v);
}

GRAFT_INLINE std::string Printer::repr(const Value& v)
{
    std::string out;
    append_repr(out, v);
    return out;
}

GRAFT_INLINE void Printer::append_repr(std::string& out, const Value& v)
{
    const Level level(machine_);
    machine_.step();
    if (out.size() > machine_.options.limits.output) { machine_.reserve(out.size()); }
    if (v.is_undefined()) {
        out += "Undefined";
    } else if (v.is<None>()) {
        out += "None";
    } else if (const auto* b = v.as<bool>()) {
        out += *b ? "True" : "False";
    } else if (const auto* n = v.as<std::int64_t>()) {
        out += std::to_string(*n);
    } else if (const auto* x = v.as<double>()) {
        out += float_text(*x);
    } else if (v.is_text()) {
        machine_.look_at(v.str().size());
        append_quoted(out, v.str());
    } else if (const auto* list = v.as<ListRef>()) {
        out += list->tuple ? '(' : '[';
        for (std::size_t i = 0; i < list->items->size(); ++i) {
            if (i > 0) { out += ", "; }
            append_repr(out, (*list->items)[i]);
        }
        if (list->tuple && list->items->size() == 1) { out += ','; }
        out += list->tuple ? ')' : ']';
    } else if (const auto* dict = v.as<DictRef>()) {
        if (dict->is_namespace) { out += "<Namespace "; }
        out += '{';
        bool first = true;
        for (const auto& [key, value] : dict->dict->entries) {
            if (!std::exchange(first, false)) { out += ", "; }
            append_repr(out, key);
            out += ": ";
            append_repr(out, value);
        }
        out += dict->is_namespace ? "}>" : "}";
    } else {
        machine_.fail("cannot print " + kind_name(v) + "; call it, or print one of its fields");
    }
}

GRAFT_INLINE std::string JsonWriter::write(const Value& v)
{
    std::string out;
    append(out, v, 1);
    return out;
}

GRAFT_INLINE void JsonWriter::append(std::string& out, const Value& v, int level)
{
    const Level nesting(machine_);
    machine_.step();
    if (out.size() > machine_.options.limits.output) { machine_.reserve(out.size()); }
    if (v.is<None>()) {
        out += "null";
    } else if (const auto* b = v.as<bool>()) {
        out += *b ? "true" : "false";
    } else if (const auto* n = v.as<std::int64_t>()) {
        out += std::to_string(*n);
    } else if (const auto* x = v.as<double>()) {
        out += std::isnan(*x) ? "NaN" : std::isinf(*x) ? (*x < 0 ? "-Infinity" : "Infinity") : float_text(*x);
    } else if (v.is_text()) {
        machine_.look_at(v.str().size());
        append_string(out, v.str());
    } else if (const auto* list = v.as<ListRef>()) {
        std::size_t i = 0;
        bracketed(out, '[', ']', list->items->size(), level, [&] { append(out, (*list->items)[i++], level + 1); });
    } else if (const auto* dict = v.as<DictRef>(); dict != nullptr && !dict->is_namespace) {
        auto entries = dict->dict->entries;
        if (form_.sorted) {
            for (const auto& entry : entries) {
                if (!entry.first.is_text()) { machine_.fail("tojson: only string keys can be sorted"); }
            }
            std::sort(entries.begin(), entries.end(),
                      [](const auto& a, const auto& b) { return a.first.str() < b.first.str(); });
        }
        std::size_t i = 0;
        bracketed(out, '{', '}', entries.size(), level, [&] {
            append_key(out, entries[i].first);
            out += form_.colon;
            append(out, entries[i++].second, level + 1);
        });
    } else {
        machine_.fail("tojson: " + kind_name(v) + " cannot be written as JSON");
    }
}

GRAFT_INLINE void JsonWriter::line(std::string& out, int level)
{
    if (form_.indent < 0) { return; }
    const auto width = static_cast<std::size_t>(form_.indent) * static_cast<std::size_t>(level);
    machine_.look_at(width);
    if (width > machine_.options.limits.output) { machine_.reserve(width); }
    out += '\n';
    out.append(width, ' ');
}

GRAFT_INLINE void JsonWriter::append_key(std::string& out, const Value& key)
{
    if (key.is_text()) { return append_string(out, key.str()); }
    if (!key.is<None>() && !key.number()) { machine_.fail("tojson: " + kind_name(key) + " cannot be a key"); }
    out += '"';
    append(out, key, 0);
    out += '"';
}

GRAFT_INLINE void JsonWriter::append_string(std::string& out, const std::string& text)
{
    out += '"';
    for (std::size_t at = 0; at < text.size(); at += char_bytes(text, at)) {
        const char32_t c = char_at(text, at);
        if (c == '"' || c == '\\') {
            out += '\\', out += static_cast<char>(c);
        } else if (c >= 8 && c <= 13 && c != 11) {
            out += '\\', out += "btn?fr"[c - 8];
        } else if (c < 0x20 || (form_.ascii && c >= 0x7F && c < 0x10000)) {
            out += "\\u", append_hex(out, c, 4);
        } else if (form_.ascii && c >= 0x10000) {
            out += "\\u", append_hex(out, 0xD800 + ((c - 0x10000) >> 10), 4);
            out += "\\u", append_hex(out, 0xDC00 + ((c - 0x10000) & 0x3FF), 4);
        } else {
            append_char(out, c);
        }
    }
    out += '"';
}

}  // namespace graft::detail::jinja
