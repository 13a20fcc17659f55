#!/usr/bin/env python3
"""Writes tmpl_golden.json: what Python's jinja2 makes of the snippets below, under the settings that Hugging Face's transformers uses.

Run it where jinja2 is installed: python3 tests/golden/make_tmpl_golden.py > tests/golden/tmpl_golden.json
The snippets are our own. tests/model/test_tmpl.c renders them all and compares.
"""
import json
import sys
from datetime import datetime, timezone

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = 1739500200  # 2025-02-14 02:30:00 UTC, a Friday


class Generation(Extension):
    """{% generation %}: what it encloses is printed."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def make_environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def strftime_now(format):
        return datetime.fromtimestamp(NOW, timezone.utc).replace(tzinfo=None).strftime(format)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


VARS = {
    "n": 3, "big": 9007199254740993, "neg": -7, "zero": 0, "f": 2.5, "tiny": 1e-7, "huge": 1e22, "pi": 3.141592653589793,
    "yes": True, "no": False, "nil": None, "s": "Hello World", "empty": "", "uni": "Grüße, 世界 🙂!", "ws": " \t padded \n ",
    "multi": "one\ntwo\n\n  three\n", "quote": "it's \"quoted\" \\ <b> & 'x'", "l": [3, 1, 2], "names": ["bob", "Alice", "carol", "Bob"],
    "mixed": [1, 2.5, "x", None, True, [1, "a"], {"k": "v"}], "el": [], "d": {"b": 1, "a": [1, 2], "c": {"x": None}}, "ed": {},
    "items": {"items": "I", "keys": "K", "x": 1},
    "users": [{"name": "bob", "age": 30, "tags": ["x"], "on": True}, {"name": "Al", "age": 25, "tags": [], "on": False},
              {"name": "cy", "age": 30, "tags": ["y", "z"]}],
    "tree": [{"v": 1, "kids": [{"v": 2, "kids": []}, {"v": 3, "kids": [{"v": 4, "kids": []}]}]}, {"v": 5, "kids": []}],
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
                 {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1, "b": "ü"}}}]},
                 {"role": "tool", "content": "42"}, {"role": "user", "content": [{"type": "text", "text": "Bye"}]}],
}

# Expressions: each is rendered as {{ expression }}.
EXPRESSIONS = r"""
1
-1
+1
- - 1
1 + 2 * 3
(1 + 2) * 3
7 / 2
6 / 2
7 // 2
-7 // 2
7 // -2
-7 % 3
7 % -3
7.5 // 2
-7.5 // 2
-7.5 % 2
7.5 % -2
2 ** 10
2 ** -1
2 ** 3 ** 2
-2 ** 2
2 ** 0.5
1_000 + 1
0x1f + 0o17 + 0b11
1e3
1.5e-3
1E5
.5
1.
1.0
100000000000000000.0
1e16
1e15
123456789012345680.0
0.0001
0.00001
1e-5
-0.0
0.1 + 0.2
1/3
1e308 * 10
-1e308 * 10
(1e308 * 10) - (1e308 * 10)
1e22
2.0 ** 70
5 % 0
5 / 0
5 // 0
5.0 / 0
0 ** -1
9223372036854775807
9223372036854775807 - 1
1 == 1.0
1 == true
0 == false
'a' == 'a'
'a' != 'b'
'a' < 'b'
'a' < 1
1 < 2 < 3
1 < 3 < 2
1 < 2 > 0
[1, 2] < [1, 3]
[1, 2] == [1, 2]
(1, 2) == [1, 2]
{'a': 1} == {'a': 1.0}
none == none
none < 1
nil is none
not true
not 0
not ''
true and false
1 and 2
0 and 2
0 or 'x'
'' or none
none or 0
1 or undefined_name.x
not not 1
1 in [1, 2]
1.0 in [1, 2]
'a' in 'abc'
'' in 'abc'
1 in 'abc'
'k' in {'k': 1}
'v' in {'k': 'v'}
3 not in [1, 2]
not 3 in [1, 2]
'x' in undefined_name
undefined_name in 'x'
undefined_name in [1]
[1] in {'a': 1}
'a' ~ 1 ~ none ~ true ~ 1.0
'a' ~ undefined_name ~ 'b'
1 ~ 2 + 3
'a' + 'b'
'a' + 1
1 + 'a'
'a' * 3
3 * 'ab'
'a' * -1
'a' * 0
[1] * 3
[1] + [2]
(1,) + (2,)
[1] + (2,)
[1] - [1]
true + true
true * 3
'a' * true
-true
+false
-'a'
'%s and %d' % ('x', 3)
'%05.2f|%-5s|%+d|%x' % (3.14159, 'ab', 5, 255)
'%s' % 'a'
'%s' % [1, 2]
'%s' % none
'%(a)s-%(b)03d' % {'a': 1, 'b': 2}
'%d%%' % 5
'%s' % (1, 2)
'%s %s' % 1
'%d' % 'x'
'%r' % 'x'
'%5s|%-5s|' % ('ab', 'cd')
'%.2s' % 'abc'
'%e' % 12345.678
'%g' % 0.00001234
'%c' % 'x'
'%c' % 65
'%X %o' % (255, 8)
'%i' % 3.99
'abc' % 5
'abc' % [5]
1 if true else 2
1 if false else 2
1 if false
(1 if false) is defined
'a' if s else 'b'
1 if 0 else 2 if 0 else 3
(1 if yes) + 1
[1, 2, 3][0]
[1, 2, 3][-1]
[1, 2, 3][5]
[1, 2, 3][5] is defined
[1, 2, 3][true]
[1, 2, 3][1.0]
[1, 2, 3]['x']
'abc'[1]
'abc'[-1]
'abc'[9]
uni[7]
uni[-2]
uni[2:4]
uni | length
l[0]
l.0
l.1
d.a.1
d['a'][0]
d.b
d['b']
d.zzz
d.zzz.yyy
d['zzz']['yyy']
d[1]
d[[1]]
d[none]
nil.x
nil['x']
n.x
undefined_name
undefined_name.x
undefined_name['x']
undefined_name()
undefined_name + 1
undefined_name == undefined_other
undefined_name == none
undefined_name | length
undefined_name | list
undefined_name | default('dd')
undefined_name | upper
undefined_name | string
undefined_name | int
undefined_name[1:]
undefined_name is iterable
undefined_name is sequence
undefined_name is mapping
undefined_name is string
undefined_name is none
undefined_name is number
undefined_name is callable
undefined_name < 1
undefined_name ~ ''
-undefined_name
not undefined_name
undefined_name and 1
undefined_name or 1
undefined_name.items()
undefined_name | tojson
undefined_name | join(',')
undefined_name | first
undefined_name | sort
undefined_name | items | list
[undefined_name]
[undefined_name] | string
{'a': undefined_name}
'abc'[0:2]
'abc'[:2]
'abc'[1:]
'abc'[:]
'abc'[::-1]
'abcdef'[::2]
'abcdef'[4:1:-1]
'abcdef'[-3:-1]
'abc'[5:9]
'abc'[2:1]
[1,2,3,4][1:3]
[1,2,3,4][::-2]
[1,2,3,4][-100:100]
(1,2,3)[1:]
[1,2,3][::0]
l['a':]
[1,2,3][none:2]
[1,2,3][:undefined_name]
d[1:]
range(10)[2:5] | list
range(3).copy()
(1, 2).copy()
l[l[1:]] is defined
l[undefined_name[1:]]
d['abc'[1:2]]
'%4s|' % undefined_name
'%d' % undefined_name
'abc' % undefined_name
'{:05}'.format('a')
'{:,}'.format('a')
'{:+}'.format('a')
[undefined_name, undefined_other] | sort | length
[{}, {}] | sort
[{}, {'a': 1}] | sort
users | sort(attribute='nosuch') | length
[] is filter
el | truncate(5)
range(10)[::-3] | list
range(5) | list
range(2, 5) | list
range(10, 0, -3) | list
range(0) | list
range(3)
range(1, 9, 2)
range(3)[1]
range(3)[-1]
range(3) | length
2 in range(3)
5 in range(3)
range(1, 2, 0)
range(100001) | length
range(100000) | length
range('a')
range(1.5)
range() | list
[]
[1, 'a', none, true, 1.5]
(1,)
()
(1, 'a')
{}
{'a': 1, 'b': [1, 2], 3: none, none: 1}
{1: 'a', 1.0: 'b', true: 'c'}
{[1]: 2}
{(1, 2): 3}
['it\'s', 'say "hi"', 'both \' and "']
['tab\t', 'nl\n', 'back\\slash', 'é', '\x01', '\u200b', '🙂', '\x7f', '\xa0']
mixed
d
'a' 'b' "c"
'\\n'
'\x41\u00e9\U0001F642\101'
'\q'
"double 'single'"
'single "double"'
s.upper()
s.lower()
s.title()
'hello wOrld-foo'.title()
"they're bill's".title()
s.capitalize()
'éA'.capitalize()
s.swapcase()
'ÄÖÜß'.lower()
'äöüß'.upper()
'ſtraße'.casefold() | length > 0
ws.strip()
ws.lstrip()
ws.rstrip()
'xxabcxx'.strip('x')
'xyabcyx'.strip('xy')
'xxabc'.lstrip('x')
'abcxx'.rstrip('x')
'\u2003a\u00a0'.strip()
'abc'.strip('')
'a'.strip(none)
'a,b,c'.split(',')
'a,b,c'.split(',', 1)
'a,b,c'.rsplit(',', 1)
'a,b,c'.rsplit(',')
' a  b '.split()
' a  b c '.split(none, 1)
' a  b c '.rsplit(none, 1)
' a b c '.split(maxsplit=1)
'a'.split('')
''.split()
''.split(',')
'abc'.split('b')[0]
'a--b--c'.split('--')[-1]
'a b'.split(' ', 0)
'one\ntwo\r\nthree\rfour'.splitlines()
'one\ntwo\n'.splitlines(true)
''.splitlines()
'abc'.startswith('ab')
'abc'.startswith(('x', 'a'))
'abc'.startswith('b', 1)
'abc'.startswith('b', 1, 1)
'abc'.startswith(1)
'abc'.endswith('bc')
'abc'.endswith('')
'abcabc'.replace('a', 'x')
'abcabc'.replace('a', 'x', 1)
'abc'.replace('', '-')
'abc'.replace('', '-', 2)
'héé'.replace('é', 'ee')
'abcabc'.find('c')
'abcabc'.find('z')
'abcabc'.rfind('c')
'abcabc'.find('c', 3)
'abcabc'.find('', 10)
'üabc'.find('b')
'abc'.index('b')
'abc'.index('z')
'abc'.rindex('c')
'banana'.count('a')
'banana'.count('ana')
'banana'.count('')
'banana'.count('a', 2)
'-'.join(['a', 'b'])
'-'.join('abc')
'-'.join([1])
'-'.join({'a': 1, 'b': 2})
'abc'.join([])
'{} {}'.format(1, 'a')
'{0}{1}{0}'.format('x', 'y')
'{a}-{b}'.format(a=1, b=2)
'{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd')
'{:05d} {:+d} {:,} {:x} {:#x} {:b}'.format(42, 5, 1234567, 255, 255, 5)
'{:.2f} {:8.3f} {:e} {:g} {:%}'.format(3.14159, 2.5, 1234.5, 0.0001, 0.25)
'{{}} {}'.format(1)
'{} {}'.format(1)
'{0.name}'.format(users)
'{0[0][name]}'.format(users)
'{!r}'.format('a')
'{:d}'.format('a')
'{:>10}'.format(none)
'{}'.format(none)
'{} {0}'.format(1)
'{:.3}'.format('abcdef')
'{:10.3f}|'.format(-3.14159)
'{:<8}|'.format(3)
'{:,.2f}'.format(1234567.891)
'a'.split(sep='b')
'a'.replace('a', 'b', count=1)
'a'.strip(chars='a')
'a'.center(width=5)
'a'.join(iterable=['b'])
l.index(value=3)
'a\tb'.expandtabs(tabsize=2)
range(stop=3)
strftime_now(format='%Y')
joiner(sep='x')()
'abc'.isalpha()
'ab1'.isalnum()
'123'.isdigit()
'１２'.isdigit()
'²'.isdigit()
'²'.isdecimal()
'½'.isnumeric()
''.isdigit()
' '.isspace()
'ABC'.isupper()
'Abc'.isupper()
'abc1'.islower()
'Hello World'.istitle()
'Hello world'.istitle()
'abc'.isascii()
'abc'.center(7)
'abc'.center(8) ~ '|'
'abcd'.center(7, '*')
'abc'.ljust(5, '.')
'abc'.rjust(5)
'42'.zfill(5)
'-42'.zfill(5)
'a-b-c'.partition('-')
'a-b-c'.rpartition('-')
'abc'.partition('x')
'abc'.rpartition('x')
'abc'.removeprefix('a')
'abc'.removesuffix('c')
'a\tb'.expandtabs(4)
'abc'.nosuch
'abc'.nosuch()
'abc'.upper
'abc'.upper() .lower()
'abc'['upper']()
d.items() | list
d.items()
d.keys()
d.values()
d.keys() | list
d.values() | list
d.get('b')
d.get('z')
d.get('z', 5)
d.get('z', default=5)
d.get([1])
d.pop('b')
d.update({'z': 1})
d.update is defined
d.copy()
items.items
items.items()
items['items']
items.x
l.append(1)
l.append is defined
l.index(1)
l.index(9)
l.count(3)
l.copy()
(1, 2).count(1)
l.nosuch is defined
s.__class__
s.__class__ is defined
s['__class__'] is defined
''.__class__.__mro__
d._x is defined
1 is defined
undefined_name is defined
undefined_name is not defined
undefined_name is undefined
none is none
1 is number
1.5 is number
true is number
true is integer
1 is integer
1.0 is integer
1.0 is float
1 is float
true is boolean
1 is boolean
true is true
1 is true
false is false
'a' is string
1 is string
[] is sequence
'' is sequence
{} is sequence
range(3) is sequence
1 is sequence
[] is iterable
{} is iterable
1 is iterable
none is iterable
(l | map('string')) is iterable
(l | map('string')) is sequence
d.items() is sequence
d.items() is iterable
{} is mapping
[] is mapping
range is callable
1 is callable
3 is odd
3 is even
-3 is odd
2.0 is even
'a' is odd
9 is divisibleby 3
9 is divisibleby(2)
9 is divisibleby 0
1 is eq 1
1 is equalto(1.0)
1 is == 1
1 is ne 2
2 is gt 1
2 is greaterthan 1
2 is ge 2
1 is lt 2
1 is lessthan 2
1 is le 1
1 is in [1, 2]
1 is not in [1, 2]
'a' is in 'abc'
none is sameas none
true is sameas true
1 is sameas true
'abc' is lower
'ABC' is upper
'Abc' is lower
'upper' is filter
'nosuch' is filter
'odd' is test
'nosuch' is test
s is escaped
1 is not none and 2 is not none
1 is none or 2 is number
(1 is number) ~ 'x'
1 is number == true
not 1 is none
1 + 1 is number
3 is divisibleby 3 and true
s | upper
s | lower
s | title
'foo-bar (baz) [qux] {z} <y> o\'neil' | title
s | capitalize
'éCLAIR' | capitalize
ws | trim
'xxaxx' | trim('x')
1 | trim
s | replace('o', '0')
s | replace('o', '0', 1)
123 | replace(2, 'x')
s | length
l | length
d | length
5 | length
l | count
l | first
l | last
'' | first
[] | first
[] | last
[] | first is defined
'abc' | first
'abc' | last
d | first
d | last
l | list
'abc' | list
d | list
5 | list
none | list
l | join
l | join(', ')
l | join(d='-')
'abc' | join('-')
d | join(',')
users | join(',', attribute='name')
users | join(',', 'age')
[1, none, true, 'x'] | join('|')
[['a', 1], ['b']] | join(' ')
el | join(',')
5 | join(',')
l | sort
l | sort(reverse=true)
names | sort
names | sort(case_sensitive=true)
names | sort(true, true)
users | sort(attribute='age') | map(attribute='name') | list
users | sort(attribute='age,name') | map(attribute='name') | list
users | sort(attribute='age', reverse=true) | map(attribute='name') | list
[1, 'a'] | sort
d | sort
'hello' | sort | join
l | unique | list
[1, 2, 1, 'a', 'A', 'a'] | unique | list
['a', 'A'] | unique(case_sensitive=true) | list
users | unique(attribute='age') | map(attribute='name') | list
[[1], [1]] | unique | list
l | reverse | list
'abc' | reverse
l | reverse | join
5 | reverse
l | min
l | max
[] | min
names | min
names | max
users | max(attribute='age')
l | sum
[1.5, 2] | sum
users | sum(attribute='age')
l | sum(start=10)
['a'] | sum
names | map('upper') | list
names | map('replace', 'o', '0') | list
users | map(attribute='name') | list
users | map(attribute='tags.0') | list
users | map(attribute='nosuch') | list
users | map(attribute='nosuch', default='dd') | list
users | map(attribute='tags') | map('length') | list
l | map('nosuch') | list
l | map | list
el | map('upper') | list
names | map('length') | sum
l | select('odd') | list
l | select('gt', 1) | list
l | select('in', [1, 2]) | list
[0, 1, '', 'a', none] | select | list
[0, 1, '', 'a', none] | reject | list
l | reject('odd') | list
l | reject('equalto', 3) | list
l | select('nosuch') | list
users | selectattr('on') | map(attribute='name') | list
users | selectattr('age', 'gt', 26) | map(attribute='name') | list
users | selectattr('name', 'equalto', 'bob') | list | length
users | selectattr('on', 'defined') | list | length
users | rejectattr('on') | map(attribute='name') | list
users | rejectattr('on', 'defined') | map(attribute='name') | list
messages | selectattr('role', '==', 'user') | list | length
messages | selectattr('role', 'in', ['tool', 'system']) | map(attribute='role') | join(' ')
(users | selectattr('nosuch')) is iterable
'yes' if (users | selectattr('nosuch')) else 'no'
(users | selectattr('nosuch')) | first
users | selectattr('age') | first
(l | map('string'))[0]
(l | map('string')) | length
(l | map('string')) | last
l | batch(2) | list
l | batch(2, 'x') | list
l | slice(2) | list
range(7) | slice(3, 'x') | list
users | groupby('age')
users | groupby('age') | map(attribute='grouper') | list
users | groupby('age') | map(attribute=0) | list
users | groupby('on', default=false) | map(attribute='list') | map('length') | list
names | groupby(0) | list
d | dictsort
d | dictsort(reverse=true)
{'b': 1, 'A': 2} | dictsort
{'b': 1, 'A': 2} | dictsort(true)
{'b': 1, 'A': 2} | dictsort(by='value')
{'b': 1} | dictsort(by='x')
l | dictsort
d | items | list
l | items
none | items
1 | string
none | string
l | string | length
'42' | int
' 42 ' | int
'4_2' | int
'42.7' | int
'x' | int
'x' | int(5)
'x' | int(default=7)
'ff' | int(0, 16)
'0xff' | int(0, 16)
'0b11' | int(base=2)
'0o17' | int(base=8)
3.99 | int
-3.99 | int
true | int
none | int
[] | int
'' | int
'-5' | int
'1e3' | int
'inf' | int
'3.5' | float
'x' | float
'x' | float(1.5)
'1e3' | float
'nan' | float
'-inf' | float
1 | float
none | float
'1_0.5' | float
-5 | abs
-5.5 | abs
'a' | abs
true | abs
2.5 | round
3.5 | round
2.567 | round(2)
2.675 | round(2)
2.1 | round(0, 'ceil')
2.9 | round(method='floor')
2.567 | round(1, 'floor')
5 | round
15 | round(-1)
25 | round(-1)
1234.5 | round(-2)
2.5 | round | int
'a' | round
1.5 | round(0, 'x')
undefined_name | default
undefined_name | d('x')
none | default('x')
'' | default('x')
'' | default('x', true)
none | default('x', boolean=true)
0 | d(5, true)
d.zzz | default('none there')
d.zzz.y | default('x')
quote | e
quote | escape
('<b>' | safe) + '<i>'
'<i>' + ('<b>' | safe)
('<b>' | safe) ~ '<i>'
'<b>' | e | e
'<b>' | forceescape
('<b>' | safe) | e
('<b>' | safe) is escaped
[('<b>' | safe)] | string
multi | indent
multi | indent(2)
multi | indent(2, true)
multi | indent(2, first=true, blank=true)
multi | indent('> ')
'a' | indent
'a\n' | indent
'' | indent
5 | indent
'abc' | center(9) ~ '|'
'foo bar baz qux' | truncate(9)
'foo bar baz qux' | truncate(9, true)
'foo bar baz qux' | truncate(11)
'foo bar baz qux' | truncate(11, false, '...', 0)
'%s-%s' | format('a', 1)
'%(x)s' | format(x=1)
'%s' | format('a', x=1)
'a b  c_d é!' | wordcount
'a b/c?d=é&' | urlencode
{'a': 1, 'b c': 'd&e'} | urlencode
[['x', 'y z']] | urlencode
1000 | filesizeformat
1 | filesizeformat
0 | filesizeformat
123456789 | filesizeformat
123456789 | filesizeformat(true)
1024 | filesizeformat(true)
d | tojson
mixed | tojson
uni | tojson
uni | tojson(ensure_ascii=true)
uni | tojson(true)
quote | tojson
'\n\t\r\b\f\x01\x7f/' | tojson
'\x7f\x80' | tojson(ensure_ascii=true)
d | tojson(indent=2)
d | tojson(indent=4)
d | tojson(indent=0)
d | tojson(indent='--')
d | tojson(separators=(',', ':'))
d | tojson(separators=[', ', ' = '])
d | tojson(indent=2, separators=(',', ':'))
d | tojson(sort_keys=true)
{'b': 1, 'a': {'z': 1, 'y': 2}} | tojson(sort_keys=true)
{1: 'a', true: 'b', none: 'c', 1.5: 'd'} | tojson
{(1, 2): 3} | tojson
[] | tojson(indent=2)
{} | tojson(indent=2)
[[], {}] | tojson(indent=2)
(1, 2) | tojson
1.0 | tojson
1e22 | tojson
0.1 | tojson
true | tojson
none | tojson
'a' | tojson
range(3) | tojson
d.items() | tojson
(1e308 * 10) | tojson
(l | map('string')) | tojson
d | tojson(nosuch=1)
namespace(a=1).a
namespace(a=1).b
namespace(a=1)
namespace({'x': 2}).x
namespace({'x': 2}, y=3)
namespace(a=1)['a']
namespace() is mapping
dict(a=1, b=2)
dict({'x': 1}, y=2)
dict([('a', 1), ['b', 2]])
dict()
dict([1])
dict(d, **{'q': 1})
cycler('a', 'b').next()
cycler('a', 'b').current
cycler()
joiner('|')() ~ joiner('|')()
strftime_now('%Y-%m-%d')
strftime_now('%d %b %Y')
strftime_now('%A, %B %d, %H:%M:%S %p %j %y %%')
strftime_now('')
strftime_now('plain')
raise_exception('my message')
raise_exception('no role: ' ~ 5)
range(3, **{})
range(*[1, 4]) | list
'{}-{}'.format(*[1, 2])
'{a}'.format(**{'a': 1})
dict(**{'a': 1})
dict(a=1, a=2)
s.upper(1)
s.replace('a')
s | replace('a')
s | upper(1)
s | nosuch
s is nosuch
s | default(nosuch=1)
messages[0].role
messages[0]['role']
messages[-1].content[0].text
messages[1:] | length
messages[2].tool_calls[0].function.arguments | tojson
messages[2].content is none
messages[2].content | default('x', true)
messages[9] is defined
messages[9].role
messages | map(attribute='role') | unique | join(', ')
messages[0].role == 'system' and messages[0].content is string
(messages | last).role
(messages | first).content
messages | rejectattr('content', 'none') | list | length
'a' if messages and messages[0] else 'b'
users[0].tags + ['q']
users | length > 2
users[0].name ~ users[1]['name']
[1, [2, [3, [4]]]]
[[[]]]
1 if [] else 2
1 if {} else 2
1 if '0' else 2
1 if 0.0 else 2
1 if range(0) else 2
1 if (0,) else 2
true
True
none
None
nil
yes
no
loop
loop is defined
f
tiny
huge
big
pi
neg
s
uni
uni.upper()
uni | upper
uni | title
uni[::-1]
uni.split(' ')
uni.find('世')
uni | list | length
uni | batch(5) | map('join') | list
'🙂' in uni
'a' < 'ä'
'Z' < 'a'
'世' > 'z'
'é' == 'é'
'\u0041' == 'A'
'' < 'a'
'ab' < 'abc'
(1, 'b') < (1, 'c')
1.5 < 2
true < 2
none == false
[] == false
'1' == 1
1 != none
1 == 1 == 1
1 < 2 == true
'a' in ['a'] == true
[1, 2] is sameas [1, 2]
'a,b' | list
s[0] ~ s[-1]
s | list | sort | join
s.split() | map('lower') | join('_')
s.split('o') | length
(s | lower).split()[0] | capitalize
'x' ~ (1, 2)
'%s' % ((1, 2),)
1,
1, 2
1, 2 if true else 3
l | first + 1
l | length + 1
-l | length
(l | length) * 2
l|sort|first
not l
not el
l == [3, 1, 2]
d == {'c': {'x': none}, 'a': [1, 2], 'b': 1}
d.a is sameas d.a
d.a == [1, 2]
d.c.x
d.c.x is none
d.c.x is defined
'a' in d
'a' in d.keys()
1 in d.values()
('b', 1) in d.items()
d.keys() | sort
d.values() | list | length
d.items() | length
d.items() | first
for_ is defined
[1, 2,]
{'a': 1,}
s.split(',',)
range is defined
namespace is defined
caller is defined
varargs is defined
x.y.z is defined
""".strip("\n")

# Whole templates; "---" alone on a line separates them. <NL> and <SP> stand for what an editor would not keep.
TEMPLATES = r"""
plain text
---
a{{ 1 }}b
---
{{ 1 -}}   b
---
a   {{- 1 }}
---
a
  {{- 1 -}}
  b
