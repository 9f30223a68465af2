#pragma once
#include "graft/text/jinja/filters.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/text/jinja/arguments.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/methods.hpp"
#include "graft/text/jinja/tests.hpp"
#include "graft/text/jinja/value.hpp"

namespace graft::detail::jinja {

GRAFT_INLINE Value dotted(Machine& m, Value v, const Value& path)
{
    if (path.integer()) { return item(m, v, path); }
    if (!path.is_text()) { m.fail("an attribute must be a string or integer, found " + kind_name(path)); }
    const std::string& text = path.str();
    for (std::size_t from = 0; from <= text.size();) {
        const std::size_t end = std::min(text.find('.', from), text.size());
        const std::string part = text.substr(from, end - from);
        const bool index =
            !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string::npos;
        v = item(m, v, index ? Value(static_cast<std::int64_t>(std::stol(part))) : Value::text(part));
        from = end + 1;
    }
    return v;
}

GRAFT_INLINE Args rest_of(const Args& args, std::size_t from)
{
    Args out;
    out.positional.assign(args.positional.begin() + static_cast<std::ptrdiff_t>(from), args.positional.end());
    out.named = args.named;
    return out;
}

GRAFT_INLINE Value map_filter(Machine& m, const Value& v, const Args& args)
{
    List out;
    if (!truth(v)) { return Value::list({}); }
    if (args.positional.empty()) {
        const Bound a(m, "map", args, {"attribute", "default"});
        for (const Value& each : items_of(m, v)) {
            Value found = dotted(m, each, a.needed("attribute"));
            out.push_back(found.is_undefined() && a.has("default") ? a.get("default") : std::move(found));
        }
    } else {
        const Value& name = args.positional[0];
        if (!name.is_text()) { m.fail("map needs the name of a filter, found " + kind_name(name)); }
        for (const Value& each : items_of(m, v)) { out.push_back(filter(m, name.str(), each, rest_of(args, 1))); }
    }
    return Value::list(std::move(out));
}

GRAFT_INLINE Value select_filter(Machine& m, const std::string& name, const Value& v, const Args& args)
{
    const bool by_field = name.ends_with("attr"), keep = name.starts_with("select");
    const std::size_t test_at = by_field ? 1 : 0;
    if (!truth(v)) { return Value::list({}); }
    if (args.positional.size() < test_at) { m.fail(name + " needs the name of a field"); }
    List out;
    for (const Value& each : items_of(m, v)) {
        const Value subject = by_field ? dotted(m, each, args.positional[0]) : each;
        bool holds = truth(subject);
        if (args.positional.size() > test_at) {
            const Value& test_name = args.positional[test_at];
            if (!test_name.is_text()) { m.fail(name + " needs the name of a test, found " + kind_name(test_name)); }
            holds = test(m, test_name.str(), subject, rest_of(args, test_at + 1));
        }
        if (holds == keep) { out.push_back(each); }
    }
    return Value::list(std::move(out));
}

GRAFT_INLINE Value folded(Machine& m, const Value& v, bool exact)
{
    return v.is_text() && !exact ? m.text(mapped(v.str(), to_lower)) : v;
}

GRAFT_INLINE Value sort_filter(Machine& m, const Value& v, const Args& args)
{
    const Bound a(m, "sort", args, {"reverse", "case_sensitive", "attribute"});
    std::vector<std::pair<Value, Value>> keyed;
    for (Value& each : items_of(m, v)) {
        Value key = a.is_set("attribute") ? dotted(m, each, a.get("attribute")) : each;
        key = folded(m, key, a.flag("case_sensitive"));
        keyed.emplace_back(std::move(key), std::move(each));
    }
    const bool down = a.flag("reverse");
    std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& x, const auto& y) {
        return down ? order(m, y.first, x.first) < 0 : order(m, x.first, y.first) < 0;
    });
    List out;
    for (auto& entry : keyed) { out.push_back(std::move(entry.second)); }
    return Value::list(std::move(out));
}

