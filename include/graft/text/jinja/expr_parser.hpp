#pragma once
#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/jinja/ast.hpp"
#include "graft/text/jinja/lexer.hpp"
#include "graft/text/jinja/machine.hpp"

// Tokens → expressions, with Jinja's precedence, from loose to tight: a if b else c; or; and; not; comparisons, in;
// + -; ~; * / // %; **; unary; then .x [i] (…) and | filter, is test.
namespace graft::detail::jinja {

class ExprParser {
protected:
    static constexpr int max_depth = 200;

    ExprParser(std::vector<Token> tokens, const std::string& name) : tokens_(std::move(tokens)), name_(name) {}

    class Nested {
    public:
        explicit Nested(ExprParser& p);
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
    void expect_op(std::string_view op);

    static std::string shown(const Token& t);
    [[noreturn]] void fail(const std::string& what) const { fail(peek().at, what); }
    [[noreturn]] void fail(Position at, const std::string& what) const { throw Error(located(name_, at, what)); }

    std::string take_name(const char* what);

    static ExprPtr make(Op op, Position at, ExprPtr left = nullptr);

    ExprPtr expression(bool with_choice = true);

    // One expression, or several with commas between them: a tuple.
    ExprPtr tuple(bool with_choice = true);

    // name(args): the arguments of a call, filter or test.
    std::vector<Argument> arguments();

    ExprPtr filter_on(ExprPtr value);  // at the name, behind the |

    std::vector<Token> tokens_;
    std::size_t pos_ = 0;
    const std::string& name_;
    int depth_ = 0;
    bool varargs_ = false, kwargs_ = false;  // an expression has named them since the macro began

private:
    bool ends_tuple() const;

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

    ExprPtr parse_or();
    ExprPtr parse_and();
    ExprPtr parse_not();

    ExprPtr parse_compare();

    ExprPtr parse_sum();
    ExprPtr parse_concat();
    ExprPtr parse_product();
    ExprPtr parse_power();

    ExprPtr parse_unary(bool with_filter);

    ExprPtr parse_primary();

    // x.y, x[i] and calls nest to the left, so their number is bounded like depth.
    ExprPtr parse_postfix(ExprPtr node);

    ExprPtr parse_subscript(ExprPtr value);

    ExprPtr parse_filters(ExprPtr node);

    ExprPtr parse_test(ExprPtr value);
};

}  // namespace graft::detail::jinja

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja/expr_parser.ipp"
#endif
