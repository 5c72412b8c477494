"""Data seen through its schema: formats, escaped names, null properties, lists that are sets or maps."""

# ruff: noqa: PT017 - the test does not know in advance whether there is an error

from typing import Any

import pytest

from kroasync.cel import CheckError, Env, EvalError, NoSuchKeyError, ParseError, ValueError_, to_json
from kroasync.schema.celtypes import SchemaTypes

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "created": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "wait": {"type": "string", "format": "duration"},
        "secret": {"type": "string", "format": "byte"},
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "note": {"type": "string"},
        "my-field": {"type": "string"},
        "namespace": {"type": "string"},
        "a.b/c": {"type": "string"},
        "times": {"type": "array", "items": {"type": "string", "format": "date-time"}},
        "ratios": {"type": "array", "items": {"type": "number"}},
        "data": {"type": "object", "additionalProperties": {"type": "string", "format": "byte"}},
        "weights": {"type": "object", "additionalProperties": {"type": "number"}},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "ports": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "port": {"type": "integer"}},
            },
        },
        "plain": {"type": "array", "items": {"type": "string"}},
        "inner": {"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}}},
        "inners": {
            "type": "array",
            "items": {"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}}},
        },
        "open": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {"a": {"type": "string"}},
        },
    },
}
DATA: dict[str, Any] = {
    "o": {
        "created": "2024-05-31T10:00:00.5Z",
        "day": "2024-05-31",
        "wait": "1h30m",
        "secret": "aGVsbG8=",
        "count": 3.0,
        "ratio": 2,
        "note": None,
        "my-field": "dashed",
        "namespace": "reserved",
        "a.b/c": "dotted",
        "times": ["2024-05-31T10:00:00Z", "2023-05-31T10:00:00Z"],
        "ratios": [1, 2.5],
        "data": {"k": "aGVsbG8="},
        "weights": {"a": 1, "b": 2},
        "tags": ["a", "b"],
        "ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53}],
        "plain": ["a", "b"],
        "inner": {"at": "2024-05-31T10:00:00Z"},
        "inners": [{"at": "2024-05-31T10:00:00Z"}, {}],
        "open": {"a": None, "other": None},
    }
}
TYPES = SchemaTypes({"o": SCHEMA})
ENV = Env(variables=TYPES.variables(), types=TYPES)


def evaluate(text: str) -> Any:
    return ENV.program(text).evaluate(DATA)


