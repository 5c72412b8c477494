"""The values and errors of expressions."""

from typing import Any

import pytest

from kroasync.cel import (
    OMIT,
    BudgetError,
    CelError,
    CheckError,
    Env,
    EvalError,
    IndexError_,
    NoSuchFieldError,
    NoSuchKeyError,
    OverloadError,
    PendingError,
    RangeError,
    UnboundError,
    ValueError_,
)
from kroasync.cel.lib import ALL_LIBRARIES
from kroasync.cel.meter import ABSORBED, Meter
from kroasync.cel.types import DYN
from kroasync.cel.values import NONE, Optional, UInt, map_keys

ENV = Env(libraries=ALL_LIBRARIES, variables={"x": DYN, "y": DYN, "missing": DYN})
DATA: dict[str, Any] = {
    "x": {"n": None, "a": 1, "s": "text", "list": [1, 2, 3], "map": {"k": "v"}, "d": 1.5, "t": True},
    "y": [{"name": "a", "ready": True}, {"name": "b"}, {"name": "c", "ready": "yes"}],
}


def evaluate(text: str, *, check: bool = False, **variables: Any) -> Any:
    return ENV.program(text, check=check).evaluate({**DATA, **variables})


@pytest.mark.parametrize(
    "text",
    [
        # equality across types
        "dyn(1) == dyn(1.0) && dyn(1u) == dyn(1) && dyn(1) != dyn('1')",
        "dyn(true) != dyn(1)",
        "dyn([1, 2.0]) == dyn([1.0, 2]) && dyn({'a': 1}) == dyn({'a': 1.0})",
        "0.0 / 0.0 != 0.0 / 0.0 && [0.0 / 0.0] != [0.0 / 0.0]",
        "dyn(null) != dyn(0) && null == null",
        "optional.none() == optional.none() && optional.of(1) != optional.none()",
        "type(1) == int && type(type(1)) == type && type(x) == map",
        # order across numbers
        "dyn(1) < dyn(1.5) && dyn(2u) > dyn(1.5) && dyn(-1) < dyn(1u)",
        "!(0.0 / 0.0 < 1.0) && !(0.0 / 0.0 >= 1.0)",
        # absorbing errors
        "missing.a || true",
        "true || missing.a",
        "!(false && 1 / 0 > 0)",
        "!(1 / 0 > 0 && false)",
        "dyn(1) || true",
        "!(dyn(1) && false)",
        "[0, 1].exists(i, 1 / i == 1)",
        "![1, 0].all(i, 1 / i == 2)",
        "[1, 2].all(i, dyn(i == 1 ? true : true))",
        "[0, 2, 1].exists_one(i, i == 1)",
        # laziness
        "cel.bind(v, 1 / 0, true)",
        "cel.bind(v, 1 / 0, true || v > 0)",
        "optional.of(1).orValue(1 / 0) == 1",
        "optional.of(1).or(optional.of(1 / 0)).value() == 1",
        "(true ? 1 : 1 / 0) == 1",
        "has(x.a) && !has(x.zzz) && has(x.n)",
        # scopes
        "[1, 2].map(x, x * 2) == [2, 4]",
        "[1].map(x, .x.a + x) == [2]",
        "[1, 2].map(i, [i].map(i, i * 10)) == [[10], [20]]",
        "[1, 2].all(v, cel.bind(w, v + 1, w > v))",
        "cel.bind(a, 2, cel.bind(b, a + 3, a * b)) == 10",
        "[[1], [2]].map(l, l.map(v, v + l[0])) == [[2], [4]]",
        # maps
        "{'a': 1}.map(k, k) == ['a'] && {'a': 1}.exists(k, k == 'a')",
        "{true: 1, 1: 2}.size() == 2 && {true: 1}[true] == 1",
        "{true: 1, false: 2}.map(k, k) == [true, false]",
        "{1: 'a'}[dyn(1.0)] == 'a' && {1u: 'a'}[dyn(1)] == 'a'",
        "1 in {1: 2} && dyn(1u) in {1: 2} && !(dyn('1') in {1: 2})",
        "{'a': 1}.transformMap(k, v, k + string(v)) == {'a': 'a1'}",
        "{true: 1}.transformMapEntry(k, v, {k: v}) == {true: 1}",
        "[1, 2].transformMapEntry(i, v, v > 1, {v: i}) == {2: 1}",
        # optional chains
        "x.?a.value() == 1 && !x.?zzz.b.c.hasValue() && !x.?a.b.hasValue()",
        "x[?'a'].value() == 1 && x.list[?1].value() == 2 && !x.list[?9].hasValue()",
        "x.?map.k == optional.of('v') && x.?map['k'] == optional.of('v')",
        "[?x.?a, ?x.?zzz] == [1] && {?'a': x.?a, ?'b': x.?zzz} == {'a': 1}",
        "optional.of(1).optMap(v, v + 1) == optional.of(2) && !optional.none().optMap(v, 1 / 0).hasValue()",
        "optional.of(x).optFlatMap(v, v.?a) == optional.of(1)",
        "!has({'a': optional.none()}.a.b) || true",
        # numbers
        "-7 / 2 == -3 && -7 % 2 == -1 && 7 / -2 == -3 && 7 % -2 == 1",
        "1.0 / 0.0 > 1e308 && -1.0 / 0.0 < -1e308",
        "9223372036854775807 - 1 == 9223372036854775806",
        "2u - 1u == 1u && 18446744073709551615u > 0u",
        # strings are code points
        "size('😀ñ') == 2 && '😀ñ'.charAt(1) == 'ñ' && 'ñ😀'.indexOf('😀') == 1",
        "'a' < 'b' && 'a' < 'ab' && 'Z' < 'a' && '\\uffff' < '\\U0001F600'",
        "b'\\xff' > b'a' && bytes('ñ').size() == 2",
        # lists
        "[3, 1, 2].sortBy(v, -v) == [3, 2, 1] && ['b', 'a'].sortBy(v, v) == ['a', 'b']",
        "dyn([1, 2])[dyn(1.0)] == 2 && [1, 2][dyn(0u)] == 1",
        "[1, 2.0, '2', 2u].distinct() == [1, 2.0, '2']",
        "[1, 2].transformList(i, v, i * v) == [0, 2]",
        # time
        "timestamp('2024-02-29T00:00:00Z') + duration('24h') == timestamp('2024-03-01T00:00:00Z')",
        "timestamp('2024-02-29T12:00:00.5+01:30') == timestamp('2024-02-29T10:30:00.500Z')",
        "string(timestamp('2024-02-29T12:00:00.120Z')) == '2024-02-29T12:00:00.12Z'",
        "timestamp('2024-07-01T00:00:00Z').getHours('Europe/Berlin') == 2",
        "timestamp('0001-01-01T00:00:00Z').getFullYear('-02:00') == 0",
        "string(duration('1h1m1.5s')) == '3661.5s' && duration('-1.5s').getSeconds() == -1",
        "string(1e21) == '1e+21' && string(0.1) == '0.1' && string(-0.0) == '-0' && string(123456.0) == '123456'",
        "int('-12') == -12 && int(-1.9) == -1 && uint('7') == 7u && double('1e3') == 1000.0",
    ],
)
def test_true(text: str) -> None:
    assert evaluate(text) is True


