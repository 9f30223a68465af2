#pragma once
#include "graft/text/jinja/evaluator.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graft/text/jinja/arguments.hpp"
#include "graft/text/jinja/ast.hpp"
#include "graft/text/jinja/filters.hpp"
#include "graft/text/jinja/globals.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/methods.hpp"
#include "graft/text/jinja/scope.hpp"
#include "graft/text/jinja/tests.hpp"
#include "graft/text/jinja/value.hpp"

namespace graft::detail::jinja {

GRAFT_INLINE Evaluator::Inner::Inner(Evaluator& e, std::shared_ptr<Scope> parent) : evaluator_(e), outer_(e.scope_)
{
    e.scope_ = std::make_shared<Scope>();
    e.scope_->parent = std::move(parent);
}

GRAFT_INLINE Evaluator::Flow Evaluator::execute(const Block& block)
{
    const Level level(m_);
    for (const Stmt& stmt : block) {
        m_.step();
        m_.at = stmt.at;
        if (const Flow flow = execute(stmt); flow != Flow::on) { return flow; }
    }
    return Flow::on;
}

GRAFT_INLINE Evaluator::Flow Evaluator::execute(const Stmt& s)
{
    switch (s.kind) {
    case Do::text: write(s.text); return Flow::on;
    case Do::print: {
        const Value v = eval(*s.value);
        m_.at = s.value->at;
        if (v.is_text()) {
            write(v.str());
        } else {
            write(to_text(m_, v));
        }
        return Flow::on;
    }
    case Do::when:
        for (const Branch& branch : s.branches) {
            if (branch.condition == nullptr || truth(eval(*branch.condition))) { return execute(branch.body); }
        }
        return Flow::on;
    case Do::loop: return execute_loop(s);
    case Do::set: assign(s.targets[0], eval(*s.value)); return Flow::on;
    case Do::set_block: {
        Value v = Value::text(captured(s.body));
        assign(s.targets[0], s.value != nullptr ? filtered(*s.value, std::move(v)) : std::move(v));
        return Flow::on;
    }
    case Do::filter_block: {
        const Value v = filtered(*s.value, Value::text(captured(s.body)));
        write(to_text(m_, v));
        return Flow::on;
    }
    case Do::macro: scope_->set(s.macro->name, closure(*s.macro)); return Flow::on;
    case Do::call_block: {
        const Value function = eval(*s.value->left);
        Args args = evaluated(s.value->args);
        args.named.emplace_back("caller", closure(*s.macro));
        m_.at = s.at;
        write(to_text(m_, call(function, args)));
        return Flow::on;
    }
    case Do::generation: {
        const bool top = out_ == &text;
        const std::size_t begin = text.size();
        const Inner inner(*this);
        const Flow flow = execute(s.body);
        if (top) { generation.push_back({begin, text.size()}); }
        return flow;
    }
    case Do::with: {
        List values;
        for (const auto& value : s.values) { values.push_back(eval(*value)); }
        const Inner inner(*this);
        for (std::size_t i = 0; i < values.size(); ++i) { assign(s.targets[i], values[i]); }
        return execute(s.body);
    }
    case Do::leave: return Flow::leave;
    case Do::next: return Flow::next;
    }
    return Flow::on;
}

GRAFT_INLINE Evaluator::Flow Evaluator::execute_loop(const Stmt& s)
{
    const Value source = eval(*s.value);
    m_.at = s.at;
    auto items = std::make_shared<List>();
    for (Value& each : items_of(m_, source)) {
        if (s.condition != nullptr) {
            const Inner inner(*this);
            assign(s.targets[0], each);
            if (!truth(eval(*s.condition))) { continue; }
        }
        items->push_back(std::move(each));
    }
    if (items->empty()) {
        const Inner inner(*this);
        return execute(s.otherwise);
    }
    const auto loop = std::make_shared<LoopState>();
    loop->items = items;
    loop->nesting = source.nesting() + 1;
    Flow flow = Flow::on;
    for (; loop->index < items->size() && flow != Flow::leave; ++loop->index) {
        m_.step();
        const Inner inner(*this);
        scope_->set("loop", loop);
        m_.at = s.at;
        assign(s.targets[0], (*items)[loop->index]);
        flow = execute(s.body);
    }
    return Flow::on;
}

GRAFT_INLINE std::string Evaluator::captured(const Block& body)
{
    std::string buffer;
    std::string* const outer = std::exchange(out_, &buffer);
    const Inner inner(*this);
    execute(body);
    out_ = outer;
    m_.reserve(buffer.size());
    return buffer;
}

GRAFT_INLINE void Evaluator::write(const std::string& piece)
{
    m_.look_at(piece.size());
    if (piece.size() > m_.options.limits.output - out_->size()) {
        m_.fail("the text grows beyond " + std::to_string(m_.options.limits.output) + " bytes");
    }
    *out_ += piece;
}

GRAFT_INLINE void Evaluator::assign(const Target& target, Value value)
{
    m_.at = target.at;
    if (!target.parts.empty()) {
        const List parts = items_of(m_, value);
        if (parts.size() != target.parts.size()) {
            m_.fail("expected " + std::to_string(target.parts.size()) + " values to unpack, found "
                    + std::to_string(parts.size()));
        }
        for (std::size_t i = 0; i < parts.size(); ++i) { assign(target.parts[i], parts[i]); }
    } else if (target.attribute.empty()) {
        scope_->set(target.name, std::move(value));
    } else {
        const Value* owner = scope_->find(target.name);
        const auto* dict = owner != nullptr ? owner->as<DictRef>() : nullptr;
        if (dict == nullptr || !dict->is_namespace) {
            m_.fail("only a namespace has fields to set; '" + target.name + "' is "
                    + (owner != nullptr ? kind_name(*owner) : "undefined"));
        }
        if (target.attribute.starts_with('_')) {
            m_.fail("a namespace has no fields whose names begin with an underscore; rename " + target.attribute);
        }
        m_.step(1 + dict->dict->entries.size() / 8);
        if (value.nesting() > 0) { m_.keep(*owner); }
        dict->dict->set(target.attribute, std::move(value));
    }
}

GRAFT_INLINE Value Evaluator::closure(const MacroNode& macro)
{
    auto out = std::make_shared<Function>();
    out->kind = Function::Kind::macro, out->name = macro.name, out->macro = &macro, out->scope = scope_;
    return std::shared_ptr<const Function>(std::move(out));
}

GRAFT_INLINE Args Evaluator::evaluated(const std::vector<Argument>& arguments)
{
    Args out;
    const auto name = [&](const std::string& key, Value value) {
        m_.step(1 + out.named.size() / 8);
        if (std::any_of(out.named.begin(), out.named.end(), [&](const auto& a) { return a.first == key; })) {
            m_.fail("argument '" + key + "' is given twice");
        }
        out.named.emplace_back(key, std::move(value));
    };
    for (const Argument& a : arguments) {
        Value value = eval(*a.value);
        m_.at = a.value->at;
        if (!a.name.empty()) {
            name(a.name, std::move(value));
        } else if (a.stars == 0) {
            out.positional.push_back(std::move(value));
        } else if (a.stars == 1) {
            for (Value& each : items_of(m_, value)) { out.positional.push_back(std::move(each)); }
        } else {
            const auto* dict = value.as<DictRef>();
            if (dict == nullptr || dict->is_namespace) { m_.fail("** needs a dict, found " + kind_name(value)); }
            for (const auto& [key, each] : dict->dict->entries) {
                if (!key.is_text()) { m_.fail("** needs strings as keys, found " + kind_name(key)); }
                name(key.str(), each);
            }
        }
    }
    return out;
}

GRAFT_INLINE Value Evaluator::filtered(const Expr& e, Value text)
{
    Value v = e.left != nullptr ? filtered(*e.left, std::move(text)) : std::move(text);
    const Args args = evaluated(e.args);
    m_.at = e.at;
    return filter(m_, e.text, v, args);
}

GRAFT_INLINE Value Evaluator::eval(const Expr& e)
{
    const Level level(m_);
    m_.step();
    m_.at = e.at;
    switch (e.op) {
    case Op::constant: return e.constant;
    case Op::name: return lookup(e.text);
    case Op::list:
    case Op::tuple: return m_.holding(Value::sequence(values(e), e.op == Op::tuple));
    case Op::dict: return eval_dict(e);
    case Op::attribute: {
        const Value v = eval(*e.left);
        m_.at = e.at;
        return attribute(m_, v, e.text);
    }
    case Op::item: {
        const Value v = eval(*e.left), key = eval(*e.args[0].value);
        m_.at = e.at;
        return item(m_, v, key);
    }
    case Op::slice: {
        const Value v = eval(*e.left);
        Value parts[3] = {None{}, None{}, None{}};
        for (std::size_t i = 0; i < 3; ++i) {
            if (e.args[i].value != nullptr) { parts[i] = eval(*e.args[i].value); }
        }
        m_.at = e.at;
        return slice(m_, v, parts[0], parts[1], parts[2]);
    }
    case Op::call: {
        const Value function = eval(*e.left);
        const Args args = evaluated(e.args);
        m_.at = e.at;
        return call(function, args);
    }
    case Op::filter: {
        const Value v = eval(*e.left);
        const Args args = evaluated(e.args);
        m_.at = e.at;
        return filter(m_, e.text, v, args);
    }
    case Op::test: {
        const Value v = eval(*e.left);
        const Args args = evaluated(e.args);
        m_.at = e.at;
        return test(m_, e.text, v, args) != e.negated;
    }
    case Op::negative:
    case Op::positive: {
        const Value v = eval(*e.left);
        m_.at = e.at;
        if (v.is_undefined()) { fail_undefined(m_, v); }
        if (!v.number()) { m_.fail("a sign needs a number, found " + kind_name(v)); }
        if (const auto n = v.integer()) { return e.op == Op::negative ? integer_math(m_, '-', 0, *n) : Value(*n); }
        return e.op == Op::negative ? -*v.number() : *v.number();
    }
    case Op::logical_not: return !truth(eval(*e.left));
    case Op::chain: return eval_chain(e);
    case Op::compare: return eval_compare(e);
    case Op::choice:
        if (truth(eval(*e.left))) { return eval(*e.args[0].value); }
        if (e.args.size() == 2) { return eval(*e.args[1].value); }
        return Value::undefined("the condition is false and there is no else");
    }
    return {};
}

GRAFT_INLINE List Evaluator::values(const Expr& e)
{
    List out;
    for (const Argument& a : e.args) { out.push_back(eval(*a.value)); }
    m_.at = e.at;
    return out;
}

GRAFT_INLINE Value Evaluator::eval_dict(const Expr& e)
{
    Dict dict;
    for (std::size_t i = 0; i < e.args.size(); i += 2) {
        const Value key = eval(*e.args[i].value);
        Value value = eval(*e.args[i + 1].value);
        m_.at = e.at;
        if (key.is<ListRef>() || key.is<DictRef>()) { m_.fail(kind_name(key) + " cannot be the key of a dict"); }
        const auto same = std::find_if(dict.entries.begin(), dict.entries.end(),
                                       [&](const auto& entry) { return equal(m_, entry.first, key); });
        if (same != dict.entries.end()) {
            same->second = std::move(value);
        } else {
            dict.entries.emplace_back(key, std::move(value));
        }
    }
    return m_.holding(Value::dict(std::move(dict)));
}

GRAFT_INLINE Value Evaluator::eval_chain(const Expr& e)
{
    Value v = eval(*e.left);
    for (const auto& [op, right] : e.links) {
        m_.step();
        if (op == "and" || op == "or") {
            if (truth(v) == (op == "or")) { return v; }
            v = eval(*right);
        } else {
            const Value other = eval(*right);
            m_.at = e.at;
            v = binary(m_, op, v, other);
        }
    }
    return v;
}

GRAFT_INLINE Value Evaluator::eval_compare(const Expr& e)
{
    Value left = eval(*e.left);
    for (const auto& [op, expr] : e.links) {
        Value right = eval(*expr);
        m_.at = e.at;
        const bool holds = op == "=="       ? equal(m_, left, right)
                           : op == "!="     ? !equal(m_, left, right)
                           : op == "in"     ? contains(m_, right, left)
                           : op == "not in" ? !contains(m_, right, left)
                           : op == "<"      ? order(m_, left, right) < 0
                           : op == "<="     ? order(m_, left, right) <= 0
                           : op == ">"      ? order(m_, left, right) > 0
                                            : order(m_, left, right) >= 0;
        if (!holds) { return false; }
        left = std::move(right);
    }
    return true;
}

GRAFT_INLINE Value Evaluator::lookup(const std::string& name)
{
    if (const Value* v = scope_->find(name)) { return *v; }
    for (const char* global : {"range", "dict", "namespace", "raise_exception", "strftime_now"}) {
        if (name == global) {
            auto out = std::make_shared<Function>();
            out->name = name;
            return std::shared_ptr<const Function>(std::move(out));
        }
    }
    return Value::undefined("'" + name + "' is undefined");
}

GRAFT_INLINE Value Evaluator::call(const Value& v, const Args& args)
{
    if (v.is_undefined()) { fail_undefined(m_, v); }
    const auto* function = v.as<std::shared_ptr<const Function>>();
    if (function == nullptr) { m_.fail(kind_name(v) + " cannot be called"); }
    switch ((*function)->kind) {
    case Function::Kind::method: return call_method(m_, **function, args);
    case Function::Kind::macro: return call_macro(**function, args);
    default: return call_global(m_, (*function)->name, args);
    }
}

GRAFT_INLINE Value Evaluator::call_macro(const Function& function, const Args& args)
{
    const Position at = m_.at;
    const MacroNode& macro = *function.macro;
    const auto outer = function.scope.lock();
    if (outer == nullptr) { m_.fail("the macro '" + macro.name + "' is called outside of its block"); }
    const auto& parameters = macro.parameters;
    if (args.positional.size() > parameters.size() && !macro.varargs) {
        m_.fail("the macro '" + macro.name + "' takes at most " + std::to_string(parameters.size())
                + " arguments, found " + std::to_string(args.positional.size()));
    }
    const Inner inner(*this, outer);
    std::vector<bool> given(parameters.size(), false);
    List more;
    Dict more_named;
    for (std::size_t i = 0; i < args.positional.size(); ++i) {
        if (i >= parameters.size()) {
            more.push_back(args.positional[i]);
            continue;
        }
        scope_->set(parameters[i].name, args.positional[i]);
        given[i] = true;
    }
    for (const auto& [name, value] : args.named) {
        std::size_t i = 0;
        while (i < parameters.size() && parameters[i].name != name) { ++i; }
        if (i == parameters.size() && name != "caller") {
            if (!macro.kwargs) { m_.fail("the macro '" + macro.name + "' has no argument '" + name + "'"); }
            more_named.entries.emplace_back(Value::text(name), value);
            continue;
        }
        if (i < parameters.size()) {
            if (given[i]) { m_.fail("the macro '" + macro.name + "': argument '" + name + "' is given twice"); }
            given[i] = true;
        }
        scope_->set(name, value);
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        if (given[i]) { continue; }
        scope_->set(parameters[i].name,
                    parameters[i].fallback != nullptr
                        ? eval(*parameters[i].fallback)
                        : Value::undefined("the argument '" + parameters[i].name + "' was not given"));
    }
    if (macro.varargs) { scope_->set("varargs", m_.holding(Value::tuple(std::move(more)))); }
    if (macro.kwargs) { scope_->set("kwargs", m_.holding(Value::dict(std::move(more_named)))); }
    Value out = Value::text(captured(macro.body));
    m_.at = at;
    return out;
}

}  // namespace graft::detail::jinja