GRAFT_INLINE Value dictsort_filter(Machine& m, const Value& v, const Args& args)
{
    const Bound a(m, "dictsort", args, {"case_sensitive", "by", "reverse"});
    const auto* dict = v.as<DictRef>();
    if (dict == nullptr) { m.fail("dictsort needs a dict, found " + kind_name(v)); }
    const std::size_t by = a.has("by") && a.text("by") == "value" ? 1 : 0;
    List out = entries_of(m, *dict->dict);
    const bool exact = a.flag("case_sensitive"), down = a.flag("reverse");
    std::stable_sort(out.begin(), out.end(), [&](const Value& x, const Value& y) {
        const Value p = folded(m, x.items()[by], exact), q = folded(m, y.items()[by], exact);
        return down ? order(m, q, p) < 0 : order(m, p, q) < 0;
    });
    return Value::list(std::move(out));
}

GRAFT_INLINE Value unique_filter(Machine& m, const Value& v, const Args& args)
{
    const Bound a(m, "unique", args, {"case_sensitive", "attribute"});
    List out, seen;
    for (const Value& each : items_of(m, v)) {
        const Value field = a.is_set("attribute") ? dotted(m, each, a.get("attribute")) : each;
        const Value key = folded(m, field, a.flag("case_sensitive"));
        if (std::any_of(seen.begin(), seen.end(), [&](const Value& other) { return equal(m, other, key); })) {
            continue;
        }
        seen.push_back(key);
        out.push_back(each);
    }
    return Value::list(std::move(out));
}

GRAFT_INLINE Value indent_filter(Machine& m, const Value& v, const Args& args)
{
    const Bound a(m, "indent", args, {"width", "first", "blank"});
    const bool given = a.has("width") && a.get("width").is_text();
    const std::int64_t width = given ? 0 : std::max<std::int64_t>(a.integer("width", 4), 0);
    if (width > 1000) { m.fail("indent: a width of " + std::to_string(width) + "; at most 1000 is allowed"); }
    const std::string margin = given ? a.text("width") : std::string(static_cast<std::size_t>(width), ' ');
    if (v.is_undefined()) { fail_undefined(m, v); }
    if (!v.is_text()) { m.fail("indent needs a string, found " + kind_name(v)); }
    const List lines = split_lines(m, v.str() + "\n");
    std::string out = a.flag("first") ? margin : "";
    for (std::size_t i = 0; i < lines.size(); ++i) {
        if (i > 0) { out += '\n'; }
        if (i > 0 && (a.flag("blank") || !lines[i].str().empty())) { out += margin; }
        out += lines[i].str();
        if (out.size() > m.options.limits.output) { m.reserve(out.size()); }
    }
    return m.text(std::move(out));
}

GRAFT_INLINE Value tojson_filter(Machine& m, const Value& v, const Args& args)
{
    const Bound a(m, "tojson", args, {"indent", "ensure_ascii", "separators", "sort_keys"});
    JsonWriter::Form form;
    form.ascii = a.flag("ensure_ascii"), form.sorted = a.flag("sort_keys");
    if (a.is_set("indent")) {
        form.indent = static_cast<int>(std::clamp<std::int64_t>(a.integer("indent", 0), 0, 1000));
        form.comma = ",";
    }
    if (a.is_set("separators")) {
        const auto* pair = a.get("separators").as<ListRef>();
        if (pair == nullptr || pair->items->size() != 2 || !(*pair->items)[0].is_text()
            || !(*pair->items)[1].is_text()) {
            m.fail("tojson: separators must be two strings");
        }
        form.comma = (*pair->items)[0].str(), form.colon = (*pair->items)[1].str();
    }
    return m.text(JsonWriter(m, std::move(form)).write(v));
}

