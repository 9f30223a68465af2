#pragma once
#include "graft/text/jinja/operators.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/value.hpp"

namespace graft::detail::jinja {

GRAFT_INLINE bool equal(Machine& m, const Value& a, const Value& b)
{
    const Level level(m);
    m.step();
    if (a.is_undefined() || b.is_undefined()) { return a.is_undefined() && b.is_undefined(); }
    if (a.is<None>() || b.is<None>()) { return a.is<None>() && b.is<None>(); }
    if (a.is_text() && b.is_text()) {
        m.look_at(std::min(a.str().size(), b.str().size()));
        return a.str() == b.str();
    }
    if (const auto x = a.integer(), y = b.integer(); x && y) { return *x == *y; }
    if (const auto x = a.number(), y = b.number(); x && y) { return *x == *y; }
    if (const auto* x = a.as<ListRef>()) {
        const auto* y = b.as<ListRef>();
        if (y == nullptr || x->tuple != y->tuple || x->items->size() != y->items->size()) { return false; }
        for (std::size_t i = 0; i < x->items->size(); ++i) {
            if (!equal(m, (*x->items)[i], (*y->items)[i])) { return false; }
        }
        return true;
    }
    if (const auto* x = a.as<DictRef>()) {
        const auto* y = b.as<DictRef>();
        if (y == nullptr || x->is_namespace || y->is_namespace) { return y != nullptr && x->dict == y->dict; }
        if (x->dict->entries.size() != y->dict->entries.size()) { return false; }
        for (const auto& [key, value] : x->dict->entries) {
            const auto& others = y->dict->entries;
            const auto same = std::find_if(others.begin(), others.end(),
                                           [&, &k = key](const auto& other) { return equal(m, k, other.first); });
            if (same == others.end() || !equal(m, value, same->second)) { return false; }
        }
        return true;
    }
    return false;
}

GRAFT_INLINE void fail_undefined(Machine& m, const Value& v)
{
    const auto& why = v.as<Undefined>()->why;
    m.fail(why != nullptr ? *why : "the value is undefined");
}

GRAFT_INLINE int order(Machine& m, const Value& a, const Value& b)
{
    const Level level(m);
    m.step();
    if (a.is_undefined()) { fail_undefined(m, a); }
    if (b.is_undefined()) { fail_undefined(m, b); }
    const auto three_way = [](const auto& x, const auto& y) { return x < y ? -1 : y < x ? 1 : 0; };
    if (const auto x = a.integer(), y = b.integer(); x && y) { return three_way(*x, *y); }
    if (const auto x = a.number(), y = b.number(); x && y) { return three_way(*x, *y); }
    if (a.is_text() && b.is_text()) {
        m.look_at(std::min(a.str().size(), b.str().size()));
        return three_way(a.str().compare(b.str()), 0);
    }
    const auto* x = a.as<ListRef>();
    const auto* y = b.as<ListRef>();
    if (x == nullptr || y == nullptr || x->tuple != y->tuple) {
        m.fail("cannot compare " + kind_name(a) + " with " + kind_name(b));
    }
    const std::size_t common = std::min(x->items->size(), y->items->size());
    for (std::size_t i = 0; i < common; ++i) {
        if (const int o = order(m, (*x->items)[i], (*y->items)[i]); o != 0) { return o; }
    }
    return three_way(x->items->size(), y->items->size());
}

GRAFT_INLINE std::size_t find_text(Machine& m, std::string_view text, std::string_view part, std::size_t from)
{
    m.look_at(text.size());
    return text.find(part, from);
}

GRAFT_INLINE bool contains(Machine& m, const Value& container, const Value& item)
{
    if (container.is_text()) {
        if (item.is_undefined()) { fail_undefined(m, item); }
        if (!item.is_text()) { m.fail("'in' a string needs a string, found " + kind_name(item)); }
        return find_text(m, container.str(), item.str()) != std::string::npos;
    }
    if (container.is_undefined()) { return false; }
    if (const auto* list = container.as<ListRef>()) {
        return std::any_of(list->items->begin(), list->items->end(),
                           [&](const Value& other) { return equal(m, other, item); });
    }
    const auto* dict = container.as<DictRef>();
    if (dict == nullptr || dict->is_namespace) {
        m.fail("'in' needs a string, list or dict, found " + kind_name(container));
    }
    if (item.is<ListRef>() || item.is<DictRef>()) { m.fail(kind_name(item) + " cannot be the key of a dict"); }
    return std::any_of(dict->dict->entries.begin(), dict->dict->entries.end(),
                       [&](const auto& entry) { return equal(m, entry.first, item); });
}

GRAFT_INLINE List items_of(Machine& m, const Value& v)
{
    List out;
    if (const auto* list = v.as<ListRef>()) {
        m.step(list->items->size());
        return *list->items;
    }
    if (v.is_text()) {
        const std::string& text = v.str();
        for (std::size_t at = 0; at < text.size(); at += char_bytes(text, at)) {
            m.step();
            out.push_back(m.text(text.substr(at, char_bytes(text, at))));
        }
        return out;
    }
    if (const auto* dict = v.as<DictRef>(); dict != nullptr && !dict->is_namespace) {
        m.step(dict->dict->entries.size());
        for (const auto& entry : dict->dict->entries) { out.push_back(entry.first); }
        return out;
    }
    if (!v.is_undefined()) { m.fail(kind_name(v) + " cannot be walked; expected a list, string or dict"); }
    return out;
}

GRAFT_INLINE Value repeated(Machine& m, const Value& v, std::int64_t times)
{
    const auto count = static_cast<std::uint64_t>(std::max<std::int64_t>(times, 0));
    if (const auto* list = v.as<ListRef>()) {
        const std::size_t size = list->items->size();
        if (size > 0 && count > m.options.limits.steps / size) { m.step(m.options.limits.steps + 1); }
        m.step(size * count);
        List out;
        for (std::uint64_t i = 0; i < count && size > 0; ++i) {
            out.insert(out.end(), list->items->begin(), list->items->end());
        }
        return Value::sequence(std::move(out), list->tuple);
    }
    const std::string& text = v.str();
    if (!text.empty() && count > m.options.limits.output / text.size()) {
        m.fail("a string of " + std::to_string(text.size()) + " bytes repeated " + std::to_string(count)
               + " times; at most " + std::to_string(m.options.limits.output) + " bytes are allowed");
    }
    m.reserve(text.size() * count);
    std::string out;
    for (std::uint64_t i = 0; i < count && !text.empty(); ++i) { out += text; }
    return Value::text(std::move(out));
}

GRAFT_INLINE Value integer_math(Machine& m, char op, std::int64_t a, std::int64_t b)
{
    std::int64_t out = 0;
    bool over = false;
    if (op == '+') { over = __builtin_add_overflow(a, b, &out); }
    if (op == '-') { over = __builtin_sub_overflow(a, b, &out); }
    if (op == '*') { over = __builtin_mul_overflow(a, b, &out); }
    if (op == '/' || op == '%') {  // floor division and its remainder, whose sign is the divisor's
        if (b == 0) { m.fail("division by zero"); }
        if (b == -1) {
            over = op == '/' && __builtin_sub_overflow(std::int64_t{0}, a, &out);
        } else {
            const bool down = a % b != 0 && (a < 0) != (b < 0);
            out = op == '/' ? a / b - (down ? 1 : 0) : a % b + (down ? b : 0);
        }
    }
    if (op == '^') {
        out = 1;
        for (std::int64_t base = a, left = b; left > 0 && !over; left /= 2) {
            if (left % 2 == 1) { over = __builtin_mul_overflow(out, base, &out); }
            if (left > 1 && !over) { over = __builtin_mul_overflow(base, base, &base); }
        }
    }
    if (over) { m.fail("the integer does not fit 64 bits"); }
    return out;
}

GRAFT_INLINE Value percent(Machine& m, const std::string& form, const List& values, bool spare)
{
    std::string out;
    std::size_t used = 0;
    for (std::size_t i = 0; i < form.size(); ++i) {
        if (form[i] != '%') {
            out += form[i];
            continue;
        }
        std::size_t digits = 6;
        if (i + 2 < form.size() && form[i + 1] == '.' && form[i + 2] >= '0' && form[i + 2] <= '9') {
            digits = static_cast<std::size_t>(form[i + 2] - '0'), i += 2;
        }
        const char kind = ++i < form.size() ? form[i] : '\0';
        if (kind == '%') {
            out += '%';
            continue;
        }
        if (used == values.size()) { m.fail("more places in the format string than values"); }
        const Value& v = values[used++];
        const auto x = v.number();
        if (kind == 's') {
            out += to_text(m, v);
        } else if (kind == 'r') {
            out += to_repr(m, v);
        } else if ((kind == 'd' || kind == 'i') && x && std::abs(*x) < 9e18) {
            out += std::to_string(v.integer().value_or(static_cast<std::int64_t>(*x)));
        } else if (kind == 'f' && x && std::isfinite(*x)) {
            char buffer[400];
            out.append(buffer, std::to_chars(buffer, buffer + sizeof buffer, *x, std::chars_format::fixed,
                                             static_cast<int>(digits))
                                   .ptr);
        } else {
            m.fail("the format string wants " + std::string("'%") + kind + "', found " + kind_name(v));
        }
        m.step();
        if (out.size() > m.options.limits.output) { m.reserve(out.size()); }
    }
    if (used < values.size() && !spare) { m.fail("more values than places in the format string"); }
    return m.text(std::move(out));
}

GRAFT_INLINE Value binary(Machine& m, const std::string& op, const Value& a, const Value& b)
{
    if (op == "~") {
        std::string left = to_text(m, a);
        const std::string right = to_text(m, b);
        m.reserve(left.size() + right.size());
        return Value::text(std::move(left += right));
    }
    if (a.is_undefined()) { fail_undefined(m, a); }
    if (op == "%" && a.is_text()) {
        const auto* list = b.as<ListRef>();
        const bool tuple = list != nullptr && list->tuple;
        const bool spare = !tuple && (list != nullptr || b.is<DictRef>() || b.is_undefined());
        return percent(m, a.str(), tuple ? *list->items : List{b}, spare);
    }
    if (b.is_undefined()) { fail_undefined(m, b); }
    const bool sequence_a = a.is_text() || a.is<ListRef>(), sequence_b = b.is_text() || b.is<ListRef>();
    if (op == "+" && a.is_text() && b.is_text()) {
        m.reserve(a.str().size() + b.str().size());
        return Value::text(a.str() + b.str());
    }
    if (op == "+" && a.is<ListRef>() && b.is<ListRef>() && a.as<ListRef>()->tuple == b.as<ListRef>()->tuple) {
        m.step(a.items().size() + b.items().size());
        List out = a.items();
        out.insert(out.end(), b.items().begin(), b.items().end());
        return Value::sequence(std::move(out), a.as<ListRef>()->tuple);
    }
    if (op == "*" && sequence_a && b.integer()) { return repeated(m, a, *b.integer()); }
    if (op == "*" && sequence_b && a.integer()) { return repeated(m, b, *a.integer()); }

    const auto i = a.integer(), j = b.integer();
    const auto x = a.number(), y = b.number();
    if (!x || !y) { m.fail("'" + op + "' cannot join " + kind_name(a) + " and " + kind_name(b)); }
    if (i && j && op != "/" && !(op == "**" && *j < 0)) {
        return integer_math(m, op == "//" ? '/' : op == "**" ? '^' : op[0], *i, *j);
    }
    if (op == "+") { return *x + *y; }
    if (op == "-") { return *x - *y; }
    if (op == "*") { return *x * *y; }
    if (op == "**" && !(*x == 0 && *y < 0)) { return std::pow(*x, *y); }
    if (*y == 0 || op == "**") { m.fail("division by zero"); }
    if (op == "/") { return *x / *y; }
    const double rest = std::fmod(*x, *y);
    const double remainder = rest != 0 && (rest < 0) != (*y < 0) ? rest + *y : rest;
    return op == "//" ? std::floor((*x - remainder) / *y + 0.5) : remainder;
}

GRAFT_INLINE std::vector<std::size_t> slice_indices(Machine& m, std::size_t size, const Value& start, const Value& stop,
                                                    const Value& by)
{
    const auto part = [&](const Value& v, std::int64_t missing) {
        if (v.is<None>()) { return missing; }
        if (!v.integer()) { m.fail("a slice needs integers, found " + kind_name(v)); }
        return *v.integer();
    };
    const auto n = static_cast<std::int64_t>(size);
    const std::int64_t step = part(by, 1);
    if (step == 0) { m.fail("the step of a slice is 0"); }
    const auto clamp = [&](std::int64_t i) {
        if (i < 0) { i = i < -n ? -1 : i + n; }
        return step > 0 ? std::clamp<std::int64_t>(i, 0, n) : std::clamp<std::int64_t>(i, -1, n - 1);
    };
    const std::int64_t first = start.is<None>() ? (step > 0 ? 0 : n - 1) : clamp(part(start, 0));
    const std::int64_t last = stop.is<None>() ? (step > 0 ? n : -1) : clamp(part(stop, 0));
    std::vector<std::size_t> out;
    for (std::int64_t i = first; step > 0 ? i < last : i > last;) {
        m.step();
        out.push_back(static_cast<std::size_t>(i));
        if (__builtin_add_overflow(i, step, &i)) { break; }
    }
    return out;
}

GRAFT_INLINE Value slice(Machine& m, const Value& v, const Value& start, const Value& stop, const Value& by)
{
    if (const auto* list = v.as<ListRef>()) {
        List out;
        for (const auto i : slice_indices(m, list->items->size(), start, stop, by)) {
            out.push_back((*list->items)[i]);
        }
        return Value::sequence(std::move(out), list->tuple);
    }
    if (v.is_undefined()) { fail_undefined(m, v); }
    if (!v.is_text()) { m.fail(kind_name(v) + " cannot be sliced; expected a list or string"); }
    const std::string& text = v.str();
    m.look_at(text.size());
    std::vector<std::size_t> starts;
    for (std::size_t at = 0; at < text.size(); at += char_bytes(text, at)) { starts.push_back(at); }
    std::string out;
    for (const auto i : slice_indices(m, starts.size(), start, stop, by)) {
        out.append(text, starts[i], char_bytes(text, starts[i]));
    }
    return m.text(std::move(out));
}

}  // namespace graft::detail::jinja
