#pragma once
#include "graft/text/jinja.hpp"

#include <cstdint>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "graft/core/error.hpp"
#include "graft/text/jinja/evaluator.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/parser.hpp"
#include "graft/text/jinja/value.hpp"

namespace graft::detail::jinja {

GRAFT_INLINE Value from_json(Machine& m, const nlohmann::ordered_json& json)
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

}  // namespace graft::detail::jinja

namespace graft {

GRAFT_INLINE JinjaTemplate JinjaTemplate::parse(std::string source, std::string name)
{
    auto parsed = std::make_shared<Parsed>();
    parsed->name = std::move(name);
    parsed->source = std::move(source);
    parsed->block = detail::jinja::Parser(parsed->source, parsed->name).run();
    return JinjaTemplate(std::move(parsed));
}

GRAFT_INLINE JinjaTemplate::Rendered JinjaTemplate::render(const nlohmann::ordered_json& variables,
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
