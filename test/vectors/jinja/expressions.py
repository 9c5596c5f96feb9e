"""Expressions that try what templates may do, and much that they should not."""
import itertools

VARIABLES = {
    "s": "Hello World",
    "low": "abc",
    "csv": "a,b,,c",
    "space": " \t\u00a0\ufeffx \u3000\n",
    "lines": "one\r\ntwo\n\nthree\rfour\u2028five\n",
    "u": "naïve 日本 😀é",
    "astral": "😀a😀",
    "quotes": "it's \"so\"\\\n\t\x07\u200b\u00e9",
    "html": "<a href='x'>&</a>",
    "think": "<think>\nreason\n</think>\n\n    code\n",
    "empty": "",
    "digits": "12",
    "n": 7,
    "neg": -3,
    "zero": 0,
    "f": 2.5,
    "tiny": 0.00001234,
    "yes": True,
    "no": False,
    "nothing": None,
    "l": [3, 1, 2],
    "ls": ["b", "A", "c", "a"],
    "el": [],
    "d": {"a": 1, "items": 2, "b": {"c": [1, "x"]}, "get": None},
    "ed": {},
    "mixed": [1, "a", None, 2.5, True],
    "rows": [
        {"role": "user", "n": 2, "t": "x", "o": {"p": 1}},
        {"role": "assistant", "n": 1, "t": "Y", "tool": None},
        {"role": "user", "n": 3, "t": "", "o": {"p": 0}},
    ],
}

VALUES = ["s", "u", "empty", "digits", "n", "zero", "neg", "f", "yes", "no", "nothing", "l", "el", "d", "ed", "missing",
          "(1, 2)", "range(3)", "d.items()", "l|map('string')", "mixed", "none", "1.0", "10000000000"]

CASES = []


def add(*sources):
    CASES.extend(sources)


def each(template, *choices):
    for choice in itertools.product(*choices):
        add(template.format(*choice))


# Values as they are, and what they count for.
each("{}", VALUES)
each("{}|string", VALUES)
each("({}) is {}", VALUES, ["defined", "none", "string", "mapping", "sequence", "iterable", "number", "integer", "float", "boolean", "callable"])
each("'T' if {} else 'F'", VALUES)
each("not {}", VALUES)
each("({})|length", VALUES)
each("({})|list", VALUES)
each("({})|first", VALUES)
each("({})|last", VALUES)
each("({})|tojson", VALUES)
each("({})|int", VALUES)
each("({})|float", VALUES)
each("({})|upper", VALUES)
each("({})|trim", VALUES)
each("({})|default('D')", VALUES)
each("({})|d('D', true)", VALUES)
each("({})|reverse|list", VALUES)
each("({})|join('-')", VALUES)
each("({})|sort", VALUES)
each("({})|unique|list", VALUES)
each("({})[0]", VALUES)
each("({})[-1]", VALUES)
each("({})[1:]", VALUES)
each("({})['a']", VALUES)
each("({}).a", VALUES)
each("({}).items", ["s", "l", "missing", "nothing", "n"])
each("-({})", VALUES)
each("({})()", ["s", "missing", "nothing", "range", "n"])