PENDING: list[tuple[str, type[EvalError]]] = [
    ("x.zzz", NoSuchKeyError),
    ("x.map.k.z", NoSuchKeyError),
    ("x.n.z", NoSuchKeyError),
    ("x.a.b", NoSuchKeyError),
    ("x.zzz.b.c", NoSuchKeyError),
    ("x['zzz']", NoSuchKeyError),
    ("x.map['z']", NoSuchKeyError),
    ("x.s['z']", NoSuchKeyError),
    ("x.list[3]", IndexError_),
    ("x.list[-1]", IndexError_),
    ("x.list[y.size()]", IndexError_),
    ("missing", UnboundError),
    ("missing.a.b", UnboundError),
    ("y.all(p, p.ready != false)", NoSuchKeyError),
    ("y.exists(p, p.ready == 'no')", NoSuchKeyError),
    ("y.map(p, p.ready)", NoSuchKeyError),
    ("size(missing)", UnboundError),
    ("runtime.newCondition({type: 'a', status: 'True'}).zzz", NoSuchFieldError),
    ("{'a': 1}[dyn(true)]", NoSuchKeyError),
]
HARD: list[tuple[str, type[EvalError]]] = [
    ("1 / 0", RangeError),
    ("1u % 0u", RangeError),
    ("9223372036854775807 + 1", RangeError),
    ("-9223372036854775807 - 2", RangeError),
    ("-(-9223372036854775807 - 1)", RangeError),
    ("9223372036854775807 * 2", RangeError),
    ("(-9223372036854775807 - 1) / -1", RangeError),
    ("1u - 2u", RangeError),
    ("18446744073709551615u + 1u", RangeError),
    ("int(1e19)", RangeError),
    ("uint(-1)", RangeError),
    ("int(0.0 / 0.0)", RangeError),
    ("int(18446744073709551615u)", RangeError),
    ("timestamp('9999-12-31T23:59:59Z') + duration('1s')", RangeError),
    ("duration('100000h') * 1", OverloadError),
    ("duration('2562047h') + duration('2562047h')", RangeError),
    ("dyn(1) + dyn('a')", OverloadError),
    ("dyn(1) + dyn(1u)", OverloadError),
    ("'a' + x.a", OverloadError),
    ("x.s + x.a + 'b'", OverloadError),
    ("!x.a", OverloadError),
    ("-x.s", OverloadError),
    ("x.a ? 1 : 2", OverloadError),
    ("x.a && true", OverloadError),
    ("x.s < x.a", OverloadError),
    ("x.a in x.s", OverloadError),
    ("x.a.startsWith('a')", OverloadError),
    ("x.list.zzz", OverloadError),
    ("x.list['a']", OverloadError),
    ("x[[1]]", OverloadError),
    ("x.a.map(i, i)", OverloadError),
    ("x.list.filter(i, i)", OverloadError),
    ("x.list.all(i, i)", OverloadError),
    ("[1, 'a'].sort()", OverloadError),
    ("[[1]].sort()", OverloadError),
    ("dyn([1, 2]).join('-')", OverloadError),
    ("x.zzz2(1)", OverloadError),
    ("nofunction(1)", OverloadError),
    ("x.a.or(optional.none())", OverloadError),
    ("[?x.a]", OverloadError),
    ("{?'a': 1}", OverloadError),
    ("{1.5: 2}", OverloadError),
    ("{[1]: 2}", OverloadError),
    ("{1: 1, 1u: 2}", ValueError_),
    ("a.b.C{d: 1}", OverloadError),
    ("x.list[dyn(1.5)]", ValueError_),
    ("optional.none().value()", ValueError_),
    ("'a'.charAt(2)", ValueError_),
    ("'abc'.substring(2, 1)", ValueError_),
    ("[1, 2].slice(0, 3)", ValueError_),
    ("lists.range(1000001)", ValueError_),
    ("int('1e3')", ValueError_),
    ("int('0x10')", ValueError_),
    ("double('a')", ValueError_),
    ("bool('yes')", ValueError_),
    ("string(b'\\xff')", ValueError_),
    ("timestamp('2024-02-30T00:00:00Z')", ValueError_),
    ("timestamp('2024-02-01 00:00:00Z')", ValueError_),
    ("duration('1 h')", ValueError_),
    ("duration('')", ValueError_),
    ("timestamp(0).getHours('Nowhere/City')", ValueError_),
    ("timestamp(0).getHours('../../etc/passwd')", ValueError_),
    ("'a'.matches('(')", ValueError_),
    ("'%d'.format(['a'])", ValueError_),
    ("'%d'.format([])", ValueError_),
    ("'%.101f'.format([1.0])", ValueError_),
    ("base64.decode('a')", ValueError_),
    ("[1, 2].transformMapEntry(i, v, {'k': v})", ValueError_),
    ("omit() == omit()", EvalError),
    ("[omit()] == [omit()]", EvalError),
    ("'a' + omit()", OverloadError),
]


