#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "graft/core/inline.hpp"

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
    static Value undefined(std::string why);

    template <class T> const T* as() const { return std::get_if<T>(&data_); }
    template <class T> bool is() const { return std::holds_alternative<T>(data_); }
    bool is_undefined() const { return is<Undefined>(); }
    bool is_text() const { return is<Text>(); }
    const std::string& str() const { return *std::get<Text>(data_); }
    const List& items() const { return *std::get<ListRef>(data_).items; }

    unsigned nesting() const;

    // bool, int and float are all numbers, and True is 1.
    std::optional<std::int64_t> integer() const;
    std::optional<double> number() const;

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

bool truth(const Value& v);

// The kind as Python's error messages name it.
std::string kind_name(const Value& v);

}  // namespace graft::detail::jinja

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja/value.ipp"
#endif
