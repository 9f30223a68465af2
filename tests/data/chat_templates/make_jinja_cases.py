# Writes jinja_cases.json: small templates of our own making and what Jinja2 (sandboxed, with the settings of
# transformers) makes of them. Run with Jinja2 3.1: python3 make_jinja_cases.py
import json
import os

import jinja2
import jinja2.ext
from jinja2.sandbox import SandboxedEnvironment

variables = {
    "s": "Hello World", "u": "naïve Straße 世界 😀", "n": 7, "x": 2.5, "t": True, "nothing": None, "empty": "",
    "l": [3, 1, 2], "words": ["b", "A", "c", "a"], "d": {"b": 1, "a": [1, {"k": None}], "items": "shadow"},
    "rows": [{"name": "x", "n": 2, "ok": True}, {"name": "y", "n": 1, "ok": False}, {"name": "z", "n": 3}],
    "nested": {"list": [{"deep": {"value": "v"}}]}, "markup": "<b>&\"'</b>",
}

cases = r"""
{{ s }}|{{ n }}|{{ x }}|{{ t }}|{{ nothing }}|{{ missing }}|{{ l }}|{{ d }}|{{ (1,) }}|{{ (1, 'a') }}|{{ () }}
{{ 1.0 }} {{ 0.1 }} {{ 1e20 }} {{ 1e-5 }} {{ 123456789.125 }} {{ 1e15 }} {{ 1e16 }} {{ -2.5 }} {{ 100.0 }} {{ 0.0001 }}
{{ ['it\'s', "say \"x\"", 'both \' "', 'a\nb\tc\\', '\x07', 'é\u00a0世'] }}
{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 * 3 + 4 }} {{ 2 + 3 * 4 }} {{ -n }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 1 - 2 - 3 }}
{{ 'a' ~ 1 ~ none ~ true ~ 2.0 }} {{ 'ab' * 3 }} {{ [1] * 2 + [3] }} {{ 'x' + 'y' }} {{ 2 * 'z' }}
{{ 1 == 1.0 }} {{ true == 1 }} {{ '1' == 1 }} {{ none == false }} {{ missing == none }} {{ missing == other }} {{ [1, 2] == [1, 2] }} {{ (1,) == [1] }} {{ {'a': 1} == {'a': 1.0} }} {{ 1 != 2 }}
{{ 1 < 2 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 1 < 2 < 3 }} {{ 3 > 2 > 2 }} {{ 'Z' < 'a' }} {{ true < 2 }}
{{ 'lo' in s }} {{ 3 in l }} {{ 'b' in d }} {{ 9 not in l }} {{ 'x' in missing }} {{ 'b' not in d }} {{ not 1 in l }}
{{ 1 and 2 }} {{ 0 or 'x' }} {{ '' and 1 }} {{ not '' }} {{ not not 1 }} {{ 0 or '' or [] }} {{ 1 or missing.x }}
{{ 'y' if t else 'n' }} {{ 'y' if not t }}| {{ 'a' if false else 'b' if false else 'c' }}
{{ l[0] }} {{ l[-1] }} {{ l[5] }} {{ l[1:] }} {{ l[::-1] }} {{ l[:-1] }} {{ l[-2:] }} {{ l[::2] }} {{ l[5:] }} {{ l[-9:2] }}
{{ s[0] }} {{ s[-1] }} {{ s[:5] }} {{ s[::-1] }} {{ u[3] }} {{ u[-1] }} {{ u[6:] }} {{ s[99] }} {{ u|length }}
{{ d.b }} {{ d['b'] }} {{ d['items'] }} {{ d.a[1].k }} {{ d.zzz }} {{ d['zzz'] }} {{ nested.list[0].deep.value }} {{ nested['list'][0]['deep']['value'] }} {{ rows.0.name }}
{{ d.get('b') }} {{ d.get('q') }} {{ d.get('q', 5) }} {{ d.keys()|list }} {{ d.values()|list }} {% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for k, v in d|items %}{{ k }}:{{ loop.index }} {% endfor %}{% for k in d %}{{ k }} {% endfor %}
{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.depth }};{% endfor %}
{% for i in l if i > 1 %}{{ i }}/{{ loop.length }} {% else %}none{% endfor %}{% for i in [] %}x{% else %}empty{% endfor %}{% for i in missing %}x{% else %}undef{% endfor %}
{% for i in [1,2,3,4] %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for i in l %}{{ loop.cycle('a', 'b') }}{% endfor %} {% for i in [1,1,2] %}{{ loop.changed(i) }} {% endfor %}
{% for c in u %}[{{ c }}]{% endfor %}
{% for i in [1] %}{% for j in [1, 2] %}{{ loop.depth }}{{ loop.index }} {% endfor %}{{ loop.index }}{% endfor %}
{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% set v = 1 %}{% for i in l %}{% set v = v + i %}{{ v }} {% endfor %}{{ v }}
{% set v = 1 %}{% if true %}{% set v = 2 %}{% endif %}{{ v }}
{% set ns = namespace(a=1, b='x') %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}
{% set a, b = 1, 'z' %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}{% set (e, f) = [3, 4] %}{{ e + f }}
{% set block %}  text {{ n }} {% endset %}[{{ block }}]{% set block2 | trim | upper %}  text {% endset %}[{{ block2 }}]
{% filter upper %}up {{ s }}{% endfilter %}{% filter replace('a', 'b') | trim %} aXa {% endfilter %}
{% macro m(a, b=2, c='d') %}({{ a }},{{ b }},{{ c }}){% endmacro %}{{ m(1) }}{{ m(1, c=3) }}{{ m(b=5, a=4) }}{{ m() }}
{% macro rec(i) %}{{ i }}{% if i > 0 %}{{ rec(i - 1) }}{% endif %}{% endmacro %}{{ rec(3) }}{{ rec(1) | length }}
{% macro outer(x) %}<{{ x }}:{{ caller('c') }}>{% endmacro %}{% call(v) outer(1) %}body {{ v }}{% endcall %}{% call(v) outer(2) %}{{ v }}{{ n }}{% endcall %}
{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% raw %}{{ not }} {% a %}{# b #}{% endraw %}|{%- raw -%}  x  {%- endraw -%}|
a {#- c -#} b {# c #} d {#+ e +#} f
{{ s|upper }} {{ s|lower }} {{ s|title }} {{ s|capitalize }} {{ u|upper }} {{ 'ÀÉ'|lower }} {{ "it's a-b (c) [d]"|title }} {{ "it's a-b".title() }}
{{ '  x '|trim }}| {{ 'xxaxx'|trim('x') }} {{ ' \u00a0y\u3000'|trim }}| {{ none|trim }} {{ 5|trim }}
{{ l|length }} {{ s|length }} {{ d|length }} {{ missing|length }} {{ l|count }} {{ l|first }} {{ l|last }} {{ []|first }}| {{ s|first }} {{ s|last }}
{{ l|join }} {{ l|join(', ') }} {{ words|join('-') }} {{ rows|join(',', attribute='name') }} {{ [1, none, true]|join(' ') }}
{{ l|sort }} {{ words|sort }} {{ words|sort(case_sensitive=true) }} {{ l|sort(reverse=true) }} {{ rows|sort(attribute='n')|map(attribute='name')|join }}
{{ words|map('upper')|list }} {{ rows|map(attribute='name')|list }} {{ rows|map(attribute='ok', default='?')|list }} {{ ['a ', ' b']|map('trim')|join('|') }} {{ l|map('string')|list }}
{{ l|select('gt', 1)|list }} {{ l|reject('odd')|list }} {{ l|select|list }} {{ rows|selectattr('ok')|map(attribute='name')|list }} {{ rows|selectattr('n', 'equalto', 2)|list|length }} {{ rows|rejectattr('ok')|map(attribute='name')|join }} {{ rows|selectattr('ok', 'defined')|list|length }} {{ words|reject('equalto', 'b')|join }} {{ words|reject('in', ['a', 'A'])|list }}
{{ words|unique|list }} {{ [1, 1, 2]|unique|list }} {{ l|sum }} {{ l|min }} {{ l|max }} {{ rows|sum(attribute='n') }} {{ l|reverse|list }} {{ s|reverse }}
{{ missing|default('d') }} {{ missing|default }}| {{ ''|default('e') }}| {{ ''|default('e', true) }} {{ none|d('f') }} {{ none|default('g', boolean=true) }}
{{ '5'|int }} {{ 'x'|int }} {{ 'x'|int(9) }} {{ 3.9|int }} {{ ' 12 '|int }} {{ '2.5'|int }} {{ '2.5'|float }} {{ 'q'|float }} {{ 1|float }} {{ true|int }} {{ -3|abs }} {{ 2.6|round }} {{ 2.345|round(2) }} {{ 2.1|round(method='ceil') }}
{{ 'a b a'|replace('a', 'x') }} {{ 'aaa'|replace('a', 'b', 2) }} {{ 'abc'|replace('', '-') }}
{{ d|tojson }} {{ l|tojson }} {{ u|tojson }} {{ markup|tojson }} {{ nothing|tojson }} {{ 'a\nb\t"\\'|tojson }} {{ 1.0|tojson }} {{ true|tojson }} {{ {'z': 1, 'a': 2}|tojson(sort_keys=true) }} {{ u|tojson(ensure_ascii=true) }} {{ {1: 2, none: 3, true: 4}|tojson }} {{ (1, 2)|tojson }} {{ l|tojson(separators=(',', ':')) }}
{{ nested|tojson(indent=2) }} {{ []|tojson(indent=4) }} {{ {}|tojson(indent=1) }} {{ [1, [2, {}]]|tojson(indent=4) }}
{{ 'a\nb\n\nc'|indent }}| {{ 'a\nb'|indent(2, true) }}| {{ 'a\n\nb'|indent(2, blank=true) }}| {{ 'a\nb'|indent('> ') }}
{{ s|list }} {{ d|list }} {{ 5|string ~ 'x' }} {{ markup|safe }} {{ markup|e }} {{ {'b': 1, 'a': 2}|dictsort }} {{ '%s-%d'|format('a', 3) }} {{ '%s %s' % (1, 'b') }} {{ '%.2f%%' % 3.14159 }}
{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ 'x'.split('yy') }} {{ 'a b c'.split(none, 1) }} {{ 'a\nb\r\nc\n'.splitlines() }} {{ 'abc'.split('</think>')[-1] }}
{{ ' x '.strip() }}|{{ ' x '.lstrip() }}|{{ ' x '.rstrip() }}|{{ 'xyx'.strip('x') }}|{{ '\n\na\n'.strip('\n') }}|{{ 'abc'.lstrip('ab') }}|{{ 'éaé'.strip('é') }}
{{ s.startswith('He') }} {{ s.endswith('x') }} {{ s.startswith(('a', 'H')) }} {{ s.replace('o', '0') }} {{ s.replace('l', 'L', 1) }} {{ s.upper() }} {{ s.lower() }} {{ 'ab'.capitalize() }} {{ s.find('W') }} {{ s.find('q') }} {{ u.find('世') }} {{ s.count('l') }} {{ 'a'.join(['1', '2']) }}
{{ '{} and {}'.format(1, 'b') }} {{ '{0}{1}{0}'.format('a', 'b') }} {{ '{k} {{x}}'.format(k=2) }} {{ '12'.isdigit() }} {{ 'a1'.isalnum() }} {{ ' '.isspace() }} {{ 'AB'.isupper() }} {{ 'pre-x'.removeprefix('pre-') }}
{{ s is string }} {{ n is number }} {{ x is number }} {{ n is integer }} {{ x is float }} {{ t is boolean }} {{ t is integer }} {{ t is number }} {{ nothing is none }} {{ l is iterable }} {{ s is iterable }} {{ n is iterable }} {{ d is mapping }} {{ l is mapping }} {{ l is sequence }} {{ d is sequence }} {{ missing is defined }} {{ missing is undefined }} {{ missing is iterable }} {{ t is true }} {{ 1 is true }} {{ false is false }} {{ range is callable }}
{{ 4 is even }} {{ 4 is odd }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ 1 is eq 1 }} {{ 1 is ne 1 }} {{ 2 is gt 1 }} {{ 2 is in [1, 2] }} {{ 2 is not in [1] }} {{ 'a' is lower }} {{ 'A' is upper }} {{ 1 is sameas 1 }} {{ 1 is equalto(1) }} {{ 3 is lessthan 4 }}
{{ missing is not defined and t }} {{ d.q is defined }} {{ d.b is defined }} {{ not missing is defined }} {{ s is string and n is not string }} {{ 'x' if s is string else 'y' }}
{{ range(3)|list }} {{ range(1, 7, 2)|list }} {{ range(3, 0, -1)|list }} {{ range(0)|list }} {{ dict(a=1, b='x') }} {{ dict(d, z=1)|length }}
{{ -n|string|length }} {{ -1|abs }} {{ n|string|length }} {{ (n + 1)|string }} {{ n + 1|abs }} {{ 'a' ~ 'b'|upper }} {{ not t|string }} {{ l|map('string')|join|length + 1 }}
{{ {'a': 1}.a }} {{ {'a': {'b': [1, 2]}}['a']['b'][1] }} {{ [1, [2, 3]][1][0] }} {{ 'abc'[1:].upper() }} {{ ('a' ~ 'b').upper() }} {{ {'k': '}}'} }} {{ {'a': 1, 'a': 2} }}
{{ 'adjacent ' 'strings' }} {{ "dq \" 'sq'" }} {{ '\u4e16\x41\101\q' }} {{ 1_000 }} {{ 'a\
b' }}
{% if missing %}a{% elif n > 5 %}b{% else %}c{% endif %}{% if not l %}x{% endif %}{% if l and d and t %}y{% endif %}
{% for r in rows %}{% if loop.first %}[{% endif %}{{ r.name }}{% if not loop.last %},{% else %}]{% endif %}{% endfor %}
  {% if true %}  lstrip  {% endif %}  tail
{%- if true -%}  tight  {%- endif -%}  tail
{{ 'a' -}}   b {{- 'c' }} {{- 'd' -}} e
{%+ if true %} plus {% endif +%} tail
line\n   {% if true %}\n   inner\n   {% endif %}\nend
line\n   {%+ if true +%}\n   inner\n   {% endif %}\nend\n
line\n\t{# comment #}\nnext {# c #}\nlast\n\n
{{ 1 }}\n{{ 2 }}\n\n{% set q = 1 %}\n\n{{ q }}\n
{% for i in l %}\n  {{ i }}\n{% endfor %}\nafter
a\r\nb\rc{% if true %}\r\nd{% endif %}
{% generation %}{% set inside = 1 %}marked{{ inside }}{% endgeneration %}{{ inside is defined }}
{{ missing.x }}
{{ d.q.r }}
{{ missing() }}
{{ missing + 1 }}
{{ 'a' + 1 }}
{{ 1 < 'a' }}
{{ n() }}
{{ 1 / 0 }}
{{ 1 % 0 }}
{{ none.x }}
{{ missing|items|list }}
{{ s|nosuch }}
{{ s is nosuch }}
{{ missing|tojson }}
{{ missing|int }}
{% for i in n %}{% endfor %}
{% for i in none %}{% endfor %}
{% set s.x = 1 %}
{% for a, b in [(1, 2, 3)] %}{% endfor %}
{% if %}{% endif %}
{% if true %}
{% endif %}
{{ 1 + }}
{{ (1 }}
{{ 'open }}
{% nosuchtag %}
{# open
{{ s
{{ raise_exception('no: ' ~ n) }}
""".strip("\n").split("\n")

# A backslash at the end of a line goes on with the next one; \n, \r and \t outside of quotes stand for themselves.
texts, pending = [], ""
for line in cases:
    pending += line
    if line.endswith("\\"):
        pending += "\n"
        continue
    texts.append(pending)
    pending = ""
outside = {"line", "{{ 1 }}\\n{{", "{% for i in l %}\\n", "a\\r"}
texts = [t.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r") if any(t.startswith(o) for o in outside) else t
         for t in texts]


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


environment = SandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"])
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception

rows = []
for text in texts:
    try:
        rows.append({"template": text, "text": environment.from_string(text).render(**variables)})
    except Exception as error:
        rows.append({"template": text, "error": f"{type(error).__name__}: {error}"})
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "jinja_cases.json"), "w") as out:
    out.write('{"reference": ' + json.dumps("Jinja2 " + jinja2.__version__) + ',\n"variables": '
              + json.dumps(variables, ensure_ascii=False) + ',\n"cases": [\n'
              + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]}\n")
