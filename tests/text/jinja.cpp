#include "graft/text/jinja.hpp"
#include "support.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <ctime>
#include <fstream>

namespace {

using Json = nlohmann::ordered_json;
using graft::JinjaOptions;
using graft::JinjaTemplate;

std::string render(const std::string& text, const Json& variables = {}, const JinjaOptions& options = {})
{
    return JinjaTemplate::parse(text, "t").render(variables, options).text;
}

std::string error_of(const std::string& text, const Json& variables = {}, const JinjaOptions& options = {})
{
    try {
        const std::string out = render(text, variables, options);
        return "no error: " + out.substr(0, 100);
    } catch (const graft::Error& error) {
        return error.what();
    }
}

}  // namespace

TEST_CASE("small templates render as Jinja2 does")
{
    std::ifstream in(graft_test::repo() / "data" / "chat_templates" / "jinja_cases.json");
    REQUIRE(in.good());
    const Json golden = Json::parse(in);
    CHECK(golden["cases"].size() > 90);
    for (const auto& row : golden["cases"]) {
        const std::string text = row["template"];
        INFO(text);
        if (row.contains("error")) {
            CHECK_MESSAGE(error_of(text, golden["variables"]).starts_with("chat template \"t\", line "),
                          error_of(text, golden["variables"]));
        } else {
            std::string out;
            CHECK_NOTHROW(out = render(text, golden["variables"]));
            CHECK(out == row["text"].get<std::string>());
        }
    }
}

TEST_CASE("lists can be appended to, as published templates do")
{
    CHECK(render("{% set l = [] %}{% for i in [1, 2] %}{% set _ = l.append(i * 2) %}{% endfor %}{{ l }}") == "[2, 4]");
    CHECK(render("{% set l = [] %}{{ l.append(l) }}x") == "Nonex");  // and neither leaks nor prints for ever
    CHECK(error_of("{% set l = [] %}{% set _ = l.append(l) %}{{ l }}").find("nested deeper") != std::string::npos);
}

TEST_CASE("what the assistant says is marked in bytes")
{
    const auto out =
        JinjaTemplate::parse("ä{% generation %}ö{% endgeneration %}-{%- generation -%} x {%- endgeneration -%}"
                             "{% set b %}{% generation %}in a block{% endgeneration %}{% endset %}",
                             "t")
            .render({});
    CHECK(out.text == "äö-x");
    CHECK(out.generation == std::vector<graft::TextSpan>{{2, 4}, {5, 6}});
}

TEST_CASE("the date can be set")
{
    using namespace std::chrono;
    JinjaOptions options;
    options.now = sys_days{2024y / 7 / 6} + hours{15} + minutes{4} + seconds{5};
    CHECK(render("{{ strftime_now('%d %b %Y') }}", {}, options) == "06 Jul 2024");
    CHECK(render("{{ strftime_now('%A %a %B %-d %e %y-%m %j %H:%M:%S %I%p %%') }}", {}, options)
          == "Saturday Sat July 6  6 24-07 188 15:04:05 03PM %");
    CHECK(error_of("{{ strftime_now('%Q') }}", {}, options).find("'%Q' is not supported") != std::string::npos);
    CHECK(render("{{ strftime_now('%Y')|length }}") == "4");
}

TEST_CASE("errors say line and column")
{
    CHECK(error_of("a\n  {{ x.y }}") == "chat template \"t\", line 2, column 7: 'x' is undefined");
    CHECK(error_of("ää {{ 1 + }}")
          == "chat template \"t\", line 1, column 11: expected an expression, found the end of the expression");
    CHECK(error_of("{% if a %}\n{% for x in y %}\n{% endif %}")
              .starts_with("chat template \"t\", line 3, column 4: unexpected tag 'endif'"));
    CHECK(error_of("\n{% if a %}")
              .starts_with("chat template \"t\", line 2, column 4: this if has no end; expected {% endif %}"));
    CHECK(error_of("x {{ 'abc }}") == "chat template \"t\", line 1, column 6: this string never ends");
    CHECK(error_of("{{ 'a\\N{BULLET}' }}")
          == "chat template \"t\", line 1, column 6: character names (\\N{…}) are not supported; write \\uXXXX");
    CHECK(error_of("{{ a").starts_with("chat template \"t\", line 1, column 1: this tag never ends"));
    CHECK(error_of("{% include 'x' %}").find("opens no file") != std::string::npos);
    CHECK(error_of("{% break %}").find("outside of a for") != std::string::npos);
    CHECK(error_of("{{ [1)}}").find("unexpected ')'") != std::string::npos);
    CHECK(error_of("{{ d.a.b }}", {{"d", {{"b", 1}}}})
          == "chat template \"t\", line 1, column 7: a dict has no field 'a'");
    CHECK(error_of("\xff").find("not UTF-8") != std::string::npos);
    CHECK(error_of("{{ x }}", Json::array({1})).find("must be a JSON object") != std::string::npos);
}

