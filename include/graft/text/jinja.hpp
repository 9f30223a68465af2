#pragma once
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/error.hpp"
#include "graft/core/inline.hpp"
#include "graft/text/jinja/ast.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/value.hpp"
#include "graft/text/span.hpp"

// Jinja, as far as the chat templates of published models use it, rendered as transformers does it: trim_blocks and
// lstrip_blocks on, no escaping, loop controls on, tojson without HTML escapes.
//
//   statements    if, for (… if, else, break, continue), set (also blocks and ns.x), macro, call, filter, with, raw,
//                 generation (marks what the assistant says, changes no text)
//   expressions   all but recursive loops; integers have 64 bits
//   filters       abs attr capitalize count d default dictsort e escape first float format indent int items join last
//                 length list lower map max min reject rejectattr replace reverse round safe select selectattr sort
//                 string sum title tojson trim unique upper
//   tests         boolean callable defined divisibleby eq equalto even false float ge gt in integer iterable le lower
//                 lt mapping ne none number odd sameas sequence string true undefined upper (and == != < <= > >=)
//   methods       of strings, dicts (items keys values get), lists (append count index); see jinja/methods.hpp
//   functions     range, dict, namespace, raise_exception, strftime_now
//
// A missing name or key is undefined: prints as nothing, is false; a field of it is an error. Values print as in
// Python. Lists stand for Jinja's generators. A template opens no file and sees no object of the program; fields whose
// name begins with an underscore are undefined, as in Jinja's sandbox, but for keys of dicts. Steps, output, the
// strings made on the way and depth are bounded (JinjaLimits). Errors: Error with name, line and column;
// TemplateRefusal where the template calls raise_exception. Source: the documentation and behaviour of Jinja 3.1; the
// settings of transformers' chat_template_utils.
namespace graft {

class JinjaTemplate {
public:
    using Limits = JinjaLimits;
    using Options = JinjaOptions;
    struct Rendered {
        std::string text;
        std::vector<TextSpan> generation;  // what the {% generation %} blocks wrote
    };

    // `name` stands in errors. Throws Error where the text is not a template.
    static JinjaTemplate parse(std::string source, std::string name);

    // `variables` is an object, or null for none. Any number of threads may render one template.
    Rendered render(const nlohmann::ordered_json& variables, const Options& options = {}) const;

    const std::string& source() const { return parsed_->source; }
    const std::string& name() const { return parsed_->name; }

private:
    struct Parsed {
        std::string source, name;
        detail::jinja::Block block;
    };
    explicit JinjaTemplate(std::shared_ptr<const Parsed> parsed) : parsed_(std::move(parsed)) {}

    std::shared_ptr<const Parsed> parsed_;
};

namespace detail::jinja {

Value from_json(Machine& m, const nlohmann::ordered_json& json);

}  // namespace detail::jinja

}  // namespace graft

#if GRAFT_HEADER_ONLY
#include "graft/text/jinja.ipp"
#endif
