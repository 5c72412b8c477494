"""Measures the time that the budget of one evaluation allows, for everything that an expression can do.

    python -m tests.benchmarks.pricing > docs/pricing.md

It calls every function of the libraries with the biggest and worst arguments of its types, and every macro and operator
with their own, in a loop that uses up the budget. A row without arguments here, or a macro without loops, is an error:
whoever adds to a table must add to this module, or the test fails.

Seconds are CPU time, scaled to one machine by a loop of plain Python that is measured at the same time.
"""

import contextlib
import gc
import random
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kroasync.cel import Env, EvalError
from kroasync.cel.decls import Overload
from kroasync.cel.lib import ALL_LIBRARIES, cidr, format, ip, quantity, semver, url
from kroasync.cel.meter import Meter
from kroasync.cel.types import STRING, Type
from kroasync.cel.values import Condition, Duration, Optional, Timestamp, UInt
from kroasync.engine.allowance import EVALUATION_STEPS

# The maximum seconds of an evaluation with the whole budget.
LIMIT_S: Final = 0.25
# The seconds of the calibration loop on the reference machine.
REFERENCE_S: Final = 0.0031
# Rates are measured with a part of the budget; a case that costs more at once gets the whole budget.
_PART: Final = 40
# The size of the biggest texts: no Kubernetes object has more.
MEGABYTES: Final = 1_400_000

ENV: Final = Env(libraries=ALL_LIBRARIES)


@dataclass(frozen=True, slots=True)
class Case:
    """A body to repeat, and the variables that it reads."""

    name: str
    body: str
    variables: Mapping[str, Any]
    what: str


@dataclass(frozen=True, slots=True)
class Worst:
    """The most expensive case of a name."""

    name: str
    what: str
    seconds: float
    calls: int


def calibrate() -> float:
    """The seconds of a fixed loop of plain Python, the best of several runs."""

    def loop() -> float:
        start = time.process_time()
        table = {i: str(i) for i in range(64)}
        total = 0
        for i in range(50_000):
            total += len(table[i & 63])
        return time.process_time() - start

    return min(loop() for _ in range(2))


# Arguments by type