TEST_CASE("names may begin with an underscore; fields that do are hidden, as in Jinja's sandbox")
{
    const Json variables = {{"x", {{"_y", 1}, {"y", 2}, {"__class__", 5}}}, {"_x", 1}, {"s", "abc"}, {"l", {1, 2}}};
    for (const auto& [text, expected] : std::initializer_list<std::pair<const char*, const char*>>{
             {"{{ _x }}", "1"},
             {"{% set _s = namespace(n=0) %}{% for _m in l %}{% set _s.n = _s.n + _m %}{% endfor %}{{ _s.n }}", "3"},
             {"{% macro _m(_a, _b=2) %}{{ _a }}{{ _b }}{% endmacro %}{{ _m(1) }}{{ _m(1, _b=3) }}", "1213"},
             {"{% for __x in l %}{{ __x }}{% endfor %}{% set _a, _b = 1, 2 %}{{ _a + _b }}", "123"},
             {"{% for _k, _v in x.items() %}{{ _v }}{% endfor %}{% with _a = 1 %}{{ _a }}{% endwith %}", "1251"},
             {"{{ x._y }}{{ x['_y'] }}{{ x.get('_y') }}{{ x['__class__'] }}", "1115"},
             {"{{ x.__class__ }}{{ s.__class__ }}{{ s['__class__'] }}|{{ s._q is defined }}", "|False"},
             {"{{ s|attr('_y') }}{{ x|attr('y') }}|{{ ['a']|map(attribute='__class__')|list|length }}", "|1"},
         }) {
        const std::string got = render(text, variables);
        CAPTURE(got);
        CHECK(got == expected);
    }
    for (const char* text : {"{{ s.__class__.__name__ }}", "{{ s.__class__() }}", "{{ s.__class__ + 'x' }}",
                             "{% set ns = namespace(a=1) %}{% set ns._b = 2 %}"}) {
        CHECK_MESSAGE(error_of(text, variables).find("underscore") != std::string::npos, error_of(text, variables));
    }
}

TEST_CASE("arguments from lists and dicts")
{
    const Json variables = {{"l", {1, 2}}, {"kw", {{"b", 2}, {"c", 3}}}, {"t", nullptr}};
    const std::string macro = "{% macro m(a, b=5, c=6) %}{{ a }}{{ b }}{{ c }}{% endmacro %}";
    for (const auto& [text, expected] : std::initializer_list<std::pair<std::string, const char*>>{
             {"{{ dict(a=1, **kw) }}{{ namespace(**kw).b }}", "{'a': 1, 'b': 2, 'c': 3}2"},
             {"{{ range(*l)|list }}{{ range(*[3])|list }}", "[1][0, 1, 2]"},
             {macro + "{{ m(1, **kw) }}{{ m(*l) }}{{ m(*l, **{'c': 9}) }}{{ m(*[1], b=3) }}", "123126129136"},
             {"{% macro m(a) %}{{ a }}{{ varargs }}{% endmacro %}{{ m(*l) }}", "1(2,)"},
             {"{% macro m(a) %}{{ a }}{{ kwargs }}{% endmacro %}{{ m(**{'a': 1, 'z': 2}) }}", "1{'z': 2}"},
             {"{{ 'a'|replace(*['a', 'b']) }}{{ l|join(**{'d': '-'}) }}{{ 3 is divisibleby(*[3]) }}", "b1-2True"},
             {"{{ 2 ** 3 ** 2 }} {{ 2 * 3 ** 2 }} {{ 2 ** -1 }}", "64 18 0.5"},
         }) {
        const std::string got = render(text, variables);
        CAPTURE(got);
        CHECK(got == expected);
    }
    for (const std::string& text :
         {std::string("{{ dict(**t) }}"), std::string("{{ dict(**nope) }}"), std::string("{{ range(*t) }}"),
          std::string("{{ dict(**kw, **kw) }}"), std::string("{{ range(*l, 1) }}"),
          std::string("{{ dict(**kw, a=1) }}"), std::string("{{ dict(b=1, **kw) }}"), macro + "{{ m(1, 2, 3, *l) }}",
          macro + "{{ m(1, **{'a': 2}) }}", macro + "{{ m(1, **{'z': 2}) }}",
          std::string("{{ range(*range(10**7)) }}")}) {
        CHECK_MESSAGE(error_of(text, variables).starts_with("chat template \"t\", line "), text,
                      error_of(text, variables));
    }
}

TEST_CASE("filters over none, undefined and other kinds give what Jinja2 gives")
{
    std::ifstream in(graft_test::repo() / "data" / "chat_templates" / "filter_cases.json");
    REQUIRE(in.good());
    const Json golden = Json::parse(in);
    int texts = 0, errors = 0;
    for (const auto& [value, filters] : golden["cases"].items()) {
        for (const auto& [filter, expected] : filters.items()) {
            const std::string text = "{{ " + value + "|" + filter + " }}";
            INFO(text);
            if (expected.is_null()) {
                CHECK(error_of(text, golden["variables"]).starts_with("chat template \"t\", line "));
                ++errors;
            } else {
                std::string out;
                CHECK_NOTHROW(out = render(text, golden["variables"]));
                CHECK(out == expected.get<std::string>());
                ++texts;
            }
        }
    }
    CHECK(texts > 250);
    CHECK(errors > 200);
}

