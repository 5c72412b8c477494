"""The marker lexer, and the effect of each marker on a schema."""

import json
from typing import Any

import pytest

from kroasync.schema import markers
from kroasync.schema.markers import Marker

STRING, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
BOOLEAN, ARRAY, OBJECT = {"type": "boolean"}, {"type": "array", "items": STRING}, {"type": "object"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("   ", []),
        ("required=true", [Marker("required", "true")]),
        (" required=true   default=foo  ", [Marker("required", "true"), Marker("default", "foo")]),
        (
            'default=["key": "value"] required=true',
            [Marker("default", '["key": "value"]'), Marker("required", "true")],
        ),
        (
            'default={"key": "value"} description="A complex \\"description\\"" required=true',
            [
                Marker("default", '{"key": "value"}'),
                Marker("description", 'A complex "description"'),
                Marker("required", "true"),
            ],
        ),
        (
            r'description="This has \"quotes\" and a \n newline" default="\"quoted\""',
            [Marker("description", r'This has "quotes" and a \n newline'), Marker("default", '"quoted"')],
        ),
        (r'pattern="^(foo|bar)\d{2,4}$"', [Marker("pattern", r"^(foo|bar)\d{2,4}$")]),
        ("pattern=^[a-z]+$", [Marker("pattern", "^[a-z]+$")]),
        ("validation=\"self.a == 'b' && x != 'c'\"", [Marker("validation", "self.a == 'b' && x != 'c'")]),
        ('default=""', [Marker("default", "")]),
        ("default=", [Marker("default", "")]),
        ('default={"a": ["}"]}', [Marker("default", '{"a": ["}"]}')]),
        (r'default="back\\slash"', [Marker("default", r"back\slash")]),
        ("default=a=b", [Marker("default", "a=b")]),
    ],
)
def test_lexer_splits(text: str, expected: list[Marker]) -> None:
    assert markers.lex(text) == (expected, [])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("invalid=true", 'invalid marker key "invalid": unknown marker: invalid'),
        ('description="Unclosed quote', "unclosed quote"),
        ('default="', "unclosed quote"),
        ('default={"unclosed": "brace"', "unclosed bracket/brace"),
        ("=value", "empty marker key"),
        ("default=}", "unmatched closing bracket/brace"),
        ("optional", "marker key 'optional' without a value"),
        ('description="d" optional', "marker key 'optional' without a value"),
        (
            'optional description="d"',
            'invalid marker key "optionaldescription": unknown marker: optionaldescription',
        ),
        ("default=1 | minimum=1", 'invalid marker key "|minimum": unknown marker: |minimum'),
        ("required = true", "marker key 'true' without a value"),
    ],
)
def test_lexer_reports(text: str, error: str) -> None:
    assert error in markers.lex(text)[1]


def test_lexer_reports_every_unknown_key() -> None:
    found, errors = markers.lex("a=1 required=true b=2")
    assert found == [Marker("required", "true")]
    assert len(errors) == 2


def apply(schema: dict[str, Any], text: str) -> tuple[dict[str, Any], bool, list[str]]:
    found, errors = markers.lex(text)
    assert errors == []
    return markers.apply(schema, found)


@pytest.mark.parametrize(
    ("schema", "text", "added"),
    [
        (STRING, "default=x", {"default": "x"}),
        (STRING, r'default="a\nb"', {"default": "a\nb"}),
        (STRING, 'default="say \\"hi\\""', {"default": 'say "hi"'}),
        (STRING, r'default="\ud800"', {"default": r"\ud800"}),
        (STRING, r'default="\d+"', {"default": r"\d+"}),
        (INTEGER, "default=+5", {"default": 5}),
        (INTEGER, "default=007", {"default": 7}),
        (NUMBER, "default=1.50", {"default": 1.5}),
        (NUMBER, "default=2", {"default": 2}),
        (BOOLEAN, "default=T", {"default": True}),
        (BOOLEAN, "default=0", {"default": False}),
        (ARRAY, 'default=["a", "b"]', {"default": ["a", "b"]}),
        (OBJECT, 'default={"a": {"b": [1.5]}}', {"default": {"a": {"b": [1.5]}}}),
        (OBJECT, "default=null", {}),
        (STRING, 'description="some text"', {"description": "some text"}),
        (NUMBER, "minimum=0.5 maximum=99.5", {"minimum": 0.5, "maximum": 99.5}),
        (INTEGER, "minimum=1 maximum=1e3", {"minimum": 1, "maximum": 1000}),
        (STRING, 'enum="a, b,c"', {"enum": ["a", "b", "c"]}),
        (INTEGER, 'enum="1,2,3"', {"enum": [1, 2, 3]}),
        (STRING, "minLength=0 maxLength=5", {"minLength": 0, "maxLength": 5}),
        (ARRAY, "minItems=0 maxItems=5", {"minItems": 0, "maxItems": 5}),
        (ARRAY, "uniqueItems=true", {"x-kubernetes-list-type": "set"}),
        (ARRAY, "uniqueItems=false", {}),
        (ARRAY, "listType=atomic", {"x-kubernetes-list-type": "atomic"}),
        (ARRAY, "listType=set uniqueItems=true", {"x-kubernetes-list-type": "set"}),
        (
            ARRAY,
            "listMapKey=name listMapKey=namespace listType=map",
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "namespace"]},
        ),
        (STRING, r'pattern="^(a|b)\d$"', {"pattern": r"^(a|b)\d$"}),
        (STRING, "immutable=false", {}),
        (
            STRING,
            'immutable=true validation="r"',
            {
                "x-kubernetes-validations": [
                    {"rule": "self == oldSelf", "message": "field is immutable"},
                    {"rule": "r", "message": "validation failed"},
                ]
            },
        ),
        (
            STRING,
            'validation="r" immutable=true immutable=true',
            {
                "x-kubernetes-validations": [
                    {"rule": "r", "message": "validation failed"},
                    {"rule": "self == oldSelf", "message": "field is immutable"},
                ]
            },
        ),
    ],
)
def test_marker_adds_keywords(schema: dict[str, Any], text: str, added: dict[str, Any]) -> None:
    before = dict(schema)
    found, required, errors = apply(schema, text)
    assert (found, required, errors) == ({**schema, **added}, False, [])
    assert json.dumps(found, sort_keys=True) == json.dumps({**schema, **added}, sort_keys=True)
    assert schema == before


