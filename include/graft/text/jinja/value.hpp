#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

// The values of a template: Python's none, booleans, integers (64 bits here), floats, strings, lists, tuples and dicts,
// and Jinja's undefined, namespaces, functions and the `loop` of a for. Strings, lists and dicts are shared, so that a
// copy of a value is cheap; only `append` and `set ns.x` change one in place.
namespace graft::detail::jinja {

class Value;
struct Function;
struct LoopState;
using List = std::vector<Value>;

struct Dict {
    std::vector<std::pair<Value, Value>> entries;  // in the order of the file, as Python's
    const Value* find(std::string_view key) const;
    void set(std::string_view key, Value value);
};

struct Undefined {
    std::shared_ptr<const std::string> why;
};  // "'x' is undefined"
struct None {};
// `nesting`: how deep values lay inside one another when this one was made. It bounds the recursion of destructors.
struct ListRef {
    std::shared_ptr<List> items;
    bool tuple = false;
    unsigned nesting = 1;
};
struct DictRef {
    std::shared_ptr<Dict> dict;
    bool is_namespace = false;
    unsigned nesting = 1;
};
using Text = std::shared_ptr<const std::string>;

class Value {
public:
    using Data = std::variant<Undefined, None, bool, std::int64_t, double, Text, ListRef, DictRef,
                              std::shared_ptr<const Function>, std::shared_ptr<LoopState>>;

    Value() = default;  // undefined, without a name
    Value(None) : data_(None{}) {}
    Value(bool b) : data_(b) {}
    Value(std::int64_t n) : data_(n) {}
    Value(double x) : data_(x) {}
    Value(ListRef list) : data_(std::move(list)) {}
    Value(DictRef dict) : data_(std::move(dict)) {}
    Value(std::shared_ptr<const Function> function) : data_(std::move(function)) {}
    Value(std::shared_ptr<LoopState> loop) : data_(std::move(loop)) {}
    Value(const char*) = delete;  // would become a bool
    static Value text(std::string s) { return Value(Data(std::make_shared<const std::string>(std::move(s)))); }
    static Value list(List items) { return sequence(std::move(items), false); }
    static Value tuple(List items) { return sequence(std::move(items), true); }
    static Value sequence(List items, bool tuple);
    static Value dict(Dict dict, bool is_namespace = false);
    static Value undefined(std::string why)
    {
        return Value(Data(Undefined{std::make_shared<const std::string>(std::move(why))}));
    }

    template <class T> const T* as() const { return std::get_if<T>(&data_); }
    template <class T> bool is() const { return std::holds_alternative<T>(data_); }
    bool is_undefined() const { return is<Undefined>(); }
    bool is_text() const { return is<Text>(); }
    const std::string& str() const { return *std::get<Text>(data_); }
    const List& items() const { return *std::get<ListRef>(data_).items; }

    unsigned nesting() const;

    // bool, int and float are all numbers, and True is 1.
    std::optional<std::int64_t> integer() const
    {
        if (const auto* b = as<bool>()) { return *b ? 1 : 0; }
        if (const auto* n = as<std::int64_t>()) { return *n; }
        return std::nullopt;
    }
    std::optional<double> number() const
    {
        if (const auto* x = as<double>()) { return *x; }
        if (const auto n = integer()) { return static_cast<double>(*n); }
        return std::nullopt;
    }

private:
    explicit Value(Data data) : data_(std::move(data)) {}
    Data data_;
};

struct MacroNode;
struct Scope;

// What can be called: a global, a method bound to its value, or a macro with the scope it was written in. The scope is
// held weakly: it holds the macro.
struct Function {
    enum class Kind { global, method, macro };
    Kind kind = Kind::global;
    std::string name;
    Value receiver;
    const MacroNode* macro = nullptr;
    std::weak_ptr<Scope> scope;
};

struct LoopState {
    std::shared_ptr<const List> items;
    std::size_t index = 0;
    unsigned nesting = 1;
    std::optional<Value> changed;
};

inline unsigned Value::nesting() const
{
    if (const auto* list = as<ListRef>()) { return list->nesting; }
    if (const auto* dict = as<DictRef>()) { return dict->nesting; }
    if (const auto* function = as<std::shared_ptr<const Function>>()) { return (*function)->receiver.nesting() + 1; }
    if (const auto* loop = as<std::shared_ptr<LoopState>>()) { return (*loop)->nesting; }
    return 0;
}

inline Value Value::sequence(List items, bool tuple)
{
    unsigned deepest = 0;
    for (const Value& v : items) { deepest = std::max(deepest, v.nesting()); }
    return ListRef{std::make_shared<List>(std::move(items)), tuple, deepest + 1};
}

inline Value Value::dict(Dict dict, bool is_namespace)
{
    unsigned deepest = 0;
    for (const auto& [key, value] : dict.entries) { deepest = std::max({deepest, key.nesting(), value.nesting()}); }
    return DictRef{std::make_shared<Dict>(std::move(dict)), is_namespace, deepest + 1};
}

inline const Value* Dict::find(std::string_view key) const
{
    for (const auto& [k, v] : entries) {
        if (k.is_text() && k.str() == key) { return &v; }
    }
    return nullptr;
}

inline void Dict::set(std::string_view key, Value value)
{
    for (auto& [k, v] : entries) {
        if (k.is_text() && k.str() == key) {
            v = std::move(value);
            return;
        }
    }
    entries.emplace_back(Value::text(std::string(key)), std::move(value));
}

inline bool truth(const Value& v)
{
    if (v.is_undefined() || v.is<None>()) { return false; }
    if (const auto* text = v.as<Text>()) { return !(*text)->empty(); }
    if (const auto* list = v.as<ListRef>()) { return !list->items->empty(); }
    if (const auto* dict = v.as<DictRef>()) { return dict->is_namespace || !dict->dict->entries.empty(); }
    if (const auto x = v.number()) { return *x != 0; }
    return true;
}

// The kind as Python's error messages name it.
inline std::string kind_name(const Value& v)
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