@pytest.mark.parametrize(
    "text",
    [
        "o.created.getFullYear() == 2024 && o.created > timestamp('2024-05-31T09:00:00Z')",
        "o.day == timestamp('2024-05-31T00:00:00Z')",
        "o.wait == duration('90m') && o.wait.getMinutes() == 90",
        "o.secret == b'hello' && string(o.secret) == 'hello'",
        "o.count + 1 == 4 && type(o.count) == int",
        "o.ratio / 4.0 == 0.5 && type(o.ratio) == double",
        "o.my__dash__field == 'dashed' && has(o.my__dash__field)",
        "o.namespace == 'reserved' && o.__namespace__ == 'reserved'",
        "o.a__dot__b__slash__c == 'dotted'",
        # null properties are absent
        "!has(o.note) && !o.?note.hasValue() && o.?note.orValue('x') == 'x'",
        "!has(o.open.a) && has(o.open.other)",
        # elements
        "o.times[0].getFullYear() == 2024 && o.times.all(t, t.getMonth() == 4)",
        "o.times.map(t, t.getFullYear()) == [2024, 2023] && o.times.sort()[0] == o.times[1]",
        "timestamp('2023-05-31T10:00:00Z') in o.times",
        "o.times.first().value().getFullYear() == 2024",
        "o.ratios.map(r, r / 2.0) == [0.5, 1.25] && type(o.ratios[0]) == double",
        "o.ratios.exists(r, type(r) == double && r == 1.0)",
        "o.data.k == b'hello' && o.data['k'] == b'hello' && o.data.?k.value() == b'hello'",
        "o.data.transformMap(k, v, string(v)) == {'k': 'hello'}",
        "o.data.all(k, o.data[k].size() == 5)",
        "o.weights.transformList(k, v, v / 2.0) == [0.5, 1.0]",
        "o.?created.value().getFullYear() == 2024 && o.?inner.at.value().getFullYear() == 2024",
        "o.inner.at.getFullYear() == 2024 && o.inners[0].at.getFullYear() == 2024",
        "o.inners.filter(i, has(i.at)).map(i, i.at.getFullYear()) == [2024]",
        "o.?created.optMap(t, t.getFullYear()).value() == 2024",
        "cel.bind(t, o.created, t.getFullYear()) == 2024",
        "(has(o.note) ? o.day : o.created).getHours() == 10",
        # lists that are sets and maps
        "o.tags == ['b', 'a'] && o.tags != ['a'] && !(o.tags == ['a', 'c'])",
        "o.plain != ['b', 'a']",
        "o.tags + ['b', 'c'] == ['c', 'b', 'a']",
        "(o.tags + ['b', 'c']).size() == 3 && (o.tags + ['c'] + ['c']).size() == 3",
        "(o.plain + ['b']).size() == 3",
        "o.ports == [o.ports[1], o.ports[0]] && o.ports != [o.ports[0], o.ports[0]]",
        "(o.ports + o.ports).size() == 2",
    ],
)
def test_values_are_what_the_schema_says(text: str) -> None:
    assert evaluate(text) is True


def test_a_null_property_is_pending() -> None:
    with pytest.raises(NoSuchKeyError) as caught:
        evaluate("o.note + 'x'")
    assert caught.value.value == "note"


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("count", 1.5, "o.count"),
        ("created", "yesterday", "o.created"),
        ("wait", "long", "o.wait"),
        ("secret", "!!", "o.secret"),
        ("times", ["2024-05-31T10:00:00Z", "no"], "o.times.map(t, t)"),
        ("times", ["no"], "o.times[0]"),
    ],
)
def test_data_that_breaks_its_schema_is_a_placed_error(field: str, value: Any, text: str) -> None:
    with pytest.raises(ValueError_) as caught:
        ENV.program(text).evaluate({"o": {field: value}})
    assert caught.value.span is not None


@pytest.mark.parametrize("value", ["text", 1, None, [1], {"a": 1}, True, 1.5])
def test_data_of_another_shape_never_breaks_out(value: Any) -> None:
    """Every field with every wrong value: a result or a typed error."""
    for field in SCHEMA["properties"]:
        for text in (
            "o.{f}",
            "o.{f}.a",
            "o.{f}[0]",
            "o.{f} == o.{f}",
            "size(dyn(o.{f}))",
            "has(o.{f})",
            "dyn(o.{f}).map(x, x)",
        ):
            try:
                program = ENV.program(text.format(f=field))
            except (CheckError, ParseError):
                continue
            try:
                program.evaluate({"o": {field: value}})
            except EvalError as error:
                assert error.span is not None


def test_results_keep_objects_as_stored_and_render_lists() -> None:
    assert to_json(evaluate("o.inner")) == {"at": "2024-05-31T10:00:00Z"}
    assert to_json(evaluate("o.data")) == {"k": "aGVsbG8="}
    assert to_json(evaluate("o.times")) == ["2024-05-31T10:00:00Z", "2023-05-31T10:00:00Z"]
    assert to_json(evaluate("o.created")) == "2024-05-31T10:00:00Z"
    assert to_json(evaluate("o.wait")) == "1h30m0s"


def test_data_is_not_changed() -> None:
    before = repr(DATA)
    evaluate("o.ports + o.ports")
    evaluate("o.ratios.map(r, r)")
    assert repr(DATA) == before
