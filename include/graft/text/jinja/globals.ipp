#pragma once
#include "graft/text/jinja/globals.hpp"

#include <cstdint>
#include <string>
#include <utility>

#include "graft/text/jinja/arguments.hpp"
#include "graft/text/jinja/clock.hpp"
#include "graft/text/jinja/machine.hpp"
#include "graft/text/jinja/value.hpp"

namespace graft::detail::jinja {

GRAFT_INLINE Value call_range(Machine& m, const Args& args)
{
    const Bound a(m, "range", args, {"start", "stop", "step"});
    std::int64_t start = a.integer("start", 0), stop = a.integer("stop", 0);
    a.needed("start");
    if (!a.has("stop")) { stop = std::exchange(start, 0); }
    const std::int64_t by = a.integer("step", 1);
    if (by == 0) { m.fail("range: the step is 0"); }
    List out;
    for (std::int64_t i = start; by > 0 ? i < stop : i > stop;) {
        m.step();
        out.push_back(i);
        if (__builtin_add_overflow(i, by, &i)) { break; }
    }
    return Value::list(std::move(out));
}

GRAFT_INLINE Value call_global(Machine& m, const std::string& name, const Args& args)
{
    if (name == "raise_exception") {
        const std::string reason = to_text(m, Bound(m, name, args, {"message"}).needed("message"));
        throw TemplateRefusal(m.where("the template refuses this conversation: " + reason), reason);
    }
    if (name == "strftime_now") { return m.text(strftime(m, Bound(m, name, args, {"format"}).text("format"))); }
    if (name == "range") { return call_range(m, args); }
    Dict dict;  // dict(a=1), namespace(a=1), and both of a dict
    if (args.positional.size() > 1) { m.fail(name + " takes one dict and named values"); }
    for (const Value& v : args.positional) {
        const auto* from = v.as<DictRef>();
        if (from == nullptr || from->is_namespace) { m.fail(name + " takes a dict, found " + kind_name(v)); }
        m.step(from->dict->entries.size());
        dict = *from->dict;
    }
    for (const auto& [key, value] : args.named) { dict.set(key, value); }
    return m.holding(Value::dict(std::move(dict), name == "namespace"));
}

}  // namespace graft::detail::jinja