---
  {% if true %}
yes
  {% endif %}
end
---
a {% if true %} b {% endif %} c
---
  {%+ if true %}
x
  {%+ endif %}
---
{% if true +%}
x
{% endif +%}
y
---
{%- if true -%}
  x
{%- endif -%}
  y
---
x {# comment #} y
---
x
  {# comment #}
y
---
x {#- comment -#} y
---
{#- multi
line {{ x }} {% if %} -#}
y
---
{# a #}{# b #}
c
---
{% raw %}{{ not }} {% evaluated %}{% endraw %}
---
{% raw %}
 {{ x }}
{% endraw %}
z
---
{%- raw -%}  {{ x }}  {%- endraw -%}  z
---
{{ '{{' }} {{ "}}" }} {{ '%}' }}
---
{{ {'a': {'b': 1}}['a']['b'] }}
---
{{ {'a':1}}}
---
{%if true%}x{%endif%}
---
{% if true: %}x{% endif: %}
---
{% if n > 5 %}a{% elif n > 2 %}b{% else %}c{% endif %}
---
{% if n > 5 %}a{% elif n > 4 %}b{% elif n > 3 %}c{% else %}d{% endif %}
---
{% if undefined_name %}a{% else %}b{% endif %}
---
{% if not undefined_name.x %}a{% endif %}
---
{% for i in l %}{{ i }},{% endfor %}
---
{% for i in l %}
{{ i }}
{% endfor %}
---
{% for i in l -%}
  {{ i }}
{%- endfor %}
---
{% for i in el %}x{% else %}none{% endfor %}
---
{% for i in undefined_name %}x{% else %}none{% endfor %}
---
{% for i in none %}x{% endfor %}
---
{% for i in 5 %}x{% endfor %}
---
{% for c in 'héy' %}[{{ c }}]{% endfor %}
---
{% for k in d %}{{ k }} {% endfor %}
---
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
---
{% for k, v in d | items %}{{ k }}={{ v }};{% endfor %}
---
{% for k, v in d | dictsort %}{{ k }}={{ v }};{% endfor %}
---
{% for (a, b) in [(1, 2), (3, 4)] %}{{ a + b }} {% endfor %}
---
{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
---
{% for a, b in [(1, 2, 3)] %}x{% endfor %}
---
{% for a, b in [1] %}x{% endfor %}
---
{% for a, in [[1], [2]] %}{{ a }}{% endfor %}
---
{% for x in [1, 2, 3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }} {% endfor %}
---
{% for x in 'abc' %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}
---
{% for x in 'abc' %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}
---
{% for x in 'abcd' %}{{ loop.cycle('odd', 'even') }} {% endfor %}
---
{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }} {% endfor %}
---
{% for x in 'ab' %}{% for y in 'cd' %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}
---
{% for x in 'ab' %}{% set outer = loop %}{% for y in 'cd' %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}
---
{% for x in 'ab' %}{% for y in range(loop.index) %}{{ x }}{{ y }} {% endfor %}{% endfor %}
---
{% for x in [1, 2, 3, 4] if x is even %}{{ x }}:{{ loop.index }}/{{ loop.length }} {% endfor %}
---
{% for x in [1, 2, 3, 4] if x > 9 %}x{% else %}none{% endfor %}
---
{% for x in l if x > 1 %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}
---
{% set ns = namespace(limit=2) %}{% for x in [1, 2, 3, 4] if x <= ns.limit %}{{ x }}{% set ns.limit = ns.limit + 1 %} {% endfor %}
---
{% set ns = namespace(limit=2) %}{% for x in [1, 2, 3, 4] if x <= ns.limit %}{{ x }}{{ loop.last }}{% set ns.limit = ns.limit + 1 %} {% endfor %}
---
{% for x in [1, 2, 3, 4, 5] %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 4 %}{% break %}{% endif %}{{ x }}{% endfor %}
---
{% for x in [1, 2] %}{% for y in [1, 2, 3] %}{% if y == 2 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}
---
{% for x in [1, 2] %}{% break %}{% else %}e{% endfor %}
---
{% for x in [1, 2] %}{% continue %}{% else %}e{% endfor %}
---
{% for x in [1, 2] %}{% if x == 2 %}{% break %}{% endif %}{% else %}e{% endfor %}
---
{% break %}
---
{% for x in [1] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}
---
{% for x in [1, 2, 3] %}{% set y %}{% if x == 2 %}{% continue %}{% endif %}a{{ x }}{% endset %}{{ y }}{% endfor %}
---
{% for item in tree recursive %}{{ item.v }}{% if item.kids %}({{ loop(item.kids) }}){% endif %}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}
---
{% for item in tree %}{{ loop(item.kids) }}{% endfor %}
---
{% for x in [1, 2] %}{{ loop }}{% endfor %}
---
{% for x in [1, 2, 3] | map('string') %}{{ x }}{{ loop.last }}{{ loop.length }} {% endfor %}
---
{% set g = l | map('string') %}{{ g | list }}{{ g | list }}
---
{% for x in range(3) %}{{ x }}{% endfor %}{{ x is defined }}
---
{% set x = 5 %}{% for x in range(3) %}{{ x }}{% endfor %}{{ x }}
---
{% set x = 5 %}{% for i in range(3) %}{% set x = i %}{{ x }}{% endfor %}{{ x }}
---
{% set x = 5 %}{% for i in range(3) %}{{ x }}{% set x = x + 1 %}{{ x }} {% endfor %}{{ x }}
---
{% for i in range(3) %}{{ x }}{% set x = i %}{% endfor %}
---
{% for i in range(3) %}{{ n }}{% set n = i %}{{ n }} {% endfor %}{{ n }}
---
{% for i in range(2) %}{{ n }}{% endfor %}{% set n = 9 %}{{ n }}
---
{{ n }}{% for i in range(2) %}{{ n }}{% endfor %}{% set n = 9 %}{{ n }}
---
{% set n %}[{{ n }}]{% endset %}{{ n }}
---
{% if no %}{% set n = 1 %}{% endif %}{{ n }}
---
{% if yes %}{% set n = 1 %}{% endif %}{{ n }}
---
{% for i in [1, 2] %}{% if i == 1 %}{% set n = 'in' %}{% endif %}{{ n }} {% endfor %}
---
{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}
---
{% set a, b = 1, 2 %}{{ a }}{{ b }}
---
{% set a, b = [1, 2, 3] %}
---
{% set (a, b) = (1, 2) %}{{ a }}{{ b }}
---
{% set a = 1, 2 %}{{ a }}
---
{% set a = b = 1 %}
---
{% set 5 = 1 %}
---
{% set a.b = 1 %}
---
{% set d.b = 1 %}
---
{% set ns = namespace() %}{% set ns.x = 1 %}{% set ns.y = [ns.x] %}{{ ns.x }}{{ ns.y }}{{ ns.z is defined }}
---
{% set ns = namespace(found=false) %}{% for i in l %}{% if i == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.found }}
---
{% set ns = namespace(s='') %}{% for i in l %}{% set ns.s = ns.s ~ i ~ ',' %}{% endfor %}{{ ns.s }}
---
{% set ns = namespace() %}{% set ns.self = ns %}{{ ns }}
---
{% set ns = namespace(a=1) %}{% set ns.a, ns.b = 5, 6 %}{{ ns.a }}{{ ns.b }}
---
{% set x %}captured {{ n }}{% endset %}[{{ x }}]
---
{% set x | upper %}captured{% endset %}[{{ x }}]
---
{% set x | upper | replace('A', '4') %}captured{% endset %}[{{ x }}]
---
{% set x %}a{% set y = 1 %}{% endset %}{{ y is defined }}
---
{% set x = 1 %}{% set x %}{{ x }}{{ x }}{% endset %}{{ x }}
---
{% macro m(a, b=2) %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(b=4, a=5) }}{{ m() }}
---
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
---
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}
---
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}
---
{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}
---
{% macro m(a=n) %}{{ a }}{% endmacro %}{% set n = 8 %}{{ m() }}
---
{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}
---
{% macro m(a) %}{{ a }}{{ varargs | length }}{% endmacro %}{{ m(1, 2, 3) }}
---
{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }}{{ m(1) }}{{ m(none) }}
---
{% macro m(a) %}{{ a.x }}{% endmacro %}{{ m() }}
---
{% macro f(k) %}{% if k > 0 %}{{ k }}{{ f(k - 1) }}{% endif %}{% endmacro %}{{ f(3) }}
---
{{ m(1) }}{% macro m(a) %}{{ a }}{% endmacro %}
---
{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}
---
{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}
---
{% macro m() %}{% set x = 5 %}{{ x }}{% endmacro %}{{ m() }}{{ x is defined }}
---
{% macro m() %}{{ x }}{% set x = 5 %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}{{ x }}
---
{% for x in [1, 2] %}{{ m() }}{% endfor %}{% macro m() %}{{ x }}{% endmacro %}
---
{% macro m() %}{{ x }}{% endmacro %}{% for x in [1, 2] %}{{ m() }}.{% endfor %}
---
{% for x in [1, 2] %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}
---
{% macro m() -%}
  body
{%- endmacro %}
[{{ m() }}]
---
{% macro m() %}  x  {% endmacro %}{{ m() | trim | upper }}{{ m() | length }}{{ m() is string }}
---
{% macro m() %}x{% endmacro %}{{ m }}{{ m.name }}{{ m is callable }}
---
{% macro m(x) %}<{{ caller() }}{{ x }}>{% endmacro %}{% call m(1) %}inner{% endcall %}
---
{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) m() %}{{ a }}-{{ b }}{% endcall %}
---
{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}{% set z = 3 %}{% call m() %}{{ z }}{% endcall %}
---
{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}
---
{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}
---
{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}
---
{% macro m(caller) %}{{ caller() }}{% endmacro %}{% call m() %}y{% endcall %}
---
{% call 5 %}x{% endcall %}
---
{% macro m(a=1, b) %}{% endmacro %}
---
{% filter upper %}abc {{ s }}{% endfilter %}
---
{% filter replace('a', 'x') | upper %}abc{% endfilter %}
---
{% filter length %}abc{% endfilter %}
---
{% filter indent(2) %}a
b
{% endfilter %}
---
{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}
---
{% with a = n %}{% set n = 5 %}{{ a }}{{ n }}{% endwith %}{{ n }}
---
{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q is defined }}
---
{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}
---
{% print 1 %}{% print 1, 'a' %}
---
{% generation %}text {{ n }}{% endgeneration %}!
---
{% generation %}
text
{% endgeneration %}
!
---
{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.role }}{% endif %}{% endfor %}
---
{% if x %}
---
{% endif %}
---
{% if true %}{% endfor %}
---
{% nosuch %}
---
{{ 1
---
{{ 1 }
---
{% if true
---
{# open
---
{{ }}
---
{{ 1 2 }}
---
{{ (1 }}
---
{{ 1) }}
---
{{ [1 }}
---
{{ 'abc }}
---
{{ a. }}
---
{{ a..b }}
---
{{ a | }}
---
{{ a is }}
---
{{ f(a=1, 2) }}
---
{{ f(**a, *b) }}
---
{{ 1 is number is string }}
---
{{ ! }}
---
{{ a ? b : c }}
---
{{ a && b }}
---
{% for in x %}{% endfor %}
---
{% for x y %}{% endfor %}
---
{% for x.y in l %}{% endfor %}
---
{% set %}
---
{% set x %}
---
{% if %}{% endif %}
---
{% raw %}abc
---
{% else %}
---
{% if true %}{% else %}{% else %}{% endif %}
---
{% for x in l | nosuch %}{% endfor %}
---
{% if false %}{{ x | nosuch }}{% endif %}ok
---
{% if true %}{{ x | nosuch }}{% endif %}ok
---
{{ (x | nosuch) if false else 'ok' }}
---
{% for x in el %}{{ x | nosuch }}{% endfor %}ok
---
{% if false %}{% for x in el %}{{ x | nosuch }}{% endfor %}{% endif %}ok
---
{% if false %}{{ x is nosuch }}{% endif %}ok
---
{{ undefined_function() if false else 'ok' }}
---
{% do 1 %}
---
{{ loop.index }}
---
{% for message in messages %}{{ '<|' + message['role'] + '|>' }}{% if message['content'] is string %}{{ message['content'] }}{% elif message['content'] is iterable %}{% for p in message['content'] %}{{ p['text'] }}{% endfor %}{% endif %}
{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}
---
{%- for message in messages %}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must alternate') }}
    {%- endif %}
{%- endfor %}
---
{%- if messages[0].role == 'system' %}
    {%- set system_message = messages[0].content | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = '' %}
{%- endif %}
{{ system_message }}|{{ messages | length }}
---
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{{ ns.last_query_index }}
---
{%- for m in messages if m.tool_calls %}
{%- for tool_call in m.tool_calls %}
{%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
{{ '{"name": "' + tool_call.name + '", "arguments": ' + (tool_call.arguments | tojson) + '}' }}
{%- endfor %}
{%- endfor %}
---
a<SP><SP>{% if true %}<SP><SP>
b{% endif %}<NL>
---
<NL><NL>{% if true %}<NL><NL>x{% endif %}<NL><NL>
---
x<NL>
---
x<NL><NL>
---
<SP>{% set a = 1 %}<SP>{{ a }}
---
{{ 'a
b' }}
---
{{ 'a\
b' }}
---
x{{ '' }}  {% if true %}y{% endif %}
---
{% if true %}x{% endif %}  {% if true %}y{% endif %}

z
---
	{% if true %}tab{% endif %}
---
{{ "a" }}
{{ "b" }}
{% if true %}
{{ "c" }}
{% endif %}
{{ "d" }}
---
line1
   {%- if true %}   in   {%- endif %}
line3
---
{% set x = [1,
  2,
  3] %}{{ x }}
---
{{ {'a': 1,
    'b': 2} }}
---
{% for k in {'b': 1, 'a': 2} %}{{ k }}{% endfor %}
---
{{ '%d' % 3 if n else '' }}
---
{% set x = {'a': {}} %}{{ x.a.b.c }}
---
{% set x = {'a': {}} %}{{ x.a.b is defined }}{{ x.a.b }}
---
{% set l2 = l + [4] %}{{ l2 }}{{ l }}
---
{% set _ = l.append(4) %}{{ l }}
---
{% set s = s | replace('World', 'There') %}{{ s }}
---
{% set a = [] %}{% for i in range(3) %}{% set a = a + [i] %}{% endfor %}{{ a }}
---
{% set ns = namespace(a=[]) %}{% for i in range(3) %}{% set ns.a = ns.a + [i] %}{% endfor %}{{ ns.a }}
---
{% set c = cycler('a', 'b', 'c') %}{% for i in range(5) %}{{ c.next() }}{% endfor %}{{ c.current }}{% set _ = c.reset() %}{{ c.current }}
---
{% set j = joiner() %}{% for i in l %}{{ j() }}{{ i }}{% endfor %}
---
{% for a in [1, 2] %}{% for b in [1, 2] %}{% if loop.last and not loop.first %}{{ a }}{{ b }}{% endif %}{% endfor %}{% endfor %}
---
{% for x in [3, 2, 1] | sort %}{{ x }}{% endfor %}
---
{% for u in users | sort(attribute='name') %}{{ u.name }}{{ ',' if not loop.last }}{% endfor %}
---
{% for g in users | groupby('age') %}{{ g.grouper }}:{% for u in g.list %}{{ u.name }}{% endfor %};{% endfor %}
---
{% for age, us in users | groupby('age') %}{{ age }}:{{ us | length }};{% endfor %}
---
{% for row in range(5) | batch(2, '-') %}{{ row | join }}|{% endfor %}
---
{% if users | selectattr('age', 'lt', 18) | list %}minor{% else %}none{% endif %}
---
{% set users = users | rejectattr('on', 'undefined') | list %}{{ users | length }}
---
{{ messages | map(attribute='content') | select('string') | join(' / ') }}
---
{% set total = namespace(n=0) %}{% for u in users %}{% set total.n = total.n + u.age %}{% endfor %}{{ total.n / users | length }}
---
{% set m = messages | first %}{{ m.role }}{% set m = messages | last %}{{ m.role }}
---
{%- macro render(x, depth=0) -%}
{%- if x is mapping -%}
{{ '{' }}{% for k, v in x.items() %}{{ k }}: {{ render(v, depth + 1) }}{{ ', ' if not loop.last }}{% endfor %}{{ '}' }}
{%- elif x is iterable and x is not string -%}
[{% for v in x %}{{ render(v, depth + 1) }}{{ ', ' if not loop.last }}{% endfor %}]
{%- else -%}
{{ x }}
{%- endif -%}
{%- endmacro -%}
{{ render(d) }} {{ render(mixed) }}
""".strip("\n")


def templates():
    for expression in EXPRESSIONS.split("\n"):
        if expression:
            yield "{{ " + expression + " }}"
    for template in TEMPLATES.split("\n---\n"):
        yield template.replace("<SP>", " ").replace("<NL>", "\n")


def main():
    env = make_environment()
    cases = []
    for text in templates():
        try:
            case = {"template": text, "output": env.from_string(text).render(**VARS)}
        except Exception as e:  # whatever Python raises, the C side must refuse as well
            case = {"template": text, "error": type(e).__name__ + ": " + str(e)}
        if " at 0x" in case.get("output", "") or "<built-in" in case.get("output", ""):
            continue  # an address: it differs from run to run
        cases.append(case)
    json.dump({"jinja2": jinja2.__version__, "now": NOW, "variables": VARS, "cases": cases}, sys.stdout, ensure_ascii=True, indent=0)
    print()


main()
