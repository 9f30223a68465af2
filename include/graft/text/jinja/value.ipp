#pragma once
#include "graft/text/jinja/value.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace graft::detail::jinja {

GRAFT_INLINE Value Value::undefined(std::string why)
{
    return Value(Data(Undefined{std::make_shared<const std::string>(std::move(why))}));
}

GRAFT_INLINE std::optional<std::int64_t> Value::integer() const
{
    if (const auto* b = as<bool>()) { return *b ? 1 : 0; }
    if (const auto* n = as<std::int64_t>()) { return *n; }
    return std::nullopt;
}

GRAFT_INLINE std::optional<double> Value::number() const
{
    if (const auto* x = as<double>()) { return *x; }
    if (const auto n = integer()) { return static_cast<double>(*n); }
    return std::nullopt;
}

GRAFT_INLINE unsigned Value::nesting() const
{
    if (const auto* list = as<ListRef>()) { return list->nesting; }
    if (const auto* dict = as<DictRef>()) { return dict->nesting; }
    if (const auto* function = as<std::shared_ptr<const Function>>()) { return (*function)->receiver.nesting() + 1; }
    if (const auto* loop = as<std::shared_ptr<LoopState>>()) { return (*loop)->nesting; }
    return 0;
}

GRAFT_INLINE Value Value::sequence(List items, bool tuple)
{
    unsigned deepest = 0;
    for (const Value& v : items) { deepest = std::max(deepest, v.nesting()); }
    return ListRef{std::make_shared<List>(std::move(items)), tuple, deepest + 1};
}

GRAFT_INLINE Value Value::dict(Dict dict, bool is_namespace)
{
    unsigned deepest = 0;
    for (const auto& [key, value] : dict.entries) { deepest = std::max({deepest, key.nesting(), value.nesting()}); }
    return DictRef{std::make_shared<Dict>(std::move(dict)), is_namespace, deepest + 1};
}

GRAFT_INLINE const Value* Dict::find(std::string_view key) const
{
    for (const auto& [k, v] : entries) {
        if (k.is_text() && k.str() == key) { return &v; }
    }
    return nullptr;
}

GRAFT_INLINE void Dict::set(std::string_view key, Value value)
{
    for (auto& [k, v] : entries) {
        if (k.is_text() && k.str() == key) {
            v = std::move(value);
            return;
        }
    }
    entries.emplace_back(Value::text(std::string(key)), std::move(value));
}

GRAFT_INLINE bool truth(const Value& v)
{
    if (v.is_undefined() || v.is<None>()) { return false; }
    if (const auto* text = v.as<Text>()) { return !(*text)->empty(); }
    if (const auto* list = v.as<ListRef>()) { return !list->items->empty(); }
    if (const auto* dict = v.as<DictRef>()) { return dict->is_namespace || !dict->dict->entries.empty(); }
    if (const auto x = v.number()) { return *x != 0; }
    return true;
}

GRAFT_INLINE std::string kind_name(const Value& v)
{
    if (v.is_undefined()) { return "undefined"; }
    if (v.is<None>()) { return "none"; }
    if (v.is<bool>()) { return "a boolean"; }
    if (v.is<std::int64_t>()) { return "an integer"; }
    if (v.is<double>()) { return "a float"; }
    if (v.is_text()) { return "a string"; }
    if (const auto* list = v.as<ListRef>()) { return list->tuple ? "a tuple" : "a list"; }
    if (const auto* dict = v.as<DictRef>()) { return dict->is_namespace ? "a namespace" : "a dict"; }
    return v.is<std::shared_ptr<LoopState>>() ? "a loop" : "a function";
}

}  // namespace graft::detail::jinja