# Operators on pairs.
FEW = ["s", "empty", "n", "zero", "f", "yes", "nothing", "l", "(1, 2)", "d", "missing"]
each("({}) {} ({})", FEW, ["+", "*", "==", "<", "in", "%", "/", "~"], FEW)
each("({}) {} ({})", ["7", "-7", "7.5", "-7.5", "true"], ["+", "-", "*", "/", "//", "%", "!=", ">=", "<="], ["2", "-2", "2.5", "-2.5"])
each("{} ** {}", ["2", "-2", "0", "1", "-1", "10"], ["0", "3", "64", "-1"])
add("7 // 0", "7 % 0", "7.0 / 0", "0.0 // 3", "-0.0 // 3", "2 ** 100", "10 ** 30", "99999999999 * 99999999999", "-2 ** 2", "2 ** 3 ** 2", "7 // 2 * 2", "-5 // 2", "-5 % 3", "5.5 // 1.5", "-5.5 % 1.5", "1e3", "1_000", "0x1F", "0b101", "0o17", "00", "1.5e-7", "1e16", "1e15", "123456789012345680.0", "1e22", "1e100", "0.1 + 0.2", "1/3", "100/3", "1e-5", "0.0001", "2.0 * 3", "7 / 2", "4 / 2", "1.0", "3 * 1.0", "1 == 1.0", "1 == true", "'1' == 1", "0 == false", "'' == false", "none == false", "missing == missing2", "missing == none", "[1, 2] == [1, 2.0]", "[1, 2] == (1, 2)", "{'a': 1} == {'a': true}", "[1, 2] < [1, 3]", "[1] < [1, 0]", "(1, 'a') < (1, 'b')", "'a' < 'B'", "'😀' > '\uffff'", "1 < 2 < 3", "1 < 3 < 2", "3 > 2 == true", "1 < 'a'", "none < 1", "true and 1", "0 or 'x'", "'' or none", "1 and 0 and missing.x", "not 1 == 2", "not not 'x'", "1 if false", "(1 if false) is defined", "'a' if 0 else 'b' if 0 else 'c'", "1 in [1.0]", "'a' in 'cat'", "1 in 'a'", "'a' in d", "'zz' not in d", "[1] in d", "none in [none]", "1 in missing", "1 in none", "3 in range(5)", "'x' in d.keys()", "1 in d.values()", "'ab' 'cd'", "'a' ~ 1 ~ none ~ 2.0 ~ missing ~ [1]", "1 + 2 ~ 3 + 4", "'a' + 1", "'a' * 3", "3 * 'ab'", "[1, 'x'] * 2", "(1,) * 2", "'a' * -1", "[1] + [2]", "(1,) + (2,)", "[1] + (2,)", "l + missing", "-l", "+n", "-yes", "- -n", "n|abs", "-n|abs", "neg|abs", "(-2.5)|abs", "'x'|abs")

# Literals and how they print.
add("quotes", "[quotes]", "['a', \"b\", \"it's\", '\"']", "['it\\'s \"x\"']", "{'a': [1, (2,), {}], 1: none, true: 2.0}", "{1: 'a', 1.0: 'b', true: 'c'}", "()", "(1,)", "(1, 2)", "[]", "{}", "[none, true, false, missing]", "['\\n\\t\\\\', '\\x07', '\\u00e9', '\\u200b', '\\U0001F600', '\\xa0', '\\u2028', '\\xad', '\\ufeff', '\\x7f', '\\x85']", "'\\x41\\u0042\\103'", "'\\q\\d'", "'a\\\nb'", "'\\'", "'\\N{BULLET}'", "'\\ud83d'", "range(3)", "range(1, 10, 3)", "range(5)[2]", "range(5)|length", "range(5, 0, -2)|list", "range(200000)", "range(1.5)", "range()", "range(0, 10, 0)", "d.keys()", "d.values()", "d['items']", "d.items", "ed.items()", "d.b.c[1]", "d['b']['c'].0", "d.x.y", "d.x is defined", "d.x.y is defined", "d.get('a')", "d.get('zz')", "d.get('zz', 5)", "d.get('zz', missing)", "d.get()", "d.get('a', 1, 2)", "d.get(key='a')", "d.copy() == d", "d.pop('a')", "d.update({})", "l.append(1)", "l.append is defined", "d.keys()|list", "d.values()|list|length", "d.items()|list", "d.items()|length", "d.items()[0]", "d|items|list", "missing|items|list", "l|items|list", "d.__class__", "s.__class__.__mro__", "l.index(1)", "l.index(9)", "l.count(3)", "(1, 2, 1).count(1)", "(1, 2).index(2)", "l.copy()", "l.sort()", "l[5]", "l[-4]", "l[true]", "l[1.0]", "l['0']", "l[none]", "l[:2]", "l[::-1]", "l[::2]", "l[5:]", "l[-2:]", "l[2:0:-1]", "l[:-1]", "l[1:none]", "l['a':]", "l[::0]", "l[missing:]", "u[6]", "u[-2]", "astral[1:]", "astral[::-1]", "astral|length", "astral|list", "astral|reverse", "astral|first", "s[1:4]", "s[::2]", "s[99]", "d[1:]", "nothing[1:]", "missing[1:]", "nothing['a']", "n['a']", "n.a", "missing.a", "missing['a']", "(l|map('string'))[0]", "s[0, 1]", "dict(a=1, b=2)", "dict([['a', 1]])", "dict(d, z=1)|length", "dict(1)", "namespace(a=1).a", "namespace(a=1).b", "namespace(a=1)['a']", "namespace({'x': 2}).x", "cycler('a', 'b').next()", "joiner('-')()", "lipsum()", "self", "loop", "loop.index", "raise_exception", "strftime_now('%d %B %Y')", "strftime_now('%Y-%m-%d %H:%M:%S')", "strftime_now('%d %b %Y')", "strftime_now('%A %a %B %j %y %I %p %%')", "strftime_now('%-d %-m')", "strftime_now('%c')", "strftime_now('%')", "strftime_now(1)", "raise_exception('no: ' ~ n)", "raise_exception()")