@pytest.mark.parametrize(("text", "kind"), PENDING + HARD)
def test_errors_are_typed_and_placed(text: str, kind: type[EvalError]) -> None:
    with pytest.raises(EvalError) as caught:
        evaluate(text)
    assert type(caught.value) is kind
    assert caught.value.span is not None
    assert 0 <= caught.value.span[0] < caught.value.span[1] <= len(text)


def test_what_is_missing_is_pending_and_the_rest_is_not() -> None:
    assert all(issubclass(kind, PendingError) for _, kind in PENDING)
    assert not any(issubclass(kind, PendingError) for _, kind in HARD)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("1 + x.list[7] + 2", "x.list[7]"),
        ("x.a == 1 && 1 / 0 > 1", "1 / 0"),
        ("'a' + string(int('z'))", "int('z')"),
        ("y.map(p, p.ready)", "p.ready"),
        ("'a' + 'b' + x.a + 'c'", "'a' + 'b' + x.a"),
    ],
)
def test_the_span_of_an_error_is_the_innermost_node(text: str, part: str) -> None:
    with pytest.raises(EvalError) as caught:
        evaluate(text)
    assert caught.value.span is not None
    assert text[slice(*caught.value.span)] == part


def test_errors_carry_the_value_seen() -> None:
    with pytest.raises(NoSuchKeyError) as caught:
        evaluate("x.zzz")
    assert caught.value.value == "zzz"
    assert caught.value.message == "no such key: zzz"


