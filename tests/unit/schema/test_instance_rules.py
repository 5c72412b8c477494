"""Rules in CEL, sets and lists with keys: what the API server refuses of an instance, beside the types of its values."""

# ruff: noqa: E501  (a case is one line of its table)

from typing import Any

import pytest

from kroasync.schema.instance_rules import InstanceRules

STRING = {"type": "string"}


def rule(text: str, **more: Any) -> dict[str, Any]:
    return {"x-kubernetes-validations": [{"rule": text, "message": "validation failed"}], **more}


def broken(spec: Any, schema: dict[str, Any], *invalid: tuple[str | int, ...]) -> list[str]:
    rules = InstanceRules({"type": "object", "properties": {"spec": schema, "status": rule("false", type="object")}})
    return [f"{found.where}: {found.message}" for found in rules.broken({"spec": spec, "status": {}}, invalid)]


def spec(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        ({"a": 3}, spec(a=rule("self % 2 == 0", type="integer")), ["spec.a: expected self % 2 == 0, found 3"]),
        ({"a": 4}, spec(a=rule("self % 2 == 0", type="integer")), []),
        ({}, spec(a=rule("self % 2 == 0", type="integer")), []),
        # Defaults are filled in first, also those below a default.
        ({}, spec(a=rule("self > 5", type="integer", default=3)), ["spec.a: expected self > 5, found 3"]),
        ({"a": None}, spec(a=rule("self > 5", type="integer", default=6)), []),
        ({"a": 1}, spec(a=rule("self > 0.5", type="number")), []),
        (
            {"low": 5, "high": 3},
            {**spec(low={"type": "integer"}, high={"type": "integer"}), **rule("self.low <= self.high")},
            ['spec: expected self.low <= self.high, found {"low": 5, "high": 3}'],
        ),
        ({"a-b": 1}, {**spec(**{"a-b": {"type": "integer"}}), **rule("self.a__dash__b == 1")}, []),
        ({"l": ["a", "bb"]}, spec(l={"type": "array", "items": rule("size(self) < 2", **STRING)}), ['spec.l[1]: expected size(self) < 2, found "bb"']),
        ({"m": {"k": "bb"}}, spec(m={"type": "object", "additionalProperties": rule("size(self) < 2", **STRING)}), ['spec.m.k: expected size(self) < 2, found "bb"']),
        ({"l": []}, spec(l=rule("self[0] == 'a'", type="array", items=STRING)), ["spec.l: expected self[0] == 'a', found an error: index out of bounds: 0"]),
        # A rule about a change, and one that does not compile, are left to the API server.
        ({"a": 3}, spec(a=rule("self == oldSelf", type="integer")), []),
        ({"a": 3}, spec(a=rule("self.nope(", type="integer")), []),
        (
            {"a": 3},
            spec(a={"type": "integer", "x-kubernetes-validations": [{"rule": "self > 3", "message": "too small"}]}),
            ["spec.a: too small: expected self > 3, found 3"],
        ),
    ],
)  # fmt: skip
def test_rules_in_cel(value: Any, schema: dict[str, Any], expected: list[str]) -> None:
    assert broken(value, schema) == expected


def test_a_value_with_an_invalid_part_is_not_judged() -> None:
    schema = {**spec(a=rule("self > 5", type="integer"), b=rule("self > 5", type="integer")), **rule("false")}
    assert broken({"a": 1, "b": 1}, schema, ("spec", "b")) == ["spec.a: expected self > 5, found 1"]


@pytest.mark.parametrize(
    ("items", "list_schema", "expected"),
    [
        (["a", "b", "a"], {"x-kubernetes-list-type": "set"}, ['spec[2]: expected no duplicates, found "a", which is item 0, too']),
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1}], {"x-kubernetes-list-type": "set"}, ['spec[1]: expected no duplicates, found {"b": 2, "a": 1}, which is item 0, too']),
        ([1, True, "1", None], {"x-kubernetes-list-type": "set"}, []),
        (["a", "a"], {"x-kubernetes-list-type": "atomic"}, []),
        (["a", "a"], {}, []),
        ([{"k": 1, "v": 1}, {"k": 1, "v": 2}, {"k": 2}], {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}, ['spec[1]: expected no duplicates, found {"k": 1}, which is item 0, too']),
    ],
)  # fmt: skip
def test_sets_and_lists_with_keys(items: list[Any], list_schema: dict[str, Any], expected: list[str]) -> None:
    assert broken(items, {"type": "array", "items": {"type": "object"}, **list_schema}) == expected
