#pragma once
#include "graft/text/jinja/machine.hpp"

#include <memory>
#include <string>
#include <utility>
#include <vector>

// A parsed template: expressions and statements, each with where it stands.
namespace graft::detail::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

// name empty: by position. stars: 1 for *list, 2 for **dict.
struct Argument {
    std::string name;
    ExprPtr value;
    int stars = 0;
};

enum class Op {
    constant,
    name,
    list,
    tuple,
    dict,
    attribute,  // left.text
    item,
    slice,  // left[args[0]], left[args[0]:args[1]:args[2]] (any may be missing)
    call,   // left(args)
    filter,
    test,  // left | text(args), left is text(args); negated: is not
    negative,
    positive,
    logical_not,
    chain,    // left, then (word, operand) again and again, one precedence: + - * / // % ~ and or
    compare,  // left < a <= b: each pair joined by and
    choice    // args[0] if left else args[1] (may be missing)
};

struct Expr {
    Op op;
    Position at;
    Value constant;
    std::string text;
    bool negated = false;
    ExprPtr left;
    std::vector<Argument> args;
    std::vector<std::pair<std::string, ExprPtr>> links;  // chain, compare: operator and right side; dict: see args
};

enum class Do {
    text,
    print,
    when,
    loop,
    set,
    set_block,
    macro,
    call_block,
    filter_block,
    generation,
    with,
    leave,
    next
};

struct Stmt;
using Block = std::vector<Stmt>;

// What an assignment or a for fills: a name, ns.attribute, or a tuple of them.
struct Target {
    Position at;
    std::string name, attribute;
    std::vector<Target> parts;
};

struct Parameter {
    std::string name;
    ExprPtr fallback;
};

struct MacroNode {
    std::string name;
    Position at;
    std::vector<Parameter> parameters;
    Block body;
    bool varargs = false, kwargs = false;  // its body names them: it takes further arguments
};

struct Branch {
    ExprPtr condition;
    Block body;
};  // no condition: else

struct Stmt {
    Do kind;
    Position at;
    std::string text;
    ExprPtr value;      // print, loop: what is walked; set: right side; blocks: call or filter chain
    ExprPtr condition;  // for … if
    std::vector<Branch> branches;
    std::vector<Target> targets;  // set, set_block, loop: one; with: several
    std::vector<ExprPtr> values;  // with
    std::unique_ptr<MacroNode> macro;
    Block body, otherwise;
};

}  // namespace graft::detail::jinja
