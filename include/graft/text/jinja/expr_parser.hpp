#pragma once
#include "graft/text/jinja/ast.hpp"
#include "graft/text/jinja/lexer.hpp"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Tokens → expressions, with Jinja's precedence, from loose to tight: a if b else c; or; and; not; comparisons, in;
// + -; ~; * / // %; **; unary; then .x [i] (…) and | filter, is test.
namespace graft::detail::jinja {

class ExprParser {
protected:
    static constexpr int max_depth = 200;

    ExprParser(std::vector<Token> tokens, const std::string& name) : tokens_(std::move(tokens)), name_(name) {}

    class Nested {
    public:
        explicit Nested(ExprParser& p) : parser_(p)
        {
            if (++p.depth_ > max_depth) { p.fail("nested deeper than " + std::to_string(max_depth) + " levels"); }
        }
        ~Nested() { --parser_.depth_; }
        Nested(const Nested&) = delete;
        Nested& operator=(const Nested&) = delete;

    private:
        ExprParser& parser_;
    };

    const Token& peek(std::size_t ahead = 0) const { return tokens_[std::min(pos_ + ahead, tokens_.size() - 1)]; }
    Token take() { return pos_ + 1 < tokens_.size() ? std::move(tokens_[pos_++]) : tokens_[pos_]; }
    bool at_op(std::string_view op) const { return peek().kind == Tok::op && peek().text == op; }
    bool at_word(std::string_view word) const { return peek().kind == Tok::name && peek().text == word; }
    bool skip_op(std::string_view op) { return at_op(op) && (++pos_, true); }
    bool skip_word(std::string_view word) { return at_word(word) && (++pos_, true); }
    void expect_op(std::string_view op)
    {
        if (!skip_op(op)) { fail("expected '" + std::string(op) + "', found " + shown(peek())); }
    }

    static std::string shown(const Token& t)
    {
        switch (t.kind) {
        case Tok::block_end: return "the end of the tag";
        case Tok::print_end: return "the end of the expression";
        case Tok::end: return "the end of the template";
        case Tok::string: return "a string";
        default: return "'" + t.text + "'";
        }
    }
    [[noreturn]] void fail(const std::string& what) const { fail(peek().at, what); }
    [[noreturn]] void fail(Position at, const std::string& what) const { throw Error(located(name_, at, what)); }

    std::string take_name(const char* what)
    {
        if (peek().kind != Tok::name) { fail(std::string("expected ") + what + ", found " + shown(peek())); }
        return take().text;
    }

    static ExprPtr make(Op op, Position at, ExprPtr left = nullptr)
    {
        auto node = std::make_unique<Expr>();
        node->op = op, node->at = at, node->left = std::move(left);
        return node;
    }

    ExprPtr expression(bool with_choice = true)
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

    // One expression, or several with commas between them: a tuple.
    ExprPtr tuple(bool with_choice = true)
    {
        const Position at = peek().at;
        auto first = expression(with_choice);
        if (!at_op(",")) { return first; }
        auto node = make(Op::tuple, at);
        node->args.push_back({{}, std::move(first)});
        while (skip_op(",") && !ends_tuple()) { node->args.push_back({{}, expression(with_choice)}); }
        return node;
    }

    // name(args): the arguments of a call, filter or test.
    std::vector<Argument> arguments()
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

    ExprPtr filter_on(ExprPtr value)  // at the name, behind the |
    {
        auto node = make(Op::filter, peek().at, std::move(value));
        node->text = take_name("the name of a filter");
        if (at_op("(")) { node->args = arguments(); }
        return node;
    }

    std::vector<Token> tokens_;
    std::size_t pos_ = 0;
    const std::string& name_;
    int depth_ = 0;
    bool varargs_ = false, kwargs_ = false;  // an expression has named them since the macro began

private:
    bool ends_tuple() const
    {
        const auto kind = peek().kind;
        return kind == Tok::block_end || kind == Tok::print_end || at_op(")") || at_op("=") || at_word("in");
    }

    // A chain of operators of one precedence, flat: a long sum does not nest.
    template <class Next> ExprPtr chain(std::initializer_list<std::string_view> ops, bool words, Next next)
    {
        auto left = next();
        ExprPtr node;
        while (peek().kind == (words ? Tok::name : Tok::op)
               && std::find(ops.begin(), ops.end(), peek().text) != ops.end()) {
            if (node == nullptr) { node = make(Op::chain, peek().at, std::move(left)); }
            auto op = take().text;
            node->links.emplace_back(std::move(op), next());
        }
        return node != nullptr ? std::move(node) : std::move(left);
    }

    ExprPtr parse_or()
    {
        return chain({"or"}, true, [this] { return parse_and(); });
    }
    ExprPtr parse_and()
    {
        return chain({"and"}, true, [this] { return parse_not(); });
    }
    ExprPtr parse_not()
    {
        if (!at_word("not")) { return parse_compare(); }
        const Nested nested(*this);
        const Position at = take().at;
        return make(Op::logical_not, at, parse_not());
    }

    ExprPtr parse_compare()
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

    ExprPtr parse_sum()
    {
        return chain({"+", "-"}, false, [this] { return parse_concat(); });
    }
    ExprPtr parse_concat()
    {
        return chain({"~"}, false, [this] { return parse_product(); });
    }
    ExprPtr parse_product()
    {
        return chain({"*", "/", "//", "%"}, false, [this] { return parse_power(); });
    }
    ExprPtr parse_power()
    {
        return chain({"**"}, false, [this] { return parse_unary(true); });
    }

    ExprPtr parse_unary(bool with_filter)
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

    ExprPtr parse_primary()
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

    // x.y, x[i] and calls nest to the left, so their number is bounded like depth.
    ExprPtr parse_postfix(ExprPtr node)
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

    ExprPtr parse_subscript(ExprPtr value)
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

    ExprPtr parse_filters(ExprPtr node)
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

    ExprPtr parse_test(ExprPtr value)
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
};

}  // namespace graft::detail::jinja
