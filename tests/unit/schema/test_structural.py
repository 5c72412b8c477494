"""Validation of values against structural schemas, as they stand and as they are after defaulting."""

from typing import Any

import pytest

from kroasync.schema.structural import OPEN, UNKNOWN, Misfit, Validator

AS_IT_STANDS, FILLED_IN = Validator(fills_in=False), Validator(fills_in=True)
BOTH = pytest.mark.parametrize("validator", [AS_IT_STANDS, FILLED_IN])
REQUIRED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
DEFAULTED = {"type": "object", "properties": {"a": {"type": "string", "default": "x"}}, "required": ["a"]}


@BOTH
@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        (1, {"type": "string"}, Misfit((), "type", "string", 1)),
        (True, {"type": "integer"}, Misfit((), "type", "integer", True)),
        (1.5, {"type": "integer"}, Misfit((), "type", "integer", 1.5)),
        ("c", {"enum": ["a", "b"]}, Misfit((), "enum", ["a", "b"], "c")),
        (1, {"minimum": 2}, Misfit((), "minimum", 2, 1)),
        ("abc", {"maxLength": 2}, Misfit((), "maxLength", 2, 3)),
        ([], {"minItems": 1}, Misfit((), "minItems", 1, 0)),
        ("b", {"pattern": "^a"}, Misfit((), "pattern", "^a", "b")),
        (["a", 1], {"items": {"type": "string"}}, Misfit((1,), "type", "string", 1)),
        ({"k": 1}, {"additionalProperties": {"type": "string"}}, Misfit(("k",), "type", "string", 1)),
        ({"a": "x", "z": 1}, REQUIRED, Misfit(("z",), UNKNOWN, REQUIRED["properties"], 1)),
        ({}, REQUIRED, Misfit(("a",), "required", True, None)),
    ],
)
def test_what_does_not_fit_is_found_with_its_place(
    validator: Validator, value: Any, schema: dict[str, Any], expected: Misfit
) -> None:
    assert list(validator.misfits(value, schema)) == [expected]


@BOTH
@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (2.0, {"type": "integer"}),
        (2, {"type": "integer", "minimum": 2, "maximum": 2}),
        ("a", {"pattern": "("}),
        ({"any": {"thing": 1}}, OPEN),
        ({"a": "x"}, REQUIRED),
    ],
)
def test_what_fits_is_accepted(validator: Validator, value: Any, schema: dict[str, Any]) -> None:
    assert list(validator.misfits(value, schema)) == []


@pytest.mark.parametrize(
    ("value", "schema", "keyword"),
    [
        ({}, DEFAULTED, "required"),
        ({"a": None}, DEFAULTED, "type"),
        (None, {"type": "string", "nullable": True}, "type"),
    ],
)
def test_a_default_helps_only_what_is_filled_in(value: Any, schema: dict[str, Any], keyword: str) -> None:
    assert [misfit.keyword for misfit in AS_IT_STANDS.misfits(value, schema)] == [keyword]
    assert list(FILLED_IN.misfits(value, schema)) == []


def test_a_required_field_that_is_null_is_missing_once_defaults_are_filled_in() -> None:
    assert [misfit.keyword for misfit in FILLED_IN.misfits({"a": None}, REQUIRED)] == ["required"]