_RANDOM: Final = random.Random(1)
_AB: Final = "".join(_RANDOM.choices("ab", k=MEGABYTES // 10))
A: Final = "a" * MEGABYTES
STRINGS: Final[Mapping[str, str]] = {
    "empty": "",
    "short": "abc",
    "sixty characters": "abcdefghij" * 6,
    "1.4 MB of a": A,
    "beyond ASCII": "\u20ac" * (MEGABYTES // 2),
    "emoji": "\U0001f600" * (MEGABYTES // 4),
    "short emoji": "\U0001f600" * 30,
    "half of pairs": "\ud800" * (MEGABYTES // 4),
    "1h1h": "1h" * (MEGABYTES // 2),
    "digits": "9" * MEGABYTES,
    "digits and x": "9" * MEGABYTES + "x",
    "zeros": "0" * MEGABYTES + "1s",
    "%41": "/%41" * (MEGABYTES // 4),
    "host of escapes": "http://" + "%80" * (MEGABYTES // 3),
    "pairs": "/?" + "a&" * (MEGABYTES // 2),
    "colons": ":" * MEGABYTES,
    "dots": "a." * (MEGABYTES // 2),
    "slashes": "/" * MEGABYTES,
    "spaces": "\u3000" * (MEGABYTES // 3),
    "quotes": '"\\' * (MEGABYTES // 2),
    "angles": "<" * MEGABYTES,
    "lists": "[" + ",".join(["[]"] * (MEGABYTES // 10)) + "]",
    "maps": "[" + ",".join(["{}"] * (MEGABYTES // 10)) + "]",
    "numbers": "[" + ",".join(["1"] * (MEGABYTES // 4)) + "]",
    "map": "{" + ",".join(f'"{i}":0' for i in range(40_000)) + "}",
    "nested": "[" * 900 + "]" * 900,
    "escapes": '["' + "\\ud800" * (MEGABYTES // 12) + '"]',
    "base64": "QUJD" * (MEGABYTES // 4),
    "timestamp": "2024-05-31T12:34:56.123456789+01:30",
    "long fraction": "2024-05-31T12:34:56." + "1" * MEGABYTES + "Z",
    "duration": "1h2m3s4ms",
    "zone": "Europe/Berlin",
    "quantity": "9" * 1000 + "e999",
    "version": "1.0.0-" + ".".join(["1"] * 500),
    "address": "2001:db8::ffff:1:2:3",
    "prefix": "2001:db8::/64",
    "web": "https://user:secret@example.com:8080/a/b?c=d&e=f#g",
    "number": "-1.7976931348623157e308",
}
# A text, and a part to search for.
SEARCHES: Final[Mapping[str, tuple[str, str]]] = {
    "short": ("abcabc", "c"),
    "no part": ("a" * 1000, ""),
    "half of 2,400": ("a" * 2400, "b" + "a" * 1200),
    "the other half": ("a" * 2400, "a" * 1200 + "b"),
    "half of 29,000": ("a" * 29_000, "a" * 14_500 + "b"),
    "half of 29,000, from the end": ("a" * 29_000, "b" + "a" * 14_500),
    "half of 1.4 MB": (A, "b" + "a" * (MEGABYTES // 2)),
    "half of 1.4 MB, from the end": (A, "a" * (MEGABYTES // 2) + "b"),
    "five": (A, "aaaab"),
    "fifty": (A, "a" * 25 + "b" + "a" * 25),
    "two hundred": ("\u20ac" * 600_000, "\u20ac" * 100 + "b" + "\u20ac" * 100),
    "every character": (A, "a"),
    "every emoji": ("\U0001f600" * 300_000, ""),
    "equal": (A, "".join(["a", A[1:]])),
}
PATTERNS: Final[Mapping[str, tuple[str, str]]] = {
    "short": ("abcabc", "^[a-z]+$"),
    "no match": ("", "x"),
    "a.*b|a": ("a" * 600_000, "a.*b|a"),
    "a.*b|a of 6 kB": ("a" * 6000, "a.*b|a"),
    "[a-z]+(=.*;)?": ("ab " * 30_000, "[a-z]+(=.*;)?"),
    "[ab]*a[ab]{900}c": (_AB, "[ab]*a[ab]{900}c"),
    "[ab]*a[ab]{14}c": (_AB, "[ab]*a[ab]{14}c"),
    "[ab]*a[ab]{9}c": (_AB, "[ab]*a[ab]{9}c"),
    "[ab]*a[ab]{9}c|a": (_AB, "[ab]*a[ab]{9}c|a"),
    "many threads": ("a" * 20_000, "(?:a?){300}a{300}b"),
    "captures": (_AB, "(([ab]*)(a)([ab]{100})c)"),
    "Unicode": ("\u20ac" * 200_000, r"\pL+"),
    "classes": ("abc", "|".join([r"\pL"] * 300)),
    "folded classes": ("abc", "(?i)" + r"\pL" * 300),
    "too large": ("abc", r"(?:\pL{30}){10}"),
    "nested": ("abc", "(" * 250 + "a+" + ")*" * 250),
    "a kilobyte": ("abc", "a" * 1024),
    "too long": ("abc", A),
    "no such pattern": ("abc", "("),
    "empty matches": ("a" * 100_000, "b*"),
    "empty matches of emoji": ("\U0001f600" * 50_000, ""),
}
ITEMS: Final = list(range(150_000))
_BIG_KEYS: Final = {"a" * 100_000 + str(i): i for i in range(10)}


def _equal_texts(count: int, size: int) -> list[str]:
    """Equal strings that are different objects."""
    return ["a" * size + "b" for _ in range(count)]


def _deep(levels: int, leaf: Any) -> Any:
    for _ in range(levels):
        leaf = [leaf]
    return leaf


def _values(kind: Type) -> Mapping[str, Any]:
    """The worst values of a type, by description."""
    if kind.kind in ("dyn", "param"):
        return {
            "text": A,
            "numbers": ITEMS,
            "lists in lists": [[[]] * 100] * 300,
            "nested text": _deep(90, A),
            "map": {str(i): float(i) for i in range(50_000)},
            "long keys": _BIG_KEYS,
            "times": [Timestamp(1)] * 1000,
            "doubles": [1.7e308, 5e-324] * 1000,
            "small": 1,
            "none": None,
            "maps": {"a": {str(i): {"b": 1} for i in range(10_000)}},
            "conditions": {"status": {"conditions": [{"type": "a"}] * 20_000}},
        }
    if kind.kind == "list":
        return _lists(kind.element)
    if kind.kind == "map":
        return {"small": {"a": 1}, "many": {str(i): i for i in range(50_000)}, "long keys": _BIG_KEYS}
    if kind.kind == "optional":
        return {"none": Optional(present=False), "some": Optional(A)}
    return _SCALARS[str(kind)]


def _lists(element: Type) -> Mapping[str, Any]:
    if element.kind in ("dyn", "param"):
        return {
            "numbers": ITEMS,
            "few": [1, 2, 3],
            "doubles": [float(i) for i in range(1000)],
            "equal texts": _equal_texts(20, 70_000),
            "lists": [[i] for i in range(500)],
            "nested": [_deep(200, 1)] * 100,
            "versions": [semver.parse(STRINGS["version"])] * 50,
        }
    if element.kind == "list":
        return {"lists": [[1, 2]] * 50_000, "empty lists": [[]] * 100_000}
    if element.kind == "optional":
        return {"optionals": [Optional(1)] * 100_000}
    if element.kind == "string":
        texts = [f"{i:06}" for i in range(100_000)]
        _RANDOM.shuffle(texts)
        return {
            "few": ["b", "a"],
            "mixed up": texts,
            "equal texts": _equal_texts(20, 70_000),
            "many equal texts": _equal_texts(1400, 1000),
        }
    values = list(_SCALARS[str(element)].values())
    made = (values * 100_000)[:100_000]
    _RANDOM.shuffle(made)
    return {"few": made[:3], "mixed up": made, "a hundred": made[:100]}


_SCALARS: Final[Mapping[str, Mapping[str, Any]]] = {
    "string": STRINGS,
    "bytes": {name: text.encode(errors="replace") for name, text in list(STRINGS.items())[:7]},
    "bool": {"true": True, "false": False},
    "int": {"0": 0, "3": 3, "million": 1_000_000, "max": 2**63 - 1, "min": -(2**63)},
    "uint": {"0u": UInt(0), "3u": UInt(3), "maximum": UInt(2**64 - 1)},
    "double": {"0.1": 0.1, "huge": 1.7976931348623157e308, "tiny": 5e-324, "nan": float("nan")},
    "null_type": {"null": None},
    "timestamp": {"now": Timestamp(1_700_000_000_123_456_789), "first": Timestamp(-62_135_596_800 * 10**9)},
    "duration": {"long": Duration(2**63 - 1), "short": Duration(-1)},
    "google.protobuf.Timestamp": {"now": Timestamp(1_700_000_000_123_456_789)},
    "google.protobuf.Duration": {"long": Duration(2**63 - 1), "short": Duration(-1)},
    str(quantity.QUANTITY): {
        "digits": quantity.parse("9" * 990 + "e990"),
        "small": quantity.parse("1m"),
        "binary": quantity.parse("123456789Ki"),
    },
    str(ip.IP): {"6": ip.IPAddress(ip.parse_address("2001:db8::1")), "4": ip.IPAddress(ip.parse_address("10.0.0.1"))},
    str(cidr.CIDR): {"6": cidr.parse_prefix("2001:db8::/64"), "4": cidr.parse_prefix("10.0.0.0/8")},
    str(semver.SEMVER): {"long": semver.parse(STRINGS["version"]), "short": semver.parse("1.2.3")},
    str(url.URL): {name: url.parse(STRINGS[name]) for name in ("%41", "host of escapes", "pairs", "slashes", "web")},
    str(format.FORMAT): format.FORMATS,
    "kro.run.Condition": {"condition": Condition("a", "True")},
}
# Arguments of functions that take several texts.
_PATTERN_FUNCTIONS: Final = frozenset(
    ("matches", "find", "findAll", "regex.extract", "regex.extractAll", "regex.replace")
)
_TEXT_PAIRS: Final = ("contains", "indexOf", "lastIndexOf", "replace", "split", "startsWith", "endsWith")
FORMATS_OF_TEXT: Final[Mapping[str, tuple[str, list[Any]]]] = {
    "percent signs": ("%%" * (MEGABYTES // 2), []),
    "text": ("%s%s%s", [A, A, A]),
    "hexadecimal": ("%x", [A]),
    "doubles": ("%.100f" * 100, [1.7976931348623157e308] * 100),
    "tiny doubles": ("%.100f" * 100, [5e-324] * 100),
    "exponents": ("%.100e" * 100, [1.7976931348623157e308] * 100),
    "nested": ("%s", [_deep(90, A)]),
    "map": ("%s", [{str(i): 1.5 for i in range(20_000)}]),
    "times": ("%s", [[Timestamp(1)] * 20_000]),
    "numbers": ("%s", [list(range(20_000))]),
}


def _arguments(row: Overload) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Sets of arguments for a row, each with its name."""
    rest = [next(iter(_values(kind).values())) for kind in row.params[2:]]
    if row.function == "format" and row.member:
        yield from FORMATS_OF_TEXT.items()
        return
    if row.function in _PATTERN_FUNCTIONS:
        for name, pair in PATTERNS.items():
            more = ["\\0" if kind == STRING else -1 for kind in row.params[2:]]
            yield name, (*pair, *more)
        return
    if row.function in _TEXT_PAIRS and row.params[:2] == (STRING, STRING):
        for name, pair in SEARCHES.items():
            more = ["xy" if kind == STRING else len(pair[0]) // 2 for kind in row.params[2:]]
            yield name, (*pair, *more)
        return
    if not row.params:
        yield "nothing", ()
        return
    first = _values(row.params[0])
    if len(row.params) == 1:
        for name, value in first.items():
            yield name, (value,)
        return
    second = _values(row.params[1])
    # Combine every argument with the first of the other type, and with its equal.
    for name, value in first.items():
        yield name, (value, second.get(name, next(iter(second.values()))), *rest)
    for name, value in second.items():
        yield name, (next(iter(first.values())), value, *rest)
        yield name, (list(first.values())[-1], value, *rest)


def function_cases() -> Iterator[Case]:
    """A case for every row of the libraries and every set of its arguments."""
    for library in ALL_LIBRARIES:
        for row in library.overloads:
            if row.function.startswith(("_", "@", "!", "-")):
                continue
            tried = False
            for what, values in _arguments(row):
                tried = True
                names = [f"v{i}" for i in range(len(values))]
                call = (
                    f"{names[0]}.{row.function}({', '.join(names[1:])})"
                    if row.member
                    else f"{row.function}({', '.join(names)})"
                )
                yield Case(row.signature, call, dict(zip(names, values, strict=True)), what)
            assert tried, f"{row.signature} has no arguments here"


# Operators by their names in the tables; every row of them is one of these.
_TEXT: Final = {"s": A, "t": "".join(["a", A[1:]]), "u": "\u20ac" * 700_000, "v": "\u20ac" * 699_999 + "x"}
_LISTS: Final = {
    "l": [*ITEMS, 0],
    "k": [*ITEMS, 1],
    "texts": _equal_texts(20, 70_000),
    "others": _equal_texts(20, 70_000),
}
OPERATORS: Final[Mapping[str, list[tuple[str, Mapping[str, Any]]]]] = {
    "_?_:_": [("true ? s : t", _TEXT)],
    "_&&_": [("1 / 0 == 1 && 1 / 0 == 1 && false", {}), ("!(true && true && true && true)", {})],
    "_||_": [
        ("1 / 0 == 1 || 1 / 0 == 1 || 1 / 0 == 1 || true", {}),
        ("{}[s] == 1 || true", _TEXT),
        ("{}.a == 1 || true", {}),
    ],
    "!_": [("!!!!!!true", {})],
    "_==_": [
        ("s == t", _TEXT),
        ("u == v", _TEXT),
        ("l == k", _LISTS),
        ("texts == others", _LISTS),
        ("m == n", {"m": dict(_BIG_KEYS), "n": {key[:-1] + key[-1]: value for key, value in _BIG_KEYS.items()}}),
        ("[[s]] == [[t]]", _TEXT),
        ("x == y", {"x": [_deep(150, 1)] * 200, "y": [_deep(150, 1)] * 200}),
        ("x == y", {"x": semver.parse(STRINGS["version"]), "y": semver.parse(STRINGS["version"])}),
        ("x == y", {"x": url.parse(STRINGS["%41"]), "y": url.parse(STRINGS["%41"])}),
        ("x == y", {"x": quantity.parse("9" * 990 + "e990"), "y": quantity.parse("1")}),
        ("x == y", {"x": 1, "y": 1.0}),
        ("x == y", {"x": UInt(1), "y": UInt(1)}),
        ("x == y", {"x": Optional(A), "y": Optional(_TEXT["t"])}),
        ("x == y", {"x": Timestamp(1), "y": Timestamp(1)}),
        (f"s == '{'a' * 90_000}'", {"s": "a" * 90_000}),
    ],
    "_!=_": [("s != t", _TEXT), ("l != k", _LISTS)],
    "@in": [
        ("-1 in l", _LISTS),
        ("s in [t]", _TEXT),
        ("'x' in texts", _LISTS),
        ("texts[0] in others", _LISTS),
        ("x in m", {"m": {A: 1}, "x": _TEXT["t"]}),
        ("x in [1, 2.0, 3u]", {"x": UInt(7)}),
    ],
    "_[_]": [
        ("m[x]", {"m": {A: 1}, "x": _TEXT["t"]}),
        ("m[?x]", {"m": {A: 1}, "x": _TEXT["t"]}),
        ("l[7]", _LISTS),
        ("l[7.0]", _LISTS),
        ("l[?-1]", _LISTS),
        ("x[?'a'][?'b'][?'c']", {"x": {}}),
        ("m[s] == 1 || true", {"m": {}, "s": A}),
    ],
    "_<_": [("s < t", _TEXT), ("u < v", _TEXT), ("s < u", _TEXT), ("x < y", {"x": UInt(1), "y": 1.5})],
    "_<=_": [("s <= t", _TEXT), ("x <= y", {"x": Timestamp(1), "y": Timestamp(1)})],
    "_>_": [("s > t", _TEXT), ("x > y", {"x": Duration(1), "y": Duration(1)})],
    "_>=_": [("s >= t", _TEXT), ("b >= c", {"b": A.encode(), "c": _TEXT["t"].encode()})],
    "_+_": [
        ("s + t", _TEXT),
        ("s + t + u + v", _TEXT),
        ("u + v", _TEXT),
        ("l + k", _LISTS),
        ("[] + [] + []", {}),
        ("b + b", {"b": A.encode()}),
        ("x + x + x + x + x", {"x": UInt(7)}),
        ("x + x + x + x + x", {"x": Duration(7)}),
        ("[[[x + 1 + 1][0] + 1 + 1][0] + 1 + 1][0] + 1 + 1", {"x": 1}),
        ("x + x + x + x + x + x + x + x", {"x": 7}),
    ],
    "_-_": [("x - x - x - x - x", {"x": 1.5}), ("x - y", {"x": Timestamp(1), "y": Timestamp(7)})],
    "_*_": [("x * x * x * x * x", {"x": UInt(7)}), ("x * x", {"x": 2**62})],
    "_/_": [("x / x / x / x", {"x": 7}), ("x / x / x / x", {"x": UInt(7)}), ("x / x / x", {"x": 0.0})],
    "_%_": [("x % x % x", {"x": -7})],
    "-_": [("-(-(-(-(-(-(-x))))))", {"x": 1}), ("-(-(-(-x)))", {"x": Duration(1)})],
}
# Macros by the name before the parenthesis, without the receiver.
_NAMES: Final = {"l": list(range(100)), "m": {str(i): i for i in range(100)}, "s": A, "e": [], "o": Optional({"a": 1})}
MACROS: Final[Mapping[str, list[str]]] = {
    "has": ["has(m.a) || has(m.b) || has(m.c)", "has(s.a)", "has(o.a)"],
    "all": [
        "l.all(x, x >= 0)",
        "l.all(x, 1 / 0 > 0 || true)",
        "e.all(x, true)",
        "l.all(i, x, i == x)",
        "m.all(k, v, true)",
    ],
    "exists": ["l.exists(x, 1 / 0 > x || x == 99)", "l.exists(i, x, x < 0)", "m.exists(x, x == '')"],
    "exists_one": ["l.exists_one(x, x == 1)", "l.exists_one(i, x, x == i)"],
    "existsOne": ["l.existsOne(x, x == 1)", "l.existsOne(i, x, x == i)"],
    "filter": ["l.filter(x, true)", "m.filter(x, false)", "e.filter(x, true)"],
    "map": [
        "l.map(x, x)",
        "l.map(x, x > 1, x)",
        "l.map(x, {})",
        "m.map(x, [x])",
        "e.map(x, x)",
        "l.map(x, l.map(y, y))",
    ],
    "transformList": ["l.transformList(i, x, i)", "m.transformList(k, v, v > 1, k)", "e.transformList(i, x, x)"],
    "transformMap": ["l.transformMap(i, x, x)", "m.transformMap(k, v, v > 3, v)", "e.transformMap(i, x, x)"],
    "transformMapEntry": ["l.transformMapEntry(i, x, {x: i})", "[m].transformMapEntry(i, x, true, x)"],
    "sortBy": ["l.sortBy(x, -x)", "l.sortBy(x, timestamp(x))", "[s, s, s, s].sortBy(x, x)", "e.sortBy(x, x)"],
    "optMap": ["o.optMap(x, x)", "o.optMap(x, x.a)"],
    "optFlatMap": ["o.optFlatMap(x, x.?a)", "o.optFlatMap(x, x.?b)"],
    "bind": ["cel.bind(y, s, y)", "cel.bind(y, cel.bind(z, [s], z + z), y + y)"],
    "newCondition": [
        "runtime.newCondition({type: 'a', status: 'True', reason: s})",
        "runtime.newCondition({type: 'a', status: s})",
    ],
}
# Nodes that no table has.
OTHERS: Final[Mapping[str, list[tuple[str, Mapping[str, Any]]]]] = {
    "a.b.c": [("a.b.c", {"a": {"b": {"c": 1}}}), ("a.b.c == 1 || true", {"a": {}}), ("o.b.c.d.e", {"o": Optional({})})],
    "a.?b": [("a.?b.?c.?d.?e", {"a": {"b": {"c": {"d": {}}}}}), ("a.?b.c.d.e", {"a": {}})],
    "[...]": [("[1, 2, 3, 4, 5, 6]", {}), ("[[[[[[]]]]]]", {}), ("[?a, ?a, ?a]", {"a": Optional(1)})],
    "{...}": [("{'a': 1, 'b': 2}", {}), ("{s: 1, 1: 2, true: 3}", {"s": A}), ("{'a': {}, 'b': {}, 'c': {}}", {})],
    "many patterns": [("'abc'.matches('x' + string(i))", {}), ("'abc'.matches('[a-f]{20}' + string(i))", {})],
    "many time zones": [("timestamp(i).getHours('Zone/No' + string(i))", {})],
}


def operator_cases() -> Iterator[Case]:
    """Operators and macros of the tables, and the rest of the language."""
    for library in ALL_LIBRARIES:
        for row in library.overloads:
            if row.function.startswith(("_", "@", "!", "-")) and not row.function.startswith("@runtime"):
                assert row.function in OPERATORS, f"{row.signature} is not tried here"
        for macro in library.macros:
            name = macro.signature.partition("(")[0].rpartition(".")[2]
            if name in ("cel", "optional"):
                name = macro.signature.rpartition(").")[2].partition("(")[0]
            if macro.signature.startswith("optional(") or macro.signature.startswith("list("):
                name = macro.signature.partition(").")[2].partition("(")[0]
            assert name in MACROS, f"{macro.signature} is not tried here"
    for name, bodies in (*OPERATORS.items(), *OTHERS.items()):
        for body, variables in bodies:
            yield Case(name, body, variables, body[:40])
    for name, texts in MACROS.items():
        for body in texts:
            yield Case(name, body, _NAMES, body[:40])


# Measuring


def steps_of(program: Any, variables: Mapping[str, Any]) -> int:
    """The cost of an evaluation without a limit."""
    meter = Meter(1 << 60)
    program.evaluate(variables, budget=meter)
    return meter.limit - meter.left


def seconds(case: Case) -> tuple[float, int]:
    """The seconds of an evaluation with the full budget, and how often its body runs."""
    # Absorb errors, so that loops continue; drop the results of the body.
    program = ENV.program(f"xs.all(i, type({case.body}) == int || true)", check=False)
    variables = {**case.variables, "xs": [0, 1]}
    full = EVALUATION_STEPS
    meter = Meter(full)
    start = time.process_time()
    try:
        program.evaluate(variables, budget=meter)
    except EvalError:
        # Two runs are too many: use the measurement of one run.
        return time.process_time() - start, 1
    taken, both = time.process_time() - start, full - meter.left
    part = full // _PART
    if both * 2 > part:
        return taken * full / both, 2 * full // both
    each = max(both - steps_of(program, {**variables, "xs": [0]}), 1)
    count = max(part // each, 1)
    variables["xs"] = list(range(count))
    start = time.process_time()
    with contextlib.suppress(EvalError):
        program.evaluate(variables, budget=part)
    return (time.process_time() - start) * _PART, count * _PART


def scaled(case: Case, unit: float) -> Worst:
    """The result of a case, scaled to the reference machine."""
    taken, calls = seconds(case)
    return Worst(case.name, case.what, taken / unit * REFERENCE_S, calls)


def worst(cases: Iterator[Case]) -> dict[str, Worst]:
    """The most expensive case of every name. Expensive cases run again, because a machine may be slow for a moment."""
    found: dict[str, Worst] = {}
    gc.disable()
    try:
        unit = calibrate()
        for case in cases:
            row = scaled(case, unit)
            tries = 0
            while row.seconds > LIMIT_S * 0.8 and tries < 8:
                unit = calibrate()
                row = min(row, scaled(case, unit), key=lambda row: row.seconds)
                tries += 1
            if case.name not in found or row.seconds > found[case.name].seconds:
                found[case.name] = row
    finally:
        gc.enable()
    return found


def render(rows: list[Worst]) -> str:
    """The page docs/pricing.md."""
    dearest = max(row.seconds for row in rows)
    lines = [
        "# What an evaluation may cost",
        "",
        "This table lists everything that an expression can do, with the most expensive arguments that were found.",
        f"Each row was repeated in a loop until the {EVALUATION_STEPS:,} steps of one evaluation were spent.",
        "`python -m tests.benchmarks.pricing` makes this page; `tests/slow/test_pricing.py` fails for a row that",
        f"takes more than {LIMIT_S} s. Seconds are CPU time, scaled by a loop of plain Python that was measured at the",
        f"same time. The most expensive row takes {dearest:.2f} s.",
        "",
        "| What | Worst arguments found | Calls in one evaluation | Seconds |",
        "|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: row.name):
        name, what = (text.replace("|", "\\|") for text in (row.name, row.what))
        lines.append(f"| `{name}` | `{what}` | {row.calls:,} | {row.seconds:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    rows = {**worst(function_cases()), **worst(operator_cases())}
    sys.stdout.write(render(list(rows.values())))


if __name__ == "__main__":
    main()