def test_inputs_are_not_changed_and_a_program_can_be_used_again() -> None:
    program = ENV.program("x.list + [4]", check=False)
    data = {"x": {"list": [1, 2, 3]}}
    assert program.evaluate(data) == [1, 2, 3, 4]
    assert program.evaluate(data) == [1, 2, 3, 4]
    assert data == {"x": {"list": [1, 2, 3]}}
    assert program.evaluate({"x": {"list": ["a"]}}) == ["a", 4]


def test_a_call_site_serves_values_of_changing_types() -> None:
    program = ENV.program("size(x)", check=False)
    assert [program.evaluate({"x": value}) for value in ("ab", [1], {"a": 1, "b": 2}, b"abc")] == [2, 1, 2, 3]
    with pytest.raises(OverloadError):
        program.evaluate({"x": 1})
    assert program.evaluate({"x": "abc"}) == 3


def test_results_have_cel_types() -> None:
    assert type(evaluate("1u + 2u")) is UInt
    assert evaluate("optional.none()") is NONE
    assert isinstance(evaluate("x.?a"), Optional)
    assert evaluate("omit()") is OMIT
    assert map_keys(evaluate("{true: 1, 'a': 2}")) == [True, "a"]


@pytest.mark.parametrize(
    "text",
    [
        "lists.range(1000000).all(a, lists.range(1000000).all(b, a + b >= 0))",
        "lists.range(5000).map(a, lists.range(5000))",
        "['a'].map(s, " + "cel.bind(s, s + s + s + s, " * 20 + "s" + ")" * 20 + ")",
        "['aa'].map(s, " + "cel.bind(s, s.replace('', s), " * 20 + "s" + ")" * 20 + ")",
        "['aa'].map(s, " + "cel.bind(s, [s, s, s, s].join(s), " * 20 + "s" + ")" * 20 + ")",
        "[[1]].map(s, " + "cel.bind(s, s + s + s + s, " * 20 + "s" + ")" * 20 + ")",
        "['aaaa'].map(s, " + "cel.bind(s, '%s%s%s%s'.format([s, s, s, s]), " * 20 + "s" + ")" * 20 + ")",
        "lists.range(100000).map(a, lists.range(1000)).flatten().distinct()",
        "lists.range(3000).map(a, [a]).distinct()",
        "cel.bind(l, lists.range(10000), l.all(i, i in l))",
        "cel.bind(l, lists.range(10000), l.all(i, l == l))",
    ],
)
def test_a_runaway_expression_is_stopped(text: str) -> None:
    with pytest.raises(BudgetError):
        ENV.program(text, check=False).evaluate(DATA, budget=100_000)


