#pragma once
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/jinja/ast.hpp"
#include "graft/text/jinja/expr_parser.hpp"
#include "graft/text/jinja/lexer.hpp"
#include "graft/text/jinja/machine.hpp"

// Tokens → statements.
namespace graft::detail::jinja {

class Parser : ExprParser {
public:
    Parser(std::string_view source, const std::string& name) : ExprParser(Lexer(source, name).run(), name) {}

    Block run() { return block({}, Position{1, 1}, "template"); }

private:
    // Statements up to a tag that begins with one of `ends`, whose name is then next.
    Block block(std::initializer_list<std::string_view> ends, Position opened, const std::string& what);

    static Stmt made(Do kind, Position at) { return {kind, at, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }

    void end_tag();
    void end_tag(std::string_view word);

    Stmt statement(std::initializer_list<std::string_view> ends);

    Stmt parse_if(Position at);

    Stmt parse_for(Position at);

    Stmt parse_set(Position at);

    // | a | b: filters on the text of a block, which stands as an empty place at the bottom of the chain.
    ExprPtr filter_chain();

    Stmt parse_filter_block(Position at);

    Stmt parse_with(Position at);

    void parameters(MacroNode& macro);

    void macro_body(MacroNode& macro, std::string_view end);

    Stmt parse_macro(Position at);

    Stmt parse_call(Position at);

    Target one_target(bool attributes);

    Target target(bool attributes);

    int loops_ = 0;
};

}  // namespace graft::detail::jinja

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja/parser.ipp"
#endif
