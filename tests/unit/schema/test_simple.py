"""SimpleSchema to OpenAPI, for whole definitions."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kroasync.model.problems import Problem, Severity
from kroasync.schema import simple
from kroasync.schema.structural import UNREADABLE

ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def built(spec: dict[str, Any], types: dict[str, Any] | None = None) -> dict[str, Any]:
    schema, problems = simple.build(spec, types or {})
    assert problems == []
    return schema


def faults(spec: dict[str, Any], types: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    return [(p.where, p.message) for p in simple.build(spec, types or {})[1]]


def array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def mapping(values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}


S, I = {"type": "string"}, {"type": "integer"}  # noqa: E741


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("string", S),
        (" integer ", I),
        ("boolean", {"type": "boolean"}),
        ("float", {"type": "number"}),
        ("object", ANYTHING),
        ("[]string", array(S)),
        ("[] string", array(S)),
        ("[][]string", array(array(S))),
        ("map[string]string", mapping(S)),
        ("map[string]map[string]string", mapping(mapping(S))),
        ("[]map[string]string", array(mapping(S))),
        ("map[string] []integer", mapping(array(I))),
        ("Person", {"type": "object", "properties": {"name": S}}),
        ("[]Person", array({"type": "object", "properties": {"name": S}})),
        ("string |", S),
        ("string | description=x ", {"type": "string", "description": "x"}),
    ],
)
def test_type(text: str, schema: dict[str, Any]) -> None:
    root = built({"f": text}, {"Person": {"name": "string"}})
    assert root["properties"]["f"] == schema


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty type"),
        ("   ", "empty type"),
        ("| required=true", "empty type"),
        ("[]", "empty slice element type"),
        ("[][]", "empty slice element type"),
        ("map[string][]", "empty slice element type"),
        ("map[integer]string", "map key must be string"),
        ("map[ string ]string", "map key must be string"),
        ("map[stringPerson", "map key must be string"),
        ("map[string]", "map value type is required"),
        ("map[string] ", "map value type is required"),
        ("[]" * 17 + "string", 'type nesting too deep (max 16): "[]string"'),
        ("unknownType", "unknown type: unknownType"),
        ("[]UndefinedType", "unknown type: UndefinedType"),
        ("map[string]UndefinedType", "unknown type: UndefinedType"),
        ("string | =invalid", "empty marker key"),
        (123, "unexpected type: int64"),
        (1.5, "unexpected type: float64"),
        (True, "unexpected type: bool"),
        ([], "unexpected type: []interface {}"),
        (None, "unexpected type: <nil>"),
    ],
)
def test_bad_field_is_reported_at_its_place(text: object, message: str) -> None:
    assert faults({"outer": {"field": text}}) == [("spec.schema.spec.outer.field", message)]
    assert faults({}, {"Outer": {"field": text}}) == [("spec.schema.types.Outer.field", message)]


def test_sixteen_wrappers_are_accepted() -> None:
    assert faults({"f": "[]" * 16 + "string"}) == []


def test_unknown_type_suggests_the_likely_one() -> None:
    _, problems = simple.build({"a": "int", "b": "bool", "c": "strng", "d": "Lable"}, {"Label": "string"})
    assert [p.suggestion for p in problems] == ["integer", "boolean", "string", "Label"]


def test_unknown_marker_suggests_the_likely_one() -> None:
    _, problems = simple.build({"a": "string | requierd=true"}, {})
    assert [p.suggestion for p in problems] == ["required"]


def test_one_unknown_type_gives_one_problem() -> None:
    assert len(faults({"f": "[]strng | minItems=1 default=[1]"})) == 1
    assert len(faults({"f": "strng | minLength=1"})) == 1


@pytest.mark.parametrize(
    "text",
    [
        "strng",
        "[]strng",
        "map[string]strng",
        "string | default=two words",
        "string | requird=true",
        "integer | minimum=x",
        "integer | default=a",
        "integer default=1",
        "[]A",
        "B",
        5,
    ],
)
def test_a_field_that_cannot_be_read_is_unknown_and_no_other(text: object) -> None:
    types = {"A": "strng", "B": {"b": "B"}, "C": {"text": text, "other": "integer"}}
    schema, _ = simple.build({"text": text, "other": "string", "inner": {"text": text, "other": "[]C"}}, types)
    inner = schema["properties"]["inner"]["properties"]
    custom = inner["other"]["items"]["properties"]
    assert schema["properties"]["other"] == S
    assert custom["other"] == {"type": "integer"}
    assert all(unknown["text"] is UNREADABLE for unknown in (schema["properties"], inner, custom))


def test_a_schema_that_is_too_deep_is_unknown() -> None:
    deep: dict[str, Any] = {}
    for _ in range(simple.MAX_DEPTH + 1):
        deep = {"a": deep}
    assert simple.build(deep, {})[0] is UNREADABLE


def test_all_problems_are_reported_in_declared_order() -> None:
    found = faults({"a": "x", "b": {"c": "[]"}, "d": "string | minimum=x pattern=("}, {"T": "y"})
    assert [where for where, _ in found] == [
        "spec.schema.types.T",
        "spec.schema.spec.a",
        "spec.schema.spec.b.c",
        "spec.schema.spec.d",
        "spec.schema.spec.d",
    ]


def test_required_fields_give_no_object_default() -> None:
    assert built({"name": "string | required=true", "t": "integer | default=30"}) == {
        "type": "object",
        "properties": {"name": S, "t": {"type": "integer", "default": 30}},
        "required": ["name"],
    }


def test_object_defaults_propagate_past_structs_with_required_fields() -> None:
    root = built(
        {
            "outer": {
                "inner": {"r": "string | required=true", "o": "integer | default=42"},
                "sib": 'string | default="hello"',
            }
        }
    )
    outer = root["properties"]["outer"]
    assert root["default"] == {}
    assert outer["default"] == {}
    assert "default" not in outer["properties"]["inner"]


def test_defaults_inside_lists_and_maps_do_not_propagate() -> None:
    root = built({"l": "[]T", "m": "map[string]T"}, {"T": {"a": "integer | default=1"}})
    assert "default" not in root
    assert root["properties"]["l"]["items"]["default"] == {}


def test_a_field_default_gives_its_parent_one() -> None:
    assert built({"o": 'object | default={"a":"b"}'}) == {
        "type": "object",
        "properties": {"o": {**ANYTHING, "default": {"a": "b"}}},
        "default": {},
    }


def test_required_is_sorted_at_every_level() -> None:
    fields = dict.fromkeys("fbdace", "string | required=true")
    root = built({**fields, "z": dict(fields)})
    assert root["required"] == list("abcdef")
    assert root["properties"]["z"]["required"] == list("abcdef")


def test_an_alias_hands_on_what_it_says_and_requires_the_field() -> None:
    types = {"Name": 'string | required=true description="d" minLength=2', "Again": "Name"}
    root = built({"a": "Again | required=false maxLength=5", "l": "[]Name", "b": "Name | required=true"}, types)
    assert root["required"] == ["a", "b"]
    assert root["properties"]["a"] == {"type": "string", "description": "d", "minLength": 2, "maxLength": 5}


def test_types_are_built_in_the_order_of_their_use() -> None:
    root = built({"x": "A"}, {"A": {"b": "B"}, "B": {"c": "[]C"}, "C": "integer"})
    assert root["properties"]["x"]["properties"]["b"]["properties"]["c"] == array(I)


@pytest.mark.parametrize(
    ("types", "messages"),
    [
        (
            {"A": "B", "B": "A"},
            ["cyclic dependency in type A: graph contains a cycle: A -> B -> A"],
        ),
        ({"A": {"x": "[]A"}}, ["cyclic dependency in type A: self references are not allowed"]),
        (
            {"A": {"x": "B", "y": "C"}, "B": "A", "C": {"z": "map[string]A"}},
            [
                "cyclic dependency in type A: graph contains a cycle: A -> B -> A",
                "cyclic dependency in type A: graph contains a cycle: A -> C -> A",
            ],
        ),
        ({"A": "Nope"}, ["unknown type: Nope"]),
        ({"A": 123}, ["unexpected type: int64"]),
        ({"A": "string | minLength=abc"}, ['failed to parse minLength value: "abc" is not an integer']),
    ],
)
def test_bad_types_are_reported(types: dict[str, Any], messages: list[str]) -> None:
    assert [message for _, message in faults({"f": "A"}, types)] == messages


def test_a_type_named_like_a_built_in_one_is_a_warning() -> None:
    schema, problems = simple.build({"f": "string"}, {"string": "integer"})
    assert schema["properties"]["f"] == S
    assert [p.severity for p in problems] == [Severity.WARNING]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("integer | default=3 minimum=5", "default is less than minimum 5"),
        ("integer | default=9 maximum=5", "default is more than maximum 5"),
        ('string | default="abc" maxLength=2', "default is longer than maxLength 2"),
        ('string | default="" minLength=2', "default is shorter than minLength 2"),
        ("[]string | default=[] minItems=1", "default is shorter than minItems 1"),
        ('[]string | default=["a", "b"] maxItems=1', "default is longer than maxItems 1"),
        ('string | enum="a,b" default=c', "default is not one of its enum values"),
        ("string | default=b pattern=^a", "default does not match its pattern"),
        ('[]string | default=["a", 1]', "default[1] is not of type string"),
        ("[]boolean | default=[1]", "default[0] is not of type boolean"),
        ('map[string]integer | default={"a": "b"}', "default.a is not of type integer"),
        ('T | default={"r": "x", "z": 1}', "default has the unknown field z"),
        ("T | default={}", "default lacks the required field r"),
    ],
)
def test_a_default_the_api_server_would_refuse_is_reported(field: str, message: str) -> None:
    assert faults({"f": field}, {"T": {"r": "string | required=true"}}) == [("spec.schema.spec.f", message)]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("[]T | uniqueItems=true", "items of a set must be scalars or atomic lists"),
        ("[]T | listType=map", "listType map needs at least one listMapKey"),
        ("[]T | listType=map listMapKey=o", "listMapKey o must be required or have a default"),
        ("[]T | listType=map listMapKey=nope", "listMapKey nope is not a scalar field of the items"),
        ("integer | minimum=0.5", "fractional minimum"),
    ],
)
def test_list_types_the_api_server_would_refuse_are_warnings(field: str, message: str) -> None:
    _, problems = simple.build({"f": field}, {"T": {"k": "string | required=true", "o": "string"}})
    assert [p.severity for p in problems] == [Severity.WARNING]
    assert message in problems[0].message


def test_a_list_map_with_a_required_key_is_fine() -> None:
    schema = built({"f": "[]T | listType=map listMapKey=k"}, {"T": {"k": "string | required=true"}})
    assert schema["properties"]["f"]["x-kubernetes-list-map-keys"] == ["k"]


def test_types_that_double_at_every_level_are_refused() -> None:
    types: dict[str, Any] = {f"T{i}": {"a": f"T{i + 1}", "b": f"T{i + 1}"} for i in range(60)}
    types["T60"] = "string"
    assert "more than 20000 fields" in faults({"f": "T0"}, types)[0][1]


def test_long_chains_of_types_are_refused() -> None:
    types: dict[str, Any] = {f"T{i}": {"a": f"T{i + 1}"} for i in range(3000)}
    types["T3000"] = "string"
    assert faults({"f": "T0"}, types)[0][1] == "nested more than 100 levels"


def test_endless_nesting_is_refused() -> None:
    deep: Any = "string"
    for _ in range(20_000):
        deep = {"a": deep}
    assert faults({"f": deep}) == [("spec.schema.spec", "nested more than 100 levels")]


def test_many_cycles_are_reported_up_to_a_bound() -> None:
    names = [f"T{i}" for i in range(60)]
    types = {name: {other: other for other in names} for name in names}
    assert len(faults({"f": "T0"}, types)) == simple.MAX_CYCLES


def test_an_empty_spec_is_an_empty_object() -> None:
    assert built({}) == {"type": "object"}


VOCABULARY = """
string integer float object [] map[string] A B | = " { } [ ] default required true enum 1,2 minimum pattern ( listType
map \\ x NaN
"""
WORDS = st.sampled_from(VOCABULARY.split())
FIELD = st.lists(WORDS | st.just(" "), max_size=12).map("".join) | st.text(max_size=30) | st.none() | st.integers()
TREE = st.recursive(FIELD, lambda inner: st.dictionaries(st.text(max_size=4), inner, max_size=4), max_leaves=8)


def check_structural(schema: dict[str, Any]) -> None:
    if schema is UNREADABLE:
        return
    assert schema["type"] in ("string", "integer", "number", "boolean", "array", "object")
    assert not ("properties" in schema and "additionalProperties" in schema)
    for child in [
        *schema.get("properties", {}).values(),
        schema.get("items"),
        schema.get("additionalProperties"),
    ]:
        if child is not None:
            check_structural(child)


@given(
    st.dictionaries(st.text(max_size=4), TREE, max_size=4),
    st.dictionaries(st.sampled_from("ABC"), TREE, max_size=3),
)
@settings(max_examples=150, deadline=None)
def test_any_text_gives_a_structural_schema_and_located_problems(spec: dict[str, Any], types: dict[str, Any]) -> None:
    schema, problems = simple.build(spec, types)
    check_structural(schema)
    assert json.loads(json.dumps(schema, allow_nan=False).encode()) == schema
    for problem in problems:
        assert isinstance(problem, Problem)
        assert problem.path[:2] == ("spec", "schema")
        assert problem.message