@pytest.mark.parametrize(
    ("schema", "text", "error"),
    [
        (STRING, "required=invalid", "failed to parse required marker value"),
        (STRING, "immutable=invalid", "failed to parse immutable marker value"),
        (ARRAY, "uniqueItems=invalid", "failed to parse uniqueItems marker value"),
        (INTEGER, "default=hello", "default value must be a valid integer, got: hello"),
        (INTEGER, "default=3.14", "default value must be a valid integer, got: 3.14"),
        (INTEGER, "default=9223372036854775808", "default value must be a valid integer"),
        (NUMBER, "default=notanumber", "default value must be a valid number, got: notanumber"),
        (NUMBER, "default=NaN", "default value must be a valid number, got: NaN"),
        (NUMBER, "default=1e999", "default value must be a valid number"),
        (BOOLEAN, "default=maybe", "default value must be a valid boolean, got: maybe"),
        (BOOLEAN, "default=yes", "default value must be a valid boolean, got: yes"),
        (ARRAY, 'default=["key": "value"]', "default value must be a valid array"),
        (ARRAY, "default={}", "default value must be a valid array, got: {}"),
        (OBJECT, "default=[]", "default value must be a valid object, got: []"),
        (OBJECT, 'default={"a": NaN}', "default value must be a valid object"),
        (OBJECT, 'default={"a": 1e999}', "default value must be a valid object"),
        (OBJECT, 'default={"a": "\\ud800"}', "default value must be a valid object"),
        (OBJECT, "default=" + "[" * 50_000 + "]" * 50_000, "default value must be a valid object"),
        (INTEGER, "minimum=notanumber", "failed to parse minimum enum value"),
        (INTEGER, "maximum=inf", "failed to parse maximum enum value"),
        (STRING, 'validation=" "', "validation failed"),
        (STRING, 'pattern=""', "pattern marker value cannot be empty"),
        (STRING, 'pattern="[unclosed"', "invalid pattern regex"),
        (STRING, 'pattern="(?=a)"', "invalid pattern regex"),
        (INTEGER, 'pattern="a"', "pattern marker is only valid for string types, got type: integer"),
        (STRING, "minLength=abc", "failed to parse minLength value"),
        (STRING, "maxLength=1.5", "failed to parse maxLength value"),
        (INTEGER, "minLength=1", "minLength marker is only valid for string types, got type: integer"),
        (BOOLEAN, "maxLength=1", "maxLength marker is only valid for string types, got type: boolean"),
        (ARRAY, "minItems=abc", "failed to parse minItems value"),
        (STRING, "minItems=1", "minItems marker is only valid for array types, got type: string"),
        (INTEGER, "maxItems=1", "maxItems marker is only valid for array types, got type: integer"),
        (INTEGER, 'enum="1,2,abc"', "failed to parse integer enum value"),
        (STRING, 'enum="a,,c"', "empty enum values are not allowed"),
        (
            BOOLEAN,
            'enum="true"',
            "enum values only supported for string and integer types, got type: boolean",
        ),
        (STRING, "uniqueItems=true", "uniqueItems marker is only valid for array types, got type: string"),
        (STRING, "listType=set", "listType marker only applies to array types"),
        (STRING, "listMapKey=a", "listMapKey marker only applies to array types"),
        (
            ARRAY,
            "listType=invalid",
            "unsupported value for listType invalid, needs to be one of atomic, set, or map",
        ),
        (ARRAY, "listType=map uniqueItems=true", "cannot set unique when listType is set to map"),
        (ARRAY, "uniqueItems=true listType=map", "listType attempting to overwrite set type of set"),
        (ARRAY, "listMapKey=name", "listMapKey set while listType is unset, listType must be set to map"),
        (
            ARRAY,
            "listType=set listMapKey=name",
            "listMapKey set while listType is set to set, listType must be set",
        ),
        (ARRAY, "listType=map listMapKey=a listMapKey=a", "duplicate listMapKey marker, value a"),
    ],
)
def test_marker_that_does_not_fit_is_reported(schema: dict[str, Any], text: str, error: str) -> None:
    _, _, errors = apply(schema, text)
    assert len(errors) == 1
    assert errors[0].startswith(error)


def test_every_marker_has_a_case_above() -> None:
    source = {name for name in markers.APPLIERS if name not in ("required",)}
    cases = " ".join(text for mark in test_marker_adds_keywords.pytestmark for _, text, _ in mark.args[1])
    assert {name for name in source if f"{name}=" not in cases} == set()


def test_required_counts_if_any_marker_says_so() -> None:
    assert apply(STRING, "required=true required=false")[1]
    assert not apply(STRING, "required=false")[1]


def test_all_errors_of_a_field_are_reported() -> None:
    _, _, errors = apply(INTEGER, "minLength=1 default=x pattern=a")
    assert len(errors) == 3
