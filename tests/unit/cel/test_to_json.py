"""Values to JSON: the rules for resources and statuses."""

from typing import Any

import pytest

from kroasync.cel import OMIT, ConversionError, Env, to_json
from kroasync.cel.types import DYN

ENV = Env(variables={"x": DYN})


def result(text: str, **variables: Any) -> Any:
    return to_json(ENV.program(text).evaluate(variables))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("-1", -1),
        ("1.5", 1.5),
        ("'a'", "a"),
        ("null", None),
        ("9223372036854775807u", 2**63 - 1),
        ("duration('90m')", "1h30m0s"),
        ("duration('1ms')", "1ms"),
        ("duration('-1.5s')", "-1.5s"),
        ("duration('1500ns')", "1.5µs"),
        ("duration('0')", "0s"),
        ("timestamp('2024-05-31T10:00:00.999+02:00')", "2024-05-31T08:00:00Z"),
        ("timestamp('0001-01-01T00:00:00Z')", None),
        ("[1, [2u, duration('1s')], {'a': [null]}]", [1, [2, "1s"], {"a": [None]}]),
        ("optional.of([1])", [1]),
        ("optional.none()", None),
        ("{'a': optional.none()}", {"a": None}),
        ("[optional.of(1u)]", [1]),
    ],
)
def test_values(text: str, value: Any) -> None:
    found = result(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9223372036854775808u", "unsupported type: uint value 9223372036854775808 overflows int64"),
        ("b'a'", "unsupported type: bytes value cannot be used directly in a resource template or status field"),
        ("[b'a']", "unsupported type: bytes value"),
        ("{'a': b'a'}", "unsupported type: bytes value"),
        ("{1: 'a'}", "map key must be string, got int64"),
        ("{1u: 'a'}", "map key must be string, got uint64"),
        ("{true: 'a'}", "map key must be string, got bool"),
        ("int", "unsupported type: type"),
        ("quantity('1')", "unsupported type: kubernetes.Quantity"),
        ("[ip('10.0.0.1')]", "unsupported type: net.IP"),
        ("cidr('10.0.0.0/8')", "unsupported type: net.CIDR"),
        ("url('http://a')", "unsupported type: kubernetes.URL"),
        ("runtime.newCondition({type: 'a', status: 'True'})", "unsupported type: kro.run.Condition"),
        ("0.0 / 0.0", "has no form in JSON"),
        ("1.0 / 0.0", "has no form in JSON"),
    ],
)
def test_what_json_cannot_hold(text: str, message: str) -> None:
    with pytest.raises(ConversionError) as caught:
        result(text)
    assert message in caught.value.message


def test_omit_stays_for_the_caller() -> None:
    found = to_json(Env().program("{'a': omit(), 'b': [omit()]}").evaluate({}))
    assert found == {"a": OMIT, "b": [OMIT]}


def test_results_share_nothing_with_the_data() -> None:
    data = {"a": {"b": [{"c": 1}]}}
    found = result("x", x=data)
    assert found == data
    found["a"]["b"][0]["c"] = 2
    found["a"]["b"].append(3)
    assert data == {"a": {"b": [{"c": 1}]}}


def test_a_small_value_that_is_huge_in_json_is_refused() -> None:
    text = "cel.bind(a, [1, 1, 1, 1], " + "cel.bind(a, [a, a, a, a], " * 30 + "a" + ")" * 31
    with pytest.raises(ConversionError, match="more than 1000000 elements"):
        result(text)


def test_values_nested_too_deeply_are_refused() -> None:
    value: Any = 1
    for _ in range(1000):
        value = [value]
    with pytest.raises(ConversionError, match="nested too deeply"):
        to_json(value)
    assert to_json([[[1]]]) == [[[1]]]
