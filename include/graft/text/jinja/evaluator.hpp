#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/inline.hpp"
#include "graft/text/jinja/arguments.hpp"
#include "graft/text/jinja/ast.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/scope.hpp"
#include "graft/text/jinja/value.hpp"
#include "graft/text/span.hpp"

// Runs a parsed template: statements write text, expressions give values.
namespace graft::detail::jinja {

class Evaluator {
public:
    explicit Evaluator(Machine& machine) : m_(machine), scope_(std::make_shared<Scope>()) {}

    void define(const std::string& name, Value value) { scope_->set(name, std::move(value)); }

    void run(const Block& block) { execute(block); }

    std::string text;
    std::vector<TextSpan> generation;  // bytes of `text` inside {% generation %}

private:
    enum class Flow { on, leave, next };

    // A scope for as long as it lives.
    class Inner {
    public:
        Inner(Evaluator& e, std::shared_ptr<Scope> parent);
        explicit Inner(Evaluator& e) : Inner(e, e.scope_) {}
        ~Inner() { evaluator_.scope_ = std::move(outer_); }
        Inner(const Inner&) = delete;
        Inner& operator=(const Inner&) = delete;

    private:
        Evaluator& evaluator_;
        std::shared_ptr<Scope> outer_;
    };

    Flow execute(const Block& block);

    Flow execute(const Stmt& s);

    Flow execute_loop(const Stmt& s);

    std::string captured(const Block& body);

    void write(const std::string& piece);

    void assign(const Target& target, Value value);

    Value closure(const MacroNode& macro);

    Args evaluated(const std::vector<Argument>& arguments);

    // The chain of filters of a block, whose lowest filter has no left side: that is the block's text.
    Value filtered(const Expr& e, Value text);

    Value eval(const Expr& e);

    List values(const Expr& e);

    Value eval_dict(const Expr& e);

    Value eval_chain(const Expr& e);

    Value eval_compare(const Expr& e);

    Value lookup(const std::string& name);

    Value call(const Value& v, const Args& args);

    Value call_macro(const Function& function, const Args& args);

    Machine& m_;
    std::shared_ptr<Scope> scope_;
    std::string* out_ = &text;
};

}  // namespace graft::detail::jinja

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja/evaluator.ipp"
#endif
