"""kro's own functions: their results and their errors."""

import base64
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kroasync.cel.env import Env
from kroasync.cel.errors import BudgetError, CheckError, EvalError, OverloadError, ValueError_
from kroasync.cel.types import DYN
from kroasync.cel.values import OMIT, Condition, Duration, Timestamp, UInt

ENV = Env(variables={"x": DYN, "z": DYN})


def value_of(expression: str, **variables: Any) -> Any:
    return ENV.program(expression).evaluate(variables)


VALUES = [
    ("random.seededString(10, 'test-seed')", "5czheg3o5c"),
    ("random.seededString(20, 'test-seed')", "5czheg3o5czheg3o5czh"),
    ("random.seededString(1, '')", "e"),
    ("random.seededInt(0, 100, 'test-seed')", 56),
    ("random.seededInt(30000, 32768, 'my-service')", 31247),
    ("random.seededInt(-100, -50, 'seed')", -58),
    ("random.seededInt(5, 6, 'seed')", 5),
    ("hash.fnv64a('hello world')", bytes.fromhex("779a65e7023cd2e7")),
    ("hash.fnv64a('')", bytes.fromhex("cbf29ce484222325")),
    ("hash.md5('hello world')", bytes.fromhex("5eb63bbbe01eeed093cb22bb8f5acdc3")),
    (
        "hash.sha256('hello world')",
        bytes.fromhex("b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"),
    ),
    ("json.marshal(b'hello')", '"aGVsbG8="'),
    ("json.marshal(18446744073709551615u)", "18446744073709551615"),
    ("json.marshal({'b': [1, 2.0, null], 'a': {}})", '{"a":{},"b":[1,2,null]}'),
    ("json.marshal([])", "[]"),
    ("json.marshal('<a & b>\u2028')", '"\\u003ca \\u0026 b\\u003e\\u2028"'),
    ("json.marshal(r'\"\\' + '\\n\\t')", '"\\"\\\\\\n\\t"'),
    ("json.marshal('ä日')", '"ä日"'),
    ("json.marshal(timestamp('2020-01-01T00:00:00.5Z'))", '"2020-01-01T00:00:00Z"'),
    ("json.marshal(duration('90m'))", '"1h30m0s"'),
    ("json.marshal(optional.of(1))", "1"),
    ("json.marshal(optional.none())", "null"),
    ('json.unmarshal(\'{"a": [1, 2.5, true, null, "x"]}\')', {"a": [1.0, 2.5, True, None, "x"]}),
    ("json.unmarshal(' 7 ')", 7.0),
    ('json.unmarshal(\'{"a": 1, "a": 2}\')', {"a": 2.0}),
    (r"json.unmarshal('\"\\ud800\"')", "\ufffd"),
    (r"json.unmarshal('{\"\\ud800\": [\"\\udc00x\"]}')", {"\ufffd": ["\ufffdx"]}),
    ("{'a': {'x': 1}}.merge({'a': {'y': 3}})", {"a": {"y": 3}}),
    ("{'a': {'b': {'c': 1, 'd': 2}}}.deepMerge({'a': {'b': {'d': 9}}})", {"a": {"b": {"c": 1, "d": 9}}}),
    ("{'a': [1]}.deepMerge({'a': [2]})", {"a": [2]}),
    ("{'a': 1}.deepMerge({'a': {'x': 1}})", {"a": {"x": 1}}),
    ("{'a': {'x': 1}}.deepMerge({'a': null})", {"a": None}),
    ("lists.setAtIndex(['a', 'b'], 1, 'z')", ["a", "z"]),
    ("lists.insertAtIndex([1, 2], 2, 3)", [1, 2, 3]),
    ("lists.insertAtIndex([], 0, 3)", [3]),
    ("lists.removeAtIndex([42], 0)", []),
    ("runtime.newCondition({type: 'A', status: 'True'})", Condition("A", "True", "", "")),
    (
        "runtime.newCondition({status: 'Unknown', message: 'm', type: 'A', reason: 'R'})",
        Condition("A", "Unknown", "R", "m"),
    ),
    ("runtime.newCondition({type: 'A', status: 'True'}) == runtime.newCondition({type: 'A', status: 'True'})", True),
    ("runtime.newCondition({type: 'A', status: 'False', reason: 'R'}).reason", "R"),
]


