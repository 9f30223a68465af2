#pragma once
#include "graft/text/jinja/methods.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "graft/text/jinja/arguments.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/strings.hpp"
#include "graft/text/jinja/value.hpp"

namespace graft::detail::jinja {

GRAFT_INLINE bool is_method(const Value& v, std::string_view name)
{
    const auto among = [&](auto&... names) { return ((name == names) || ...); };
    if (v.is_text()) {
        return among("split", "rsplit", "splitlines", "strip", "lstrip", "rstrip", "startswith", "endswith", "replace",
                     "upper", "lower", "title", "capitalize", "format", "find", "rfind", "index", "count", "join")
               || among("isdigit", "isalpha", "isalnum", "isspace", "isupper", "islower", "removeprefix",
                        "removesuffix");
    }
    if (const auto* list = v.as<ListRef>()) { return among("index", "count") || (!list->tuple && among("append")); }
    if (const auto* dict = v.as<DictRef>()) { return !dict->is_namespace && among("items", "keys", "values", "get"); }
    return v.is<std::shared_ptr<LoopState>>() && among("cycle", "changed");
}

GRAFT_INLINE Value method(const Value& v, std::string_view name)
{
    auto out = std::make_shared<Function>();
    out->kind = Function::Kind::method, out->name = name, out->receiver = v;
    return std::shared_ptr<const Function>(std::move(out));
}

GRAFT_INLINE Value loop_field(const LoopState& loop, std::string_view name, bool& found)
{
    const auto n = [](std::size_t i) { return Value(static_cast<std::int64_t>(i)); };
    const std::size_t size = loop.items->size();
    found = true;
    if (name == "index") { return n(loop.index + 1); }
    if (name == "index0") { return n(loop.index); }
    if (name == "revindex") { return n(size - loop.index); }
    if (name == "revindex0") { return n(size - loop.index - 1); }
    if (name == "first") { return loop.index == 0; }
    if (name == "last") { return loop.index + 1 == size; }
    if (name == "length") { return n(size); }
    if (name == "depth") { return n(1); }  // it counts recursive loops, which are refused
    if (name == "depth0") { return n(0); }
    if (name == "previtem") {
        return loop.index > 0 ? (*loop.items)[loop.index - 1] : Value::undefined("there is no previous item");
    }
    if (name == "nextitem") {
        return loop.index + 1 < size ? (*loop.items)[loop.index + 1] : Value::undefined("there is no next item");
    }
    found = false;
    return {};
}

GRAFT_INLINE std::string object_name(const Value& v)
{
    const std::string kind = kind_name(v);
    return kind.substr(kind.find(' ') + 1);  // without its article
}

GRAFT_INLINE Value hidden(const Value& v, const std::string& name)
{
    return Value::undefined("the field '" + name + "' of a " + object_name(v)
                            + " begins with an underscore and is hidden from templates");
}

GRAFT_INLINE Value attribute(Machine& m, const Value& v, const std::string& name)
{
    if (v.is_undefined()) { fail_undefined(m, v); }
    const auto* named = v.as<DictRef>();
    if (name.starts_with("__") || (name.starts_with('_') && (named == nullptr || named->is_namespace))) {
        return hidden(v, name);
    }
    if (is_method(v, name)) { return method(v, name); }
    if (const auto* dict = v.as<DictRef>()) {
        m.step(1 + dict->dict->entries.size() / 8);
        if (const Value* found = dict->dict->find(name)) { return *found; }
    }
    if (const auto* loop = v.as<std::shared_ptr<LoopState>>()) {
        bool found = false;
        Value field = loop_field(**loop, name, found);
        if (found) { return field; }
    }
    return name.starts_with('_') ? hidden(v, name)
                                 : Value::undefined("a " + object_name(v) + " has no field '" + name + "'");
}

GRAFT_INLINE Value item(Machine& m, const Value& v, const Value& key)
{
    if (v.is_undefined()) { fail_undefined(m, v); }
    if (const auto index = key.integer(); index && (v.is<ListRef>() || v.is_text())) {
        const auto size = static_cast<std::int64_t>(v.is_text() ? count_chars(v.str()) : v.items().size());
        if (v.is_text()) { m.look_at(v.str().size()); }
        const std::int64_t at = *index < 0 && *index >= -size ? *index + size : *index;
        if (at < 0 || at >= size) {
            return Value::undefined("a " + object_name(v) + " has no element " + std::to_string(*index));
        }
        if (!v.is_text()) { return v.items()[static_cast<std::size_t>(at)]; }
        std::size_t byte = 0;
        for (std::int64_t i = 0; i < at; ++i) { byte += char_bytes(v.str(), byte); }
        return m.text(v.str().substr(byte, char_bytes(v.str(), byte)));
    }
    if (const auto* dict = v.as<DictRef>()) {
        m.step(1 + dict->dict->entries.size() / 8);
        if (key.is_text()) {
            if (const Value* found = dict->dict->find(key.str())) { return *found; }
        } else {
            for (const auto& [k, value] : dict->dict->entries) {
                if (equal(m, k, key)) { return value; }
            }
        }
    }
    if (key.is_text()) { return attribute(m, v, key.str()); }
    if (key.is_undefined()) { fail_undefined(m, key); }
    return Value::undefined("a " + object_name(v) + " has no element " + to_repr(m, key));
}

GRAFT_INLINE Value text_method(Machine& m, const std::string& s, const std::string& name, const Args& args)
{
    const auto bind = [&](std::initializer_list<std::string_view> names) { return Bound(m, name, args, names); };
    const auto number = [](std::size_t n) { return Value(static_cast<std::int64_t>(n)); };
    m.look_at(s.size());
    if (name == "split" || name == "rsplit") {
        const auto a = bind({"sep", "maxsplit"});
        const std::int64_t most = a.integer("maxsplit", -1);
        if (!a.is_set("sep")) {
            if (name == "rsplit" && most >= 0) { m.fail("rsplit: a limit needs a separator"); }
            return Value::list(split_words(m, s, most));
        }
        return Value::list(name == "split" ? split_at(m, s, a.text("sep"), most)
                                           : rsplit_at(m, s, a.text("sep"), most));
    }
    if (name == "splitlines") { return Value::list(split_lines(m, s, bind({"keepends"}).flag("keepends"))); }
    if (name == "strip" || name == "lstrip" || name == "rstrip") {
        const auto a = bind({"chars"});
        if (a.is_set("chars")) { a.text("chars"); }
        const int sides = name == "strip" ? 3 : name == "lstrip" ? 1 : 2;
        return m.text(std::string(stripped(m, s, a.is_set("chars") ? &a.get("chars") : nullptr, sides)));
    }
    if (name == "startswith" || name == "endswith") {
        const auto a = bind({"part"});
        const auto ends = [&](const Value& part) {
            m.step();
            if (!part.is_text()) { m.fail(name + " needs a string or a tuple of strings, found " + kind_name(part)); }
            return name == "startswith" ? s.starts_with(part.str()) : s.ends_with(part.str());
        };
        const Value& part = a.needed("part");
        if (const auto* list = part.as<ListRef>(); list != nullptr && list->tuple) {
            return std::any_of(list->items->begin(), list->items->end(), ends);
        }
        return ends(part);
    }
    if (name == "replace") {
        const auto a = bind({"old", "new", "count"});
        return m.text(replaced(m, s, a.text("old"), a.text("new"), a.integer("count", -1)));
    }
    if (name == "find" || name == "rfind" || name == "index") {
        const std::string part = bind({"part"}).text("part");
        const std::size_t at = name == "rfind" ? s.rfind(part) : s.find(part);
        if (at != std::string::npos) { return number(count_chars(std::string_view(s).substr(0, at))); }
        if (name == "index") { m.fail("index: the string does not hold " + to_repr(m, Value::text(part))); }
        return Value(std::int64_t{-1});
    }
    if (name == "count") {
        const std::string part = bind({"part"}).text("part");
        if (part.empty()) { return number(count_chars(s) + 1); }
        std::size_t count = 0;
        for (std::size_t at = s.find(part); at != std::string::npos; at = s.find(part, at + part.size())) { ++count; }
        return number(count);
    }
    if (name == "join") {
        const List items = items_of(m, bind({"items"}).needed("items"));
        for (const Value& v : items) {
            if (!v.is_text()) { m.fail("join needs strings, found " + kind_name(v)); }
        }
        return m.text(joined(m, items, s));
    }
    if (name == "format") { return m.text(formatted(m, s, args)); }
    if (name == "removeprefix" || name == "removesuffix") {
        const std::string part = bind({"part"}).text("part");
        const bool front = name == "removeprefix";
        if (!(front ? s.starts_with(part) : s.ends_with(part))) { return m.text(s); }
        return m.text(front ? s.substr(part.size()) : s.substr(0, s.size() - part.size()));
    }
    bind({});
    if (name == "upper") { return m.text(mapped(s, to_upper)); }
    if (name == "lower") { return m.text(mapped(s, to_lower)); }
    if (name == "capitalize") { return m.text(capitalized(s)); }
    if (name == "title") {
        return m.text(titled(s, [](char32_t before) { return !is_cased(before); }));
    }
    if (name == "isupper") { return same_case(s, to_upper); }
    if (name == "islower") { return same_case(s, to_lower); }
    if (name == "isspace") { return all_chars(s, is_space); }
    const auto digit = [](char32_t c) { return c >= '0' && c <= '9'; };
    const auto letter = [](char32_t c) { return is_cased(c) || (c >= 0x100 && is_printable(c)); };
    if (name == "isdigit") { return all_chars(s, digit); }
    if (name == "isalpha") { return all_chars(s, letter); }
    return all_chars(s, [&](char32_t c) { return digit(c) || letter(c); });  // isalnum
}

GRAFT_INLINE Value list_method(Machine& m, const ListRef& list, const std::string& name, const Args& args)
{
    const Value value = Bound(m, name, args, {"value"}).needed("value");
    if (name == "append") {
        m.step();
        m.keep(list);
        list.items->push_back(value);
        return None{};
    }
    std::int64_t count = 0;
    for (std::size_t i = 0; i < list.items->size(); ++i) {
        if (!equal(m, (*list.items)[i], value)) { continue; }
        if (name == "index") { return static_cast<std::int64_t>(i); }
        ++count;
    }
    if (name == "index") { m.fail("index: the list does not hold " + to_repr(m, value)); }
    return count;
}

GRAFT_INLINE List entries_of(Machine& m, const Dict& dict)
{
    List out;
    m.step(dict.entries.size());
    for (const auto& [key, value] : dict.entries) { out.push_back(Value::tuple({key, value})); }
    return out;
}

GRAFT_INLINE Value dict_method(Machine& m, const Value& v, const std::string& name, const Args& args)
{
    const Dict& dict = *v.as<DictRef>()->dict;
    if (name == "get") {
        const Bound a(m, name, args, {"key", "default"});
        const Value& key = a.needed("key");
        for (const auto& [k, value] : dict.entries) {
            if (equal(m, k, key)) { return value; }
        }
        return a.has("default") ? a.get("default") : Value(None{});
    }
    const Bound none(m, name, args, {});
    if (name == "items") { return Value::list(entries_of(m, dict)); }
    List out;
    m.step(dict.entries.size());
    for (const auto& [key, value] : dict.entries) { out.push_back(name == "keys" ? key : value); }
    return Value::list(std::move(out));
}

GRAFT_INLINE Value loop_method(Machine& m, LoopState& loop, const std::string& name, const Args& args)
{
    if (!args.named.empty()) { m.fail(name + " takes no named arguments"); }
    if (name == "cycle") {
        if (args.positional.empty()) { m.fail("cycle needs values"); }
        return args.positional[loop.index % args.positional.size()];
    }
    Value now = Value::tuple(args.positional);
    for (const Value& v : args.positional) {
        if (v.nesting() > 0) { m.fail("changed compares strings and numbers only, found " + kind_name(v)); }
    }
    const bool changed = !loop.changed || !equal(m, *loop.changed, now);
    loop.changed = std::move(now);
    return changed;
}

GRAFT_INLINE Value call_method(Machine& m, const Function& function, const Args& args)
{
    const Value& v = function.receiver;
    if (v.is_text()) { return text_method(m, v.str(), function.name, args); }
    if (const auto* list = v.as<ListRef>()) { return list_method(m, *list, function.name, args); }
    if (const auto* loop = v.as<std::shared_ptr<LoopState>>()) { return loop_method(m, **loop, function.name, args); }
    return dict_method(m, v, function.name, args);
}

}  // namespace graft::detail::jinja
