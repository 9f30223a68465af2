#pragma once
#include "graft/core/error.hpp"
#include "graft/text/jinja/evaluator.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/parser.hpp"
#include "graft/text/span.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

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

inline Value from_json(Machine& m, const nlohmann::ordered_json& json)
{
    using Kind = nlohmann::ordered_json::value_t;
    const Level level(m);
    switch (json.type()) {
    case Kind::boolean: return json.get<bool>();
    case Kind::number_integer: return json.get<std::int64_t>();
    case Kind::number_unsigned: {
        const auto n = json.get<std::uint64_t>();
        if (n > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
            m.fail("the integer " + std::to_string(n) + " in the data does not fit 64 bits");
        }
        return static_cast<std::int64_t>(n);
    }
    case Kind::number_float: return json.get<double>();
    case Kind::string: return Value::text(json.get<std::string>());
    case Kind::array: {
        List items;
        for (const auto& each : json) { items.push_back(from_json(m, each)); }
        return Value::list(std::move(items));
    }
    case Kind::object: {
        Dict dict;
        for (const auto& [key, value] : json.items()) {
            dict.entries.emplace_back(Value::text(key), from_json(m, value));
        }
        return Value::dict(std::move(dict));
    }
    default: return None{};
    }
}

}  // namespace detail::jinja

inline JinjaTemplate JinjaTemplate::parse(std::string source, std::string name)
{
    auto parsed = std::make_shared<Parsed>();
    parsed->name = std::move(name);
    parsed->source = std::move(source);
    parsed->block = detail::jinja::Parser(parsed->source, parsed->name).run();
    return JinjaTemplate(std::move(parsed));
}

inline JinjaTemplate::Rendered JinjaTemplate::render(const nlohmann::ordered_json& variables,
                                                     const Options& options) const
{
    require(variables.is_object() || variables.is_null(),
            [&] { return "chat template \"" + name() + "\": the variables must be a JSON object"; });
    if (options.renderings != nullptr) { ++*options.renderings; }
    detail::jinja::Machine machine(parsed_->name, options);
    machine.at = {1, 1};
    detail::jinja::Evaluator evaluator(machine);
    for (const auto& [key, value] : variables.items()) {
        evaluator.define(key, detail::jinja::from_json(machine, value));
    }
    evaluator.run(parsed_->block);
    return {std::move(evaluator.text), std::move(evaluator.generation)};
}

}  // namespace graft