GRAFT_INLINE Value number_filter(Machine& m, const std::string& name, const Value& v, const Args& args)
{
    const Bound a(m, name, args, {"default"});
    const bool whole = name == "int";
    if (v.is_undefined()) { fail_undefined(m, v); }
    if (whole && v.integer()) { return *v.integer(); }
    if (whole && v.is_text()) {
        if (const auto n = read_number<std::int64_t>(v.str())) { return *n; }
    }
    std::optional<double> x = v.number();
    if (v.is_text()) { x = read_number<double>(v.str()); }
    if (x && !whole) { return *x; }
    if (x && std::abs(*x) < 9e18) { return static_cast<std::int64_t>(*x); }
    return a.has("default") ? a.get("default") : whole ? Value(std::int64_t{0}) : Value(0.0);
}

GRAFT_INLINE Value escaped(Machine& m, const std::string& text)
{
    std::string out;
    for (const char c : text) {
        out += c == '&'    ? "&amp;"
               : c == '<'  ? "&lt;"
               : c == '>'  ? "&gt;"
               : c == '"'  ? "&#34;"
               : c == '\'' ? "&#39;"
                           : std::string(1, c);
    }
    return m.text(std::move(out));
}

GRAFT_INLINE Value round_filter(Machine& m, const Value& v, const Args& args)
{
    const Bound a(m, "round", args, {"precision", "method"});
    if (!v.number()) { m.fail("round needs a number, found " + kind_name(v)); }
    const std::string method = a.has("method") ? a.text("method") : "common";
    if (method == "common" && v.integer() && a.integer("precision", 0) >= 0) { return *v.integer(); }
    const double scale = std::pow(10.0, static_cast<double>(a.integer("precision", 0)));
    const double x = *v.number() * scale;
    const double whole = method == "ceil" ? std::ceil(x) : method == "floor" ? std::floor(x) : std::nearbyint(x);
    return whole / scale;
}

GRAFT_INLINE Value extreme(Machine& m, const std::string& name, const Value& v, const Args& args)
{
    const Bound a(m, name, args, {"case_sensitive", "attribute"});
    Value best = Value::undefined("the list is empty");
    Value best_key;
    for (const Value& each : items_of(m, v)) {
        const Value key =
            folded(m, a.is_set("attribute") ? dotted(m, each, a.get("attribute")) : each, a.flag("case_sensitive"));
        const bool better =
            best.is_undefined() || (name == "min" ? order(m, key, best_key) < 0 : order(m, best_key, key) < 0);
        if (better) { best = each, best_key = key; }
    }
    return best;
}

GRAFT_INLINE Value sum_filter(Machine& m, const Value& v, const Args& args)
{
    const Bound a(m, "sum", args, {"attribute", "start"});
    Value total = a.has("start") ? a.get("start") : Value(std::int64_t{0});
    for (const Value& each : items_of(m, v)) {
        total = binary(m, "+", total, a.is_set("attribute") ? dotted(m, each, a.get("attribute")) : each);
    }
    return total;
}

GRAFT_INLINE Value length_of(Machine& m, const Value& v)
{
    std::size_t size = 0;
    if (v.is_text()) {
        m.look_at(v.str().size());
        size = count_chars(v.str());
    } else if (const auto* list = v.as<ListRef>()) {
        size = list->items->size();
    } else if (const auto* dict = v.as<DictRef>(); dict != nullptr && !dict->is_namespace) {
        size = dict->dict->entries.size();
    } else if (!v.is_undefined()) {
        m.fail(kind_name(v) + " has no length");
    }
    return static_cast<std::int64_t>(size);
}

