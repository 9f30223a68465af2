#pragma once
#include "graft/text/jinja/expr_parser.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/text/jinja/ast.hpp"
#include "graft/text/jinja/lexer.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/value.hpp"

namespace graft::detail::jinja {

GRAFT_INLINE ExprParser::Nested::Nested(ExprParser& p) : parser_(p)
{
    if (++p.depth_ > max_depth) { p.fail("nested deeper than " + std::to_string(max_depth) + " levels"); }
}

GRAFT_INLINE void ExprParser::expect_op(std::string_view op)
{
    if (!skip_op(op)) { fail("expected '" + std::string(op) + "', found " + shown(peek())); }
}

GRAFT_INLINE std::string ExprParser::shown(const Token& t)
{
    switch (t.kind) {
    case Tok::block_end: return "the end of the tag";
    case Tok::print_end: return "the end of the expression";
    case Tok::end: return "the end of the template";
    case Tok::string: return "a string";
    default: return "'" + t.text + "'";
    }
}

GRAFT_INLINE std::string ExprParser::take_name(const char* what)
{
    if (peek().kind != Tok::name) { fail(std::string("expected ") + what + ", found " + shown(peek())); }
    return take().text;
}

GRAFT_INLINE ExprPtr ExprParser::make(Op op, Position at, ExprPtr left)
{
    auto node = std::make_unique<Expr>();
    node->op = op, node->at = at, node->left = std::move(left);
    return node;
}

GRAFT_INLINE ExprPtr ExprParser::expression(bool with_choice)
{
    const Nested nested(*this);
    auto value = parse_or();
    while (with_choice && at_word("if")) {
        auto choice = make(Op::choice, take().at);
        choice->left = parse_or();
        choice->args.push_back({{}, std::move(value)});
        if (skip_word("else")) { choice->args.push_back({{}, expression()}); }
        value = std::move(choice);
    }
    return value;
}

GRAFT_INLINE ExprPtr ExprParser::tuple(bool with_choice)
{
    const Position at = peek().at;
    auto first = expression(with_choice);
    if (!at_op(",")) { return first; }
    auto node = make(Op::tuple, at);
    node->args.push_back({{}, std::move(first)});
    while (skip_op(",") && !ends_tuple()) { node->args.push_back({{}, expression(with_choice)}); }
    return node;
}

GRAFT_INLINE std::vector<Argument> ExprParser::arguments()
{
    std::vector<Argument> args;
    expect_op("(");
    while (!at_op(")")) {
        const int stars = at_op("*") ? 1 : at_op("**") ? 2 : 0;
        const bool named = stars == 0 && peek().kind == Tok::name && peek(1).kind == Tok::op && peek(1).text == "=";
        for (const auto& before : args) {
            if (before.stars == 2) { fail("an argument behind **"); }
            if (before.stars == 1 && !named && stars < 2) { fail("a positional argument behind *"); }
            if (!before.name.empty() && !named && stars == 0) { fail("a positional argument after a named one"); }
        }
        std::string name;
        if (named) { name = take().text, ++pos_; }
        if (stars > 0) { ++pos_; }
        args.push_back({std::move(name), expression(), stars});
        if (!at_op(")")) { expect_op(","); }
    }
    ++pos_;
    return args;
}

GRAFT_INLINE ExprPtr ExprParser::filter_on(ExprPtr value)
{
    auto node = make(Op::filter, peek().at, std::move(value));
    node->text = take_name("the name of a filter");
    if (at_op("(")) { node->args = arguments(); }
    return node;
}

GRAFT_INLINE bool ExprParser::ends_tuple() const
{
    const auto kind = peek().kind;
    return kind == Tok::block_end || kind == Tok::print_end || at_op(")") || at_op("=") || at_word("in");
}

GRAFT_INLINE ExprPtr ExprParser::parse_or()
{
    return chain({"or"}, true, [this] { return parse_and(); });
}

GRAFT_INLINE ExprPtr ExprParser::parse_and()
{
    return chain({"and"}, true, [this] { return parse_not(); });
}

GRAFT_INLINE ExprPtr ExprParser::parse_not()
{
    if (!at_word("not")) { return parse_compare(); }
    const Nested nested(*this);
    const Position at = take().at;
    return make(Op::logical_not, at, parse_not());
}

GRAFT_INLINE ExprPtr ExprParser::parse_compare()
{
    auto left = parse_sum();
    ExprPtr node;
    while (true) {
        std::string op;
        const Position at = peek().at;
        if (peek().kind == Tok::op
            && (at_op("==") || at_op("!=") || at_op("<") || at_op("<=") || at_op(">") || at_op(">="))) {
            op = take().text;
        } else if (skip_word("in")) {
            op = "in";
        } else if (at_word("not") && peek(1).kind == Tok::name && peek(1).text == "in") {
            pos_ += 2, op = "not in";
        } else {
            return node != nullptr ? std::move(node) : std::move(left);
        }
        if (node == nullptr) { node = make(Op::compare, at, std::move(left)); }
        node->links.emplace_back(std::move(op), parse_sum());
    }
}

GRAFT_INLINE ExprPtr ExprParser::parse_sum()
{
    return chain({"+", "-"}, false, [this] { return parse_concat(); });
}

GRAFT_INLINE ExprPtr ExprParser::parse_concat()
{
    return chain({"~"}, false, [this] { return parse_product(); });
}

GRAFT_INLINE ExprPtr ExprParser::parse_product()
{
    return chain({"*", "/", "//", "%"}, false, [this] { return parse_power(); });
}

GRAFT_INLINE ExprPtr ExprParser::parse_power()
{
    return chain({"**"}, false, [this] { return parse_unary(true); });
}

GRAFT_INLINE ExprPtr ExprParser::parse_unary(bool with_filter)
{
    const Nested nested(*this);
    ExprPtr node;
    if (at_op("-") || at_op("+")) {
        const Op op = at_op("-") ? Op::negative : Op::positive;
        const Position at = take().at;
        node = make(op, at, parse_unary(false));
    } else {
        node = parse_primary();
    }
    node = parse_postfix(std::move(node));
    return with_filter ? parse_filters(std::move(node)) : std::move(node);
}

GRAFT_INLINE ExprPtr ExprParser::parse_primary()
{
    const Token& t = peek();
    auto node = make(Op::constant, t.at);
    if (t.kind == Tok::name) {
        if (t.text == "true" || t.text == "True" || t.text == "false" || t.text == "False") {
            node->constant = Value(t.text[0] == 't' || t.text[0] == 'T');
        } else if (t.text == "none" || t.text == "None") {
            node->constant = None{};
        } else {
            node->op = Op::name, node->text = take_name("a name");
            varargs_ = varargs_ || node->text == "varargs", kwargs_ = kwargs_ || node->text == "kwargs";
            return node;
        }
        ++pos_;
    } else if (t.kind == Tok::string) {
        std::string text;
        while (peek().kind == Tok::string) { text += take().text; }
        node->constant = Value::text(std::move(text));
    } else if (t.kind == Tok::integer) {
        node->constant = take().integer;
    } else if (t.kind == Tok::real) {
        node->constant = take().real;
    } else if (at_op("(")) {
        ++pos_;
        if (skip_op(")")) { return make(Op::tuple, node->at); }
        node = tuple();
        expect_op(")");
    } else if (at_op("[")) {
        ++pos_, node->op = Op::list;
        while (!skip_op("]")) {
            node->args.push_back({{}, expression()});
            if (!at_op("]")) { expect_op(","); }
        }
    } else if (at_op("{")) {
        ++pos_, node->op = Op::dict;
        while (!skip_op("}")) {  // key, value, key, value
            node->args.push_back({{}, expression()});
            expect_op(":");
            node->args.push_back({{}, expression()});
            if (!at_op("}")) { expect_op(","); }
        }
    } else {
        fail("expected an expression, found " + shown(t));
    }
    return node;
}

GRAFT_INLINE ExprPtr ExprParser::parse_postfix(ExprPtr node)
{
    for (int links = 0;; ++links) {
        if (links > max_depth) { fail("more than " + std::to_string(max_depth) + " lookups in a row"); }
        const Position at = peek().at;
        if (skip_op(".")) {
            if (peek().kind == Tok::integer) {
                auto index = make(Op::constant, peek().at);
                index->constant = take().integer;
                node = make(Op::item, at, std::move(node));
                node->args.push_back({{}, std::move(index)});
            } else {
                node = make(Op::attribute, at, std::move(node));
                node->text = take_name("the name of a field");
            }
        } else if (at_op("[")) {
            node = parse_subscript(std::move(node));
        } else if (at_op("(")) {
            node = make(Op::call, at, std::move(node));
            node->args = arguments();
        } else {
            return node;
        }
    }
}

GRAFT_INLINE ExprPtr ExprParser::parse_subscript(ExprPtr value)
{
    auto node = make(Op::item, take().at, std::move(value));
    std::vector<ExprPtr> parts(1);
    while (!at_op("]")) {
        if (skip_op(":")) {
            node->op = Op::slice;
            if (parts.size() == 3) { fail("a slice has at most three parts"); }
            parts.emplace_back();
        } else {
            if (parts.back() != nullptr) { fail("expected ':' or ']', found " + shown(peek())); }
            parts.back() = expression();
        }
    }
    if (node->op == Op::item && parts[0] == nullptr) { fail("expected an index"); }
    ++pos_;
    parts.resize(node->op == Op::slice ? 3 : 1);
    for (auto& part : parts) { node->args.push_back({{}, std::move(part)}); }
    return node;
}

GRAFT_INLINE ExprPtr ExprParser::parse_filters(ExprPtr node)
{
    for (int links = 0;; ++links) {
        if (links > max_depth) { fail("more than " + std::to_string(max_depth) + " filters in a row"); }
        if (skip_op("|")) {
            node = filter_on(std::move(node));
        } else if (at_word("is")) {
            node = parse_test(std::move(node));
        } else if (at_op("(")) {
            node = make(Op::call, peek().at, std::move(node));
            node->args = arguments();
        } else {
            return node;
        }
    }
}

GRAFT_INLINE ExprPtr ExprParser::parse_test(ExprPtr value)
{
    const Position at = take().at;
    auto node = make(Op::test, at, std::move(value));
    node->negated = skip_word("not");
    node->text = take_name("the name of a test");
    const bool word = peek().kind == Tok::name;
    if (at_op("(")) {
        node->args = arguments();
    } else if (word ? !at_word("else") && !at_word("or") && !at_word("and") && !at_word("if") && !at_word("is")
                    : peek().kind == Tok::string || peek().kind == Tok::integer || peek().kind == Tok::real
                          || at_op("[") || at_op("{")) {
        const Nested nested(*this);
        node->args.push_back({{}, parse_postfix(parse_primary())});
    }
    return node;
}

}  // namespace graft::detail::jinja