@pytest.mark.parametrize(("expression", "value"), VALUES, ids=[row[0] for row in VALUES])
def test_value(expression: str, value: Any) -> None:
    assert value_of(expression) == value


REFUSED = [
    ("random.seededString(0, 's')", ValueError_, "random.seededString length must be positive"),
    ("random.seededString(-1, 's')", ValueError_, "random.seededString length must be positive"),
    ("random.seededString(dyn('10'), 's')", OverloadError, "no such overload"),
    ("random.seededInt(5, 5, 's')", ValueError_, "random.seededInt min must be less than max"),
    ("random.seededInt(10, 5, 's')", ValueError_, "random.seededInt min must be less than max"),
    ("json.unmarshal('')", ValueError_, "json.unmarshal failed to parse JSON: unexpected end of JSON input"),
    ("json.unmarshal('[1')", ValueError_, "unexpected end of JSON input"),
    ("json.unmarshal('{\"invalid\"}')", ValueError_, "json.unmarshal failed to parse JSON: invalid character '}'"),
    ("json.unmarshal('NaN')", ValueError_, "json.unmarshal failed to parse JSON: invalid character 'N'"),
    ("json.unmarshal('-Infinity')", ValueError_, "json.unmarshal failed to parse JSON"),
    ("json.unmarshal('1e999')", ValueError_, "out of range"),
    ("json.unmarshal('01')", ValueError_, "json.unmarshal failed to parse JSON"),
    ("json.unmarshal('\"a\\nb\"')", ValueError_, "json.unmarshal failed to parse JSON"),
    ("json.marshal({1: 2})", ValueError_, "json.marshal failed to convert value: map key must be string, got int"),
    ("json.marshal({true: 2})", ValueError_, "map key must be string, got bool"),
    ("json.marshal(0.0 / 0.0)", ValueError_, "json.marshal failed to encode value: json: unsupported value: NaN"),
    ("json.marshal(-1.0 / 0.0)", ValueError_, "unsupported value: -Inf"),
    ("json.marshal(quantity('1'))", ValueError_, "unsupported type: kubernetes.Quantity"),
    ("json.marshal(type(1))", ValueError_, "unsupported type"),
    ("[1].deepMerge({'a': 1})", OverloadError, "no such overload"),
    ("'a'.deepMerge({'a': 1})", OverloadError, "no such overload"),
    ("{'a': 1}.deepMerge(1)", OverloadError, "no such overload"),
    ("lists.setAtIndex([1], -1, 2)", ValueError_, "lists.setAtIndex: index -1 out of bounds [0, 1)"),
    ("lists.setAtIndex([1], 1, 2)", ValueError_, "lists.setAtIndex: index 1 out of bounds [0, 1)"),
    ("lists.insertAtIndex([1], 2, 2)", ValueError_, "lists.insertAtIndex: index 2 out of bounds [0, 1]"),
    ("lists.removeAtIndex([], 0)", ValueError_, "lists.removeAtIndex: index 0 out of bounds [0, 0)"),
    ("omit() == omit()", EvalError, "omit() is a field-removal sentinel and cannot be compared"),
    ("'a-' + omit()", OverloadError, "no such overload"),
    ("omit() + 1", OverloadError, "no such overload"),
    ("runtime.newCondition({type: '', status: 'True'})", ValueError_, "type must not be empty"),
    (
        "runtime.newCondition({type: 'A', status: 'YES'})",
        ValueError_,
        'runtime.newCondition: status must be one of True, False, Unknown (got "YES")',
    ),
]