GRAFT_INLINE Value filter(Machine& m, const std::string& name, const Value& v, const Args& args)
{
    const Level level(m);
    m.step();
    const auto is = [&](auto&... names) { return ((name == names) || ...); };
    const auto bind = [&](std::initializer_list<std::string_view> names) { return Bound(m, name, args, names); };

    if (is("tojson")) { return tojson_filter(m, v, args); }
    if (is("default", "d")) {
        const auto a = bind({"default_value", "boolean"});
        const bool use = v.is_undefined() || (a.flag("boolean") && !truth(v));
        return !use ? v : a.has("default_value") ? a.get("default_value") : Value::text("");
    }
    if (is("map")) { return map_filter(m, v, args); }
    if (is("select", "reject", "selectattr", "rejectattr")) { return select_filter(m, name, v, args); }
    if (is("sort")) { return sort_filter(m, v, args); }
    if (is("dictsort")) { return dictsort_filter(m, v, args); }
    if (is("unique")) { return unique_filter(m, v, args); }
    if (is("indent")) { return indent_filter(m, v, args); }
    if (is("int", "float")) { return number_filter(m, name, v, args); }
    if (is("min", "max")) { return extreme(m, name, v, args); }
    if (is("sum")) { return sum_filter(m, v, args); }
    if (is("round")) { return round_filter(m, v, args); }
    if (is("attr")) {
        const auto a = bind({"name"});
        const auto field = to_text(m, a.needed("name"));
        const auto* dict = v.as<DictRef>();
        const bool fields = dict == nullptr || dict->is_namespace || is_method(v, field);  // and no keys
        if (v.is_undefined()) { fail_undefined(m, v); }
        if (!fields) { return Value::undefined("there is no field '" + field + "'"); }
        return attribute(m, v, field);
    }
    if (is("join")) {
        const auto a = bind({"d", "attribute"});
        List items = items_of(m, v);
        if (a.is_set("attribute")) {
            for (Value& each : items) { each = dotted(m, each, a.get("attribute")); }
        }
        return m.text(joined(m, items, a.has("d") ? to_text(m, a.get("d")) : ""));
    }
    if (is("trim")) {
        const auto a = bind({"chars"});
        if (a.is_set("chars")) { a.text("chars"); }
        return m.text(std::string(stripped(m, to_text(m, v), a.is_set("chars") ? &a.get("chars") : nullptr, 3)));
    }
    if (is("replace")) {
        const auto a = bind({"old", "new", "count"});
        const std::int64_t most = a.is_set("count") ? a.integer("count", -1) : -1;
        return m.text(replaced(m, to_text(m, v), to_text(m, a.needed("old")), to_text(m, a.needed("new")), most));
    }
    if (is("format")) {
        if (!args.named.empty()) { m.fail("format: named values are not supported"); }
        return percent(m, to_text(m, v), args.positional);
    }

    bind({});
    if (is("length", "count")) { return length_of(m, v); }
    if (is("items")) {
        if (v.is_undefined()) { return Value::list({}); }
        const auto* dict = v.as<DictRef>();
        if (dict == nullptr || dict->is_namespace) { m.fail("items needs a dict, found " + kind_name(v)); }
        return Value::list(entries_of(m, *dict->dict));
    }
    if (is("list")) { return Value::list(items_of(m, v)); }
    if (is("first", "last")) {
        const List items = items_of(m, v);
        if (items.empty()) { return Value::undefined("there is no " + name + " item in an empty list"); }
        return is("first") ? items.front() : items.back();
    }
    if (is("reverse")) {
        List items = items_of(m, v);
        std::reverse(items.begin(), items.end());
        return v.is_text() ? m.text(joined(m, items, "")) : Value::list(std::move(items));
    }
    if (is("upper")) { return m.text(mapped(to_text(m, v), to_upper)); }
    if (is("lower")) { return m.text(mapped(to_text(m, v), to_lower)); }
    if (is("capitalize")) { return m.text(capitalized(to_text(m, v))); }
    if (is("title")) {
        return m.text(titled(to_text(m, v), [](char32_t c) {
            return is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
        }));
    }
    if (is("string", "safe")) { return v.is_text() ? v : m.text(to_text(m, v)); }
    if (is("escape", "e")) { return escaped(m, to_text(m, v)); }
    if (is("abs")) {
        if (const auto n = v.integer()) { return *n < 0 ? integer_math(m, '-', 0, *n) : Value(*n); }
        if (const auto x = v.number()) { return std::abs(*x); }
        m.fail("abs needs a number, found " + kind_name(v));
    }
    m.fail("there is no filter '" + name + "'");
}

}  // namespace graft::detail::jinja