TEST_CASE("a hostile template ends with an error, soon")
{
    const std::clock_t start = std::clock();  // of this process alone: other work on the machine does not count
    const std::string nest(5000, '('), brackets(5000, '['), minus(5000, '-');
    std::string blocks, links = "{{ x";
    for (int i = 0; i < 5000; ++i) { blocks += "{% if 1 %}", links += ".a"; }
    const std::string doubling =
        "{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}";
    for (const std::string& text :
         {std::string("{{ 'a' * 10**9 }}"),
          std::string("{{ 'a' * 10**18 }}"),
          std::string("{{ [0] * 10**12 }}"),
          std::string("{{ 10**100 }}"),
          std::string("{{ range(10**12)|length }}"),
          std::string("{% for i in range(10**9) %}{% endfor %}"),
          std::string("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
          std::string("{% macro m() %}{{ m(*varargs, **kwargs) }}{% endmacro %}{{ m(1, a=2) }}"),
          std::string("{% set ns = namespace(d={}) %}{% for i in range(10**6) %}{% set ns.d = dict(ns.d, **{i|string: "
                      "i}) %}{% endfor %}"),
          std::string("{% for i in range(1000) %}{% for j in range(1000) %}{% for k in range(1000) %}{% endfor %}{% "
                      "endfor %}{% endfor %}"),
          std::string("{% for i in range(100000) %}{{ 'a' * 1000 }}{% endfor %}"),
          std::string("{% set l = [] %}{% for i in range(10000) %}{% set _ = l.append('a' * 10**7) %}{% endfor %}"),
          std::string("{% set l = [1] %}{% for i in l %}{% for j in range(10**7) %}{% set _ = l.append(l) %}{% "
                      "endfor %}{% endfor %}"),
          std::string("{% set s = 'a' * 10**7 %}{% for i in range(10**5) %}{% if 'b' in s %}{% endif %}{% endfor %}"),
          std::string("{% set ns = namespace(l=[]) %}{% for i in range(300000) %}{% set ns.l = [ns.l] %}{% endfor %}"),
          std::string(
              "{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = ns.l + ns.l %}{% endfor %}"),
          std::string("{% set ns = namespace(a=1) %}{% set ns.me = ns %}{{ ns }}"),
          std::string("{{ 'a' | replace('', 'b' * 10**6) | replace('b', 'c' * 10**6) }}"),
          std::string("{{ ('x,' * 10**6).split(',') | map('replace', 'x', 'y' * 10**6) | join }}"),
          std::string("{{ 'a' | indent(10**9) }}"),
          std::string("{{ [1] | tojson(indent=10**9) | length }}{{ 1/0 }}"),
          std::string("{{ 9223372036854775807 + 1 }}"),
          std::string("{{ -9223372036854775807 - 2 }}"),
          doubling,
          blocks,
          links + " }}",
          "{{ " + nest,
          "{{ " + brackets,
          "{{ " + minus + "1 }}",
          "{{ " + nest + "1 }}"}) {
        const std::string error = error_of(text);
        CHECK_MESSAGE(error.starts_with("chat template \"t\", line "), text.substr(0, 80), ": ", error);
    }
    // Long chains made by appending are taken down without recursion.
    CHECK(render("{% set ns = namespace(root=[], at=none) %}{% set ns.at = ns.root %}{% for i in range(100000) %}{% "
                 "set n = [] %}"
                 "{% set _ = ns.at.append(n) %}{% set ns.at = n %}{% endfor %}{{ ns.root|length }}")
          == "1");
    CHECK(
        render("{{ [1, 2, 3][::9223372036854775807] }}{{ 'abc'[-9223372036854775807:] }}{{ [1][9223372036854775807] }}")
        == "[1]abc");
    Json deep = 1;
    for (int i = 0; i < 1000; ++i) { deep = Json::array({deep}); }
    CHECK(error_of("x", {{"deep", deep}}).find("nested deeper") != std::string::npos);
    CHECK((std::clock() - start) / CLOCKS_PER_SEC < 60);
}

TEST_CASE("limits can be set, and what a conversation needs lies far below them")
{
    JinjaOptions tight;
    tight.limits = {.steps = 50, .output = 20, .depth = 10};
    CHECK(render("{% for i in [1, 2] %}{{ i }}{% endfor %}", {}, tight) == "12");
    CHECK(error_of("{% for i in range(30) %}{{ i }}{% endfor %}", {}, tight).find("more than 50 steps")
          != std::string::npos);
    CHECK(error_of("{{ 'abcdefghijk' }}{{ 'abcdefghijk' }}", {}, tight).find("beyond 20 bytes") != std::string::npos);
    Json messages = Json::array();
    for (int i = 0; i < 2000; ++i) {
        messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", std::string(2000, 'x')}});
    }
    CHECK(render("{% for m in messages %}{{ '<' + m.role + '>' + m['content'] | trim + '</s>' }}{% endfor %}",
                 {{"messages", messages}})
              .size()
          == 2000 * (2000 + 4 + 2) + 1000 * (4 + 9));
}