@pytest.mark.parametrize(("expression", "error", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusal(expression: str, error: type[EvalError], message: str) -> None:
    with pytest.raises(error) as caught:
        value_of(expression)
    assert message in caught.value.message


@pytest.mark.parametrize(
    "expression",
    [
        "random.seededString('10', 's')",
        "random.seededString(10, 123)",
        "random.seededString(10)",
        "random.seededInt(1, 2)",
        "hash.sha256(123)",
        "hash.md5(b'a')",
        "hash.fnv64a(1)",
        "json.unmarshal(123)",
        "lists.removeAtIndex([1], '0')",
        "lists.setAtIndex([1], 0, 'a')",
        "omit(1)",
        "condition(x, 'A')",
        "newCondition({})",
    ],
)
def test_wrong_arguments_fail_the_check(expression: str) -> None:
    with pytest.raises(CheckError):
        ENV.program(expression)


@pytest.mark.parametrize(
    "index", ["lists.setAtIndex([1], 5, 1)", "lists.removeAtIndex([1], 5)", "lists.insertAtIndex([1], 5, 1)"]
)
def test_an_index_out_of_bounds_is_an_error_and_not_pending(index: str) -> None:
    with pytest.raises(EvalError) as caught:
        value_of(index)
    assert "index out of bounds" not in caught.value.message


def test_omit_gives_the_sentinel() -> None:
    assert value_of("omit()") is OMIT
    assert value_of("[1, omit()]")[1] is OMIT


STATUS = {"status": {"conditions": [{"type": "A", "status": "True", "reason": "R"}, "nonsense", {"type": "B"}]}}


@pytest.mark.parametrize(
    ("subject", "type_", "condition"),
    [
        (STATUS, "A", Condition("A", "True", "R", "")),
        (STATUS, "B", Condition("B", "", "", "")),
        (STATUS, "C", Condition("", "", "", "")),
        ({}, "A", Condition("", "", "", "")),
        ({"status": None}, "A", Condition("", "", "", "")),
        ({"status": {"conditions": "no"}}, "A", Condition("", "", "", "")),
        ("text", "A", Condition("", "", "", "")),
    ],
)
def test_a_condition_is_looked_up_in_the_status(subject: Any, type_: str, condition: Condition) -> None:
    assert value_of("runtime.condition(x, z)", x=subject, z=type_) == condition


def test_inputs_stay_unchanged() -> None:
    left, right = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert value_of("x.deepMerge(z)", x=left, z=right) == {"a": {"b": 1, "c": 2}}
    assert (left, right) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_deep_data_is_merged_and_marshalled_without_overflow() -> None:
    deep: dict[str, Any] = {}
    for _ in range(400):
        deep = {"a": deep}
    assert value_of("json.marshal(x.deepMerge(z))", x=deep, z=deep).count("{") == 401


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("json.unmarshal(x)", ValueError_),
        ("json.marshal(z)", ValueError_),
        ("random.seededString(1000000000000, 's')", BudgetError),
    ],
)
def test_extreme_input_ends_with_a_clear_error(expression: str, error: type[EvalError]) -> None:
    nested: list[Any] = []
    for _ in range(600):
        nested = [nested]
    with pytest.raises(error):
        value_of(expression, x="[" * 200_000, z=nested)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_survive_json(number: float) -> None:
    text = value_of("json.marshal(x)", x=number)
    assert float(text) == number
    assert math.copysign(1, float(text)) == math.copysign(1, number)
    assert value_of("json.unmarshal(x)", x=text) == number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (1e20, "100000000000000000000"),
        (1.5e17, "150000000000000000"),
        (123456789012345680.0, "123456789012345680"),
        (1e21, "1e+21"),
        (-1.5e300, "-1.5e+300"),
        (0.000001, "0.000001"),
        (0.0000015, "0.0000015"),
        (1e-7, "1e-7"),
        (1.25e-300, "1.25e-300"),
    ],
)
def test_doubles_are_written_as_go_writes_them(number: float, text: str) -> None:
    assert value_of("json.marshal(x)", x=number) == text


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(json_values)
def test_json_survives_the_way_there_and_back(value: Any) -> None:
    assert value_of("json.unmarshal(json.marshal(x))", x=value) == value


@given(st.text(), st.integers(1, 50))
def test_seeded_strings_repeat_after_eight_characters(seed: str, length: int) -> None:
    text = value_of("random.seededString(z, x)", x=seed, z=length)
    assert len(text) == length
    assert all(text[index] == text[index % 8] for index in range(length))


@given(st.binary(max_size=20))
def test_bytes_are_marshalled_as_base64(raw: bytes) -> None:
    assert value_of("json.marshal(x)", x=raw) == f'"{base64.b64encode(raw).decode()}"'


def test_values_of_every_kind_can_be_marshalled() -> None:
    data = [UInt(1), Timestamp(0), Duration(0), b"", "", 1, 1.5, True, None, [], {}]
    assert value_of("json.marshal(x)", x=data) == '[1,"1970-01-01T00:00:00Z","0s","","",1,1.5,true,null,[],{}]'