# Methods of str.
STRINGS = ["s", "csv", "space", "lines", "u", "astral", "empty", "think"]
each("[{}.{}()]", STRINGS, ["upper", "lower", "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "title", "capitalize", "isspace", "isalpha", "isdigit", "isalnum", "isnumeric", "isdecimal", "islower", "isupper", "isascii", "swapcase", "casefold", "expandtabs", "encode", "istitle", "isidentifier", "isprintable"])
each("[{}.{}({})]", STRINGS, ["strip", "lstrip", "rstrip"], ["'\\n'", "' <'", "none", "'Hd'", "''"])
each("[think.{}({})]", ["split", "rsplit", "partition", "rpartition", "find", "rfind", "index", "count", "startswith", "endswith", "removeprefix", "removesuffix"], ["'</think>'", "'\\n'", "'zz'", "''", "none", "1", "missing"])
each("[{}.{}({})]", ["csv", "lines", "'  a  b  c '", "'aaa'"], ["split", "rsplit"], ["none, 1", "',', 1", "',', 2", "maxsplit=1", "sep=','", "'a'", "'aa'", "none, 0", "',', -1", "',', none", "',', 1, 2", "'aa', 1"])
each("[{}.{}({})]", ["s", "astral"], ["find", "rfind", "count", "startswith", "endswith"], ["'a'", "'l', 4", "'l', -3", "'o', 1, 5", "'', 99", "'', 2", "('H', '😀')", "()", "'a', none", "'d', none, none"])
each("[{}.replace({})]", ["s", "astral", "empty"], ["'l', 'L'", "'l', 'L', 1", "'', '-'", "'', '-', 2", "'l', 'L', -1", "'l', 'L', 0", "'l'", "'l', none", "'😀', ''"])
each("[{}.{}({})]", ["low", "astral", "'-5'"], ["center", "ljust", "rjust", "zfill"], ["6", "7", "2", "7, '*'", "7, '**'", "'7'", "-1"])
add("','.join(['a', 'b'])", "','.join('abc')", "','.join([1])", "','.join(l|map('string'))", "','.join(missing)", "','.join(d)", "'a'.join()", "lines.splitlines(true)", "lines.splitlines(keepends=true)", "'a\\tb'.expandtabs(4)", "'ß'.upper()", "'İ'.lower()", "'ΑΣ'.lower()", "'ΣΑΣ Σ'.lower()", "'ǆ'.capitalize()", "'ß'.capitalize()", "'they\\'re bill\\'s'.title()", "'they\\'re x-ray (a) 3d'|title", "'ÉCOLE'.capitalize()", "'éCOLE'|capitalize", "'²'.isdigit()", "'½'.isnumeric()", "'一'.isnumeric()", "'٣'.isdigit()", "'٣'|int", "'Ⅷ'.isalnum()", "'日本'.isalpha()", "'日本'.isalnum()", "'a1'.isalnum()", "'_'.isalnum()", "'A1'.isupper()", "'ª'.islower()", "s.upper", "s.nothing", "s.format", "s.upper(1)", "s.strip('a', 'b')", "s.strip(chars='H')", "'abc'.translate({})", "s.startswith('Hello') and s.endswith('d')", "think.split('</think>')[-1].lstrip('\\n')", "think.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n')", "'\\x1ca\\x85b\\ufeffc'.split()", "'\\ufeff a \\ufeff'|trim", "' a '|trim(' ')", "'xxaxx'|trim('x')", "'xax'|trim(chars='x')")

# Formatting.
each("'%{}' % {}", ["s", "r", "d", "i", "5d", "-5d|", "05d", "+d", " d", "x", "X", "#x", "o", "f", ".2f", ".0f", "8.3f", "e", ".2e", "g", ".3g", "G", "10s|", "-10s|", ".2s", "c", "5%", "q"], ["7", "-7", "2.5", "0.5", "'text'", "true", "none", "[1, 2]", "1e20", "123456.789"])
add("'%s and %s' % ('a', 1)", "'%s' % (1, 2)", "'%s %s' % 'a'", "'%(a)s' % {'a': 1}", "'%(b)s' % {'a': 1}", "'x' % {}", "'x' % [1]", "'x' % 1", "'%%' % ()", "'%s' % missing", "'%s' % (missing,)", "'%*d' % (5, 1)", "'%s' % ()", "'%'  % 1", "'%d' % 'a'", "'%x' % 1.5", "'%d' % 1.9", "'%s'|format(1)", "'%s %(a)s'|format(1, a=2)", "'%(a)s-%(b)d'|format(a=1, b=2)", "'%s'|format", "'%.3f'|format(2.0005)", "'%5.1f|'|format(3.14159)", "'%s' % 'a' ~ 'b'")
each("'{{:{}}}'.format({})", ["", "5", "<5", ">5", "^5", "*^9", "05", "+", " ", ",", "d", "x", "#x", "b", ".2f", "8.2f", "+.1f", "e", ".3g", "%", ".1%", "s", ".2", "_", "n", "=+6", "q"], ["7", "-1234567", "2.5", "0.125", "'text'", "true", "none"])
add("'{} {}'.format(1, 'a')", "'{0} {1} {0}'.format('a', 'b')", "'{a} {b}'.format(a=1, b=2)", "'{}'.format()", "'{0} {}'.format(1, 2)", "'{{}}'.format()", "'{a.x}'.format(a={'x': 1})", "'{0[x]} {0[a b]}'.format({'x': 1, 'a b': 2})", "'{0[1]}'.format([5, 6])", "'{!r}'.format('a')", "'{!s:>4}'.format('a')", "'{!a}'.format('é')", "'{:{}}'.format('a', 5)", "'{'.format()", "'}'.format()", "'{a}'.format(b=1)", "'{:>{w}}'.format('a', w=5)", "'{0.__class__}'.format('a')", "'é{}'.format('ü')", "'{}'.format(none)", "'{}'.format(missing)", "'{}'.format([1, 'a'])")

# Filters.
each("{}|round({})", ["2.5", "3.5", "-2.5", "2.675", "0.125", "1234.5678", "7", "15", "25", "1e20", "-0.4", "0.5", "true"], ["", "1", "2", "-1", "-2", "0, 'ceil'", "0, 'floor'", "2, 'ceil'", "1, 'floor'", "0, 'x'", "method='ceil'"])
each("{}|int({})", ["'12'", "' 12 '", "'1_2'", "'+5'", "'-5'", "'1.9'", "'1e3'", "'x'", "''", "'0x1f'", "'inf'", "1.9", "-1.9", "none", "'½'", "'1__2'"], ["", "5", "default=none", "0, 16"])
each("{}|float({})", ["'1.5'", "' 1 '", "'1e400'", "'nan'", "'-inf'", "'1_0.5'", "'.5'", "'5.'", "'x'", "none", "3", "true"], ["", "'D'"])
each("{}|tojson({})", ["d", "u", "quotes", "html", "mixed", "el", "ed", "(1, (2,))", "{1: 2, none: 3, true: 4, 2.5: 5}", "{(1, 2): 3}", "missing", "[missing]", "d.items()", "l|map('string')", "tiny", "1e16", "'\\u2028\\x7f\\x1f'"], ["", "indent=2", "indent=0", "indent='--'", "ensure_ascii=true", "separators=(',', ':')", "sort_keys=true", "indent=4, separators=(',', ': ')", "4", "true, 2"])
each("{}|replace({})", ["s", "n", "missing", "none"], ["'l', 'L'", "'l', 'L', 1", "'7', 8", "'o', none", "old='l', new=''", "'l'"])
each("{}|indent({})", ["lines", "think", "empty", "'a\\n\\nb'", "n"], ["", "2", "2, true", "2, true, true", "blank=true", "'> '", "first=true", "width='->', first=true"])
each("{}|truncate({})", ["'the quick brown fox jumps'", "u"], ["", "9", "9, true", "9, false, '!'", "12, leeway=0", "3", "2", "9, end='', leeway=0"])
each("ls|sort({})", ["", "reverse=true", "case_sensitive=true", "true, true"])
each("rows|{}|map(attribute='t')|list", ["sort(attribute='n')", "sort(attribute='n', reverse=true)", "sort(attribute='role,n')", "sort(attribute='o.p')", "sort(attribute='zz')", "selectattr('o')", "selectattr('o', 'defined')", "selectattr('o', 'undefined')", "rejectattr('o')", "rejectattr('o', 'defined')", "selectattr('role', 'equalto', 'user')", "selectattr('role', '==', 'user')", "selectattr('role', 'eq', 'user')", "rejectattr('role', 'in', ['user'])", "selectattr('n', '>', 1)", "selectattr('n', 'gt', 1)", "selectattr('o.p')", "selectattr('tool', 'none')", "selectattr('role')", "selectattr()", "selectattr('role', 'nope')", "select", "reject", "select('mapping')", "unique(attribute='role')", "selectattr('t', 'lower')", "selectattr('n', 'odd')", "selectattr('n', 'divisibleby', 3)"])
add("rows|map(attribute='role')|join(',')", "rows|map(attribute='zz')|list", "rows|map(attribute='zz', default='-')|list", "rows|map(attribute='o.p', default=9)|list", "rows|map('length')|list", "rows|map(attribute='role')|unique|list", "rows|map('attr', 'role')|list", "ls|map('upper')|join", "ls|map('nope')|list", "ls|map('nope')", "ls|map|list", "ls|map(1)|list", "ls|map('replace', 'a', 'z')|list", "ls|map('default', 'x')|list", "missing|map('upper')|list", "none|map('upper')|list", "l|select('odd')|list", "l|reject('odd')|list", "l|select('>', 1)|list", "mixed|select|list", "mixed|select('string')|list", "mixed|reject('none')|list", "l|select('in', [1, 2])|list", "ls|unique|list", "['a', 'A', 'b']|unique|list", "['a', 'A']|unique(true)|list", "[1, 1.0, true]|unique|list", "[[1]]|unique|list", "l|min", "l|max", "ls|min", "ls|max(case_sensitive=true)", "el|max", "rows|max(attribute='n')", "[1, 'a']|max", "l|sum", "el|sum", "rows|sum(attribute='n')", "rows|sum('n', 10)", "ls|sum", "[[1], [2]]|sum(start=[])", "[1.5, 2]|sum", "missing|sum", "rows|groupby('role')|list|length", "rows|groupby('role')|map(attribute='grouper')|list", "rows|groupby('role')|map(attribute='list')|map('length')|list", "rows|groupby('role')|map('first')|list", "(rows|groupby('role'))[0].grouper", "(rows|groupby('role'))[0]|length", "rows|groupby('zz', default='-')|length", "rows|groupby('t')|map('first')|list", "rows|groupby('t', case_sensitive=true)|map('first')|list", "d|dictsort", "{'b': 1, 'A': 2}|dictsort", "{'b': 1, 'A': 2}|dictsort(true)", "{'b': 1, 'A': 2}|dictsort(by='value')", "{'b': 1, 'A': 2}|dictsort(reverse=true)", "{'b': 1, 'A': 2}|dictsort(false, 'x')", "l|dictsort", "range(7)|batch(3)|list", "range(7)|batch(3, 'x')|list", "range(7)|batch(0)|list", "range(7)|slice(3)|list", "range(7)|slice(3, 'x')|list", "range(7)|slice(0)|list", "l|batch(2)", "l|join", "l|join(', ')", "rows|join(',', attribute='role')", "rows|join(attribute='n', d='+')", "mixed|join('|')", "'abc'|join('-')", "d|join", "[none, true]|join", "[missing, 1]|join('-')", "l|join(none)", "l|join(1)", "s|wordcount", "'a_b c-d é1 😀'|wordcount", "s|center(20)", "s|center", "n|center(4)", "s|lower|capitalize|title", "none|upper", "n|string|length", "yes|lower", "d|count", "s|count", "s|e", "html|escape", "html|safe", "html|e|upper", "(html|e) ~ '<'", "(html|e) + '<'", "html|forceescape", "html|striptags", "none|e", "s|urlencode", "s|pprint", "s|random", "s|wordwrap(5)", "d|xmlattr", "1000|filesizeformat", "s|urlize", "s|nope", "s is nope", "(s|nope) if false else 1", "s|upper()", "s|upper(1)", "s|length()", "s|default", "missing|default", "missing|default(none)", "missing|default(default_value='x')", "''|default('x', boolean=true)", "missing.x|default('y')", "d.x|default('y')", "d.x.y|default('z')", "none|default('x')", "none|d('x', true)", "d|attr('a')", "d|attr('items')", "d|attr(1)", "missing|attr('a')", "namespace(q=1)|attr('q')", "s|attr('upper')", "s|list", "n|list", "s|first", "el|first", "el|last", "(l|map('string'))|last", "(l|map('string'))|first", "(l|map('string'))|length", "l|map('string')|list|length", "l|reverse", "l|reverse|first", "'T' if el|map('string') else 'F'", "'T' if rows|selectattr('zz') else 'F'", "rows|selectattr('zz')|list|length", "'T' if rows|selectattr('zz')|list else 'F'", "d.items()|reverse|list", "d|reverse|list", "d|first", "d|last", "d|list", "d|length", "l|length > 2 and l|first == 3", "s|length + 1", "-1|abs", "l|sort|first|string + 'x'", "l|tojson|length", "'%s' % l|join", "s|replace('o', '0')|upper|list|length")

# Tests.
add("3 is odd", "4 is odd", "4 is even", "-3 is odd", "2.0 is even", "'x' is odd", "missing is odd", "9 is divisibleby 3", "9 is divisibleby(4)", "9 is divisibleby 0", "9 is not divisibleby 3", "'a' is in 'abc'", "'a' is in d", "1 is in [1]", "1 is eq 1.0", "1 is eq(2)", "1 is ne 2", "1 is lt 2", "1 is ge 1", "1 is sameas 1", "none is sameas none", "true is sameas 1", "true is sameas true", "d is sameas d", "l is sameas [3, 1, 2]", "'abc' is lower", "'ABC' is upper", "5 is upper", "'' is lower", "none is lower", "'upper' is filter", "'nope' is filter", "'odd' is test", "1 is filter", "none is none", "missing is none", "missing is undefined", "missing is not defined", "missing.x is defined", "true is true", "1 is true", "false is false", "0 is false", "true is boolean", "1 is boolean", "true is integer", "true is number", "1 is integer", "1.0 is integer", "1.0 is float", "s is escaped", "(s|e) is escaped", "(s|e) is string", "range is callable", "s.upper is callable", "s is string and s is not mapping", "not s is string", "s is string is string", "1 is not odd == true", "1 is odd ~ 'x'", "d is mapping", "d.items() is mapping", "d.items() is sequence", "d.items() is iterable", "namespace() is mapping", "namespace() is iterable", "(l|map('string')) is iterable", "(l|map('string')) is sequence", "n is divisibleby 7 and true", "n is divisibleby(7) or false", "l is sequence and l|length == 3", "d.a is defined and d.a", "s is not string or true")

# Syntax.
add("1 +", "[1, 2", "{1: 2", "(1", "a b", "1 2", "'abc", "@", "1 ? 2", "a!", "f(", "d.", "d.'a'", "d[", "l[1:2:3:4]", "l[1,]", "l[]", "{'a' 1}", "{1}", "[,]", "[1,]", "(,)", "{'a': 1,}", "f(a=1, 2)", "range(*[3])", "range(*[1, 5], **{})", "dict(**{'a': 1})", "dict(a=1, **{'a': 2})", "dict(**[1])", "range(*3)", "dict(a=1, a=2)", "x if", "x else 1", "not", "1 not 2", "1 in", "|upper", "s|", "s|1", "s is", "s is not", "s is in", "é", "True", "False", "None", "TRUE", "nil", "null", "1.e3", "1.", ".5", "1..2", "l.0", "l.0.1", "d.b.c.1", "01", "1__0", "1_", "0x", "s|upper|lower", "s | upper", "(s|upper)", "(s)|upper", "s.upper()|lower", "{'a': {'b': {'c': 1}}}['a']['b']", "[[1]][0][0]", "(1, 2)[1]", "'abc'[1]", "'a'.upper()", "3.real", "1.5.real", "[1, 2].index(2)", "{}.get('a', 'x')", "true.x", "none.x", "s.upper().lower().title()", "l|map('string')|join(',')|length")

# None is a value.
add("d.get('get', 5)", "d['get']", "d['get'] is none", "d['get'] is defined", "rows[1].tool", "rows[1].tool is none", "rows[0].tool is none", "rows[1]['tool'] is defined", "mixed[2]", "mixed[2] is none", "rows|map(attribute='tool')|list", "rows|map(attribute='tool', default='-')|list", "[none]|first", "[none]|last", "[none]|min", "[none]|unique|list", "(none, 1)|first is none", "dict(a=none).a", "namespace(a=none).a is none", "[none].index(none)", "none in d.values()", "{none: 1}[none]", "{'a': none}.items()|list", "{'a': none}|dictsort", "[none, none]|sort", "[{'a': none}]|map(attribute='a')|list", "[{'a': none}]|groupby('a')|first|first")
add("(s|e) is sequence", "(s|e) is iterable", "(s|e) is mapping", "(s|e) is sameas (s|e)", "(s|e) is lower", "'' if (''|e) else 'F'")
each("('12'|e)|{}", ["int", "float", "round", "abs", "upper", "length", "list", "sort", "first", "tojson", "default('x')", "join", "replace('1', '2')", "string", "trim", "wordcount", "int(5)"])
