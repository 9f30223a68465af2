#pragma once
#include "graft/text/jinja/parser.hpp"

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "graft/text/jinja/ast.hpp"
#include "graft/text/jinja/lexer.hpp"
#include "graft/text/jinja/machine.hpp"

namespace graft::detail::jinja {

GRAFT_INLINE Block Parser::block(std::initializer_list<std::string_view> ends, Position opened, const std::string& what)
{
    const Nested nested(*this);
    Block out;
    while (true) {
        const Position at = peek().at;
        if (peek().kind == Tok::end) {
            if (ends.size() == 0) { return out; }
            fail(opened, "this " + what + " has no end; expected {% " + std::string(*(ends.end() - 1)) + " %}");
        }
        if (peek().kind == Tok::data) {
            out.push_back({Do::text, at, take().text, {}, {}, {}, {}, {}, {}, {}, {}});
        } else if (peek().kind == Tok::print_begin) {
            ++pos_;
            Stmt stmt = made(Do::print, at);
            stmt.value = tuple();
            if (peek().kind != Tok::print_end) { fail("expected }}, found " + shown(peek())); }
            ++pos_;
            out.push_back(std::move(stmt));
        } else {
            ++pos_;
            for (const auto end : ends) {
                if (at_word(end)) { return out; }
            }
            out.push_back(statement(ends));
        }
    }
}

GRAFT_INLINE void Parser::end_tag()
{
    if (peek().kind != Tok::block_end) { fail("expected %}, found " + shown(peek())); }
    ++pos_;
}

GRAFT_INLINE void Parser::end_tag(std::string_view word)
{
    if (!skip_word(word)) { fail("expected '" + std::string(word) + "', found " + shown(peek())); }
    end_tag();
}

GRAFT_INLINE Stmt Parser::statement(std::initializer_list<std::string_view> ends)
{
    if (peek().kind != Tok::name) { fail("expected the name of a tag, found " + shown(peek())); }
    const Position at = peek().at;
    const std::string word = take().text;
    if (word == "if") { return parse_if(at); }
    if (word == "for") { return parse_for(at); }
    if (word == "set") { return parse_set(at); }
    if (word == "macro") { return parse_macro(at); }
    if (word == "call") { return parse_call(at); }
    if (word == "filter") { return parse_filter_block(at); }
    if (word == "with") { return parse_with(at); }
    if (word == "generation") {
        Stmt stmt = made(Do::generation, at);
        end_tag();
        stmt.body = block({"endgeneration"}, at, word);
        end_tag("endgeneration");
        return stmt;
    }
    if (word == "break" || word == "continue") {
        if (loops_ == 0) { fail(at, "'" + word + "' outside of a for"); }
        end_tag();
        return made(word == "break" ? Do::leave : Do::next, at);
    }
    for (const char* file : {"include", "import", "from", "extends", "block"}) {
        if (word == file) { fail(at, "'" + word + "' is refused: a chat template stands alone and opens no file"); }
    }
    if (ends.size() > 0) {
        fail(at, "unexpected tag '" + word + "'; the innermost open tag ends with '" + std::string(*(ends.end() - 1))
                     + "'");
    }
    fail(at, "unknown tag '" + word + "'");
}

GRAFT_INLINE Stmt Parser::parse_if(Position at)
{
    Stmt stmt = made(Do::when, at);
    auto condition = tuple(true);
    while (true) {
        end_tag();
        Block body = block({"elif", "else", "endif"}, at, "if");
        stmt.branches.push_back({std::move(condition), std::move(body)});
        if (!skip_word("elif")) { break; }
        condition = tuple(true);
    }
    if (skip_word("else")) {
        end_tag();
        stmt.branches.push_back({nullptr, block({"endif"}, at, "if")});
    }
    end_tag("endif");
    return stmt;
}

GRAFT_INLINE Stmt Parser::parse_for(Position at)
{
    Stmt stmt = made(Do::loop, at);
    stmt.targets.push_back(target(false));
    if (!skip_word("in")) { fail("expected 'in', found " + shown(peek())); }
    stmt.value = tuple(false);
    if (skip_word("if")) { stmt.condition = expression(); }
    if (at_word("recursive")) { fail("recursive loops are not supported; write a macro"); }
    end_tag();
    ++loops_;
    stmt.body = block({"else", "endfor"}, at, "for");
    --loops_;
    if (skip_word("else")) {
        end_tag();
        stmt.otherwise = block({"endfor"}, at, "for");
    }
    end_tag("endfor");
    return stmt;
}

GRAFT_INLINE Stmt Parser::parse_set(Position at)
{
    Stmt stmt = made(Do::set, at);
    stmt.targets.push_back(target(true));
    if (skip_op("=")) {
        stmt.value = tuple();
        end_tag();
        return stmt;
    }
    stmt.kind = Do::set_block;
    stmt.value = filter_chain();
    end_tag();
    stmt.body = block({"endset"}, at, "set");
    end_tag("endset");
    return stmt;
}

GRAFT_INLINE ExprPtr Parser::filter_chain()
{
    ExprPtr value;
    while (skip_op("|")) { value = filter_on(std::move(value)); }
    return value;
}

GRAFT_INLINE Stmt Parser::parse_filter_block(Position at)
{
    Stmt stmt = made(Do::filter_block, at);
    stmt.value = filter_on(nullptr);
    while (skip_op("|")) { stmt.value = filter_on(std::move(stmt.value)); }
    end_tag();
    stmt.body = block({"endfilter"}, at, "filter");
    end_tag("endfilter");
    return stmt;
}

GRAFT_INLINE Stmt Parser::parse_with(Position at)
{
    Stmt stmt = made(Do::with, at);
    while (peek().kind != Tok::block_end) {
        if (!stmt.targets.empty()) { expect_op(","); }
        stmt.targets.push_back(target(false));
        expect_op("=");
        stmt.values.push_back(expression());
    }
    end_tag();
    stmt.body = block({"endwith"}, at, "with");
    end_tag("endwith");
    return stmt;
}

GRAFT_INLINE void Parser::parameters(MacroNode& macro)
{
    expect_op("(");
    while (!skip_op(")")) {
        Parameter parameter{take_name("a parameter"), nullptr};
        if (skip_op("=")) {
            parameter.fallback = expression();
        } else if (!macro.parameters.empty() && macro.parameters.back().fallback != nullptr) {
            fail("a parameter without a default after one with");
        }
        macro.parameters.push_back(std::move(parameter));
        if (!at_op(")")) { expect_op(","); }
    }
}

GRAFT_INLINE void Parser::macro_body(MacroNode& macro, std::string_view end)
{
    const int outer = std::exchange(loops_, 0);
    const bool varargs = std::exchange(varargs_, false), kwargs = std::exchange(kwargs_, false);
    end_tag();
    macro.body = block({end}, macro.at, std::string(end.substr(3)));
    end_tag(end);
    loops_ = outer;
    macro.varargs = varargs_, macro.kwargs = kwargs_;
    varargs_ = varargs_ || varargs, kwargs_ = kwargs_ || kwargs;
}

GRAFT_INLINE Stmt Parser::parse_macro(Position at)
{
    Stmt stmt = made(Do::macro, at);
    stmt.macro = std::make_unique<MacroNode>();
    stmt.macro->at = at;
    stmt.macro->name = take_name("the name of the macro");
    parameters(*stmt.macro);
    macro_body(*stmt.macro, "endmacro");
    return stmt;
}

GRAFT_INLINE Stmt Parser::parse_call(Position at)
{
    Stmt stmt = made(Do::call_block, at);
    stmt.macro = std::make_unique<MacroNode>();
    stmt.macro->at = at;
    stmt.macro->name = "caller";
    if (at_op("(")) { parameters(*stmt.macro); }
    stmt.value = expression();
    if (stmt.value->op != Op::call) { fail(at, "'call' needs a call of a macro"); }
    macro_body(*stmt.macro, "endcall");
    return stmt;
}

GRAFT_INLINE Target Parser::one_target(bool attributes)
{
    const Nested nested(*this);
    Target out{peek().at, {}, {}, {}};
    if (skip_op("(")) {
        out = target(attributes);
        expect_op(")");
        return out;
    }
    out.name = take_name("a name to assign to");
    for (const char* fixed : {"true", "false", "none", "True", "False", "None", "loop"}) {
        if (out.name == fixed) { fail(out.at, "'" + out.name + "' cannot be assigned"); }
    }
    if (attributes && skip_op(".")) { out.attribute = take_name("the name of a field"); }
    return out;
}

GRAFT_INLINE Target Parser::target(bool attributes)
{
    Target first = one_target(attributes);
    if (!at_op(",")) { return first; }
    Target all{first.at, {}, {}, {}};
    all.parts.push_back(std::move(first));
    while (skip_op(",")) {
        if (at_word("in") || at_op("=") || at_op(")")) { break; }
        all.parts.push_back(one_target(attributes));
    }
    return all;
}

}  // namespace graft::detail::jinja