def test_the_default_budget_stops_within_seconds() -> None:
    with pytest.raises(BudgetError, match="budget of 3000000 steps"):
        evaluate("lists.range(1000000).all(a, lists.range(1000000).all(b, a + b >= 0))")
    assert evaluate("lists.range(1000000).map(i, i * 2).filter(i, i > 10).size()") == 999_994


def test_the_budget_is_the_callers_choice() -> None:
    program = ENV.program("lists.range(1000).map(i, i)", check=False)
    assert len(program.evaluate({})) == 1000
    with pytest.raises(BudgetError, match="budget of 100 steps"):
        program.evaluate({}, budget=100)


def test_a_budget_error_is_not_absorbed() -> None:
    for text in ("lists.range(1000).all(i, true) || true", "[1].exists(a, lists.range(1000).all(i, true)) || true"):
        with pytest.raises(BudgetError):
            ENV.program(text, check=False).evaluate({}, budget=100)


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("1 / 0 == 1 || true", 1),
        ("1 / 0 == 1 || 2 / 0 == 1 || true", 2),
        ("[0, 0, 1].exists(d, 1 / d == 1)", 2),
        ("!{'a': 0, 'b': 0, 'c': 1}.all(k, d, 1 / d != 1)", 2),
    ],
)
def test_each_error_that_is_absorbed_is_paid(text: str, errors: int) -> None:
    meter = Meter(1000)
    assert ENV.program(text, check=False).evaluate({}, budget=meter) is True
    assert errors * ABSORBED <= meter.limit - meter.left < (errors + 1) * ABSORBED


@pytest.mark.parametrize(
    "text",
    [
        "1 / 0 == 1 || [].first()",
        "1 / 0 == 1 || [].first() || [].last()",
        "[0, 1].exists(d, d == 0 ? 1 / d == 1 : [].first())",
        "{'a': 0, 'b': 1}.all(k, d, d == 0 ? 1 / d == 1 : [].first())",
    ],
)
def test_the_first_error_is_raised_if_nothing_decides(text: str) -> None:
    with pytest.raises(EvalError, match="division by zero"):
        ENV.program(text, check=False).evaluate({})


FORMS = ("{v}.{n}", "{v}.`{n}`", "{v}['{n}']", "{v}.?{n}", "{v}[?'{n}']", "has({v}.{n})", "{v}.{n}()", "{v}.{n}.a")
ATTRIBUTES = ("__class__", "__dict__", "__globals__", "__init__", "__subclasses__", "__mro__", "__getattribute__", "ns")


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_nothing_of_python_can_be_reached(name: str) -> None:
    values = (
        *("x", "x.s", "x.list", "x.a", "x.n", "x.d", "b'a'", "1u", "int", "type(1)", "timestamp(0)", "duration('1s')"),
        *("optional.of(1)", "optional.none()", "omit()", "ip('10.0.0.1')", "quantity('1')", "url('http://a')"),
        *(
            "semver('1.0.0')",
            "cidr('10.0.0.0/8')",
            "runtime.newCondition({type: 'a', status: 'True'})",
            "size",
            "x.get",
        ),
    )
    for value in values:
        for form in FORMS:
            text = form.format(v=value, n=name)
            try:
                found = evaluate(text)
            except CelError:
                continue
            assert found is False or found is NONE, text
    for form in ("{n}", "{n}()", "[x].map({n}, {n})[0] == x", "{{'{n}': 1}}.{n} == 1", "'%s'.format([{n}])"):
        text = form.format(n=name)
        try:
            found = evaluate(text)
        except CelError:
            continue
        assert found is True, text


def test_checked_programs_refuse_what_cannot_be() -> None:
    with pytest.raises(CheckError):
        evaluate("1 + 'a'", check=True)
    assert evaluate("1 + 2", check=True) == 3
