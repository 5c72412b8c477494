"""OpenAPI schemas as CEL types, assignability of results, and schemas of types."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kroasync.cel import Env
from kroasync.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    ERROR,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    TypeProvider,
    list_of,
    map_of,
    object_type,
    opaque,
    optional_of,
)
from kroasync.schema.celtypes import (
    CyclicTypeError,
    SchemaTypes,
    collection_of,
    escape,
    readable,
    schema_of,
    unescape,
)
from kroasync.schema.structural import UNREADABLE

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}
OPEN = {"x-kubernetes-preserve-unknown-fields": True}


def struct(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


SCHEMA = struct(
    name=TEXT,
    data={"type": "string", "format": "byte"},
    created={"type": "string", "format": "date-time"},
    day={"type": "string", "format": "date"},
    timeout={"type": "string", "format": "duration"},
    other={"type": "string", "format": "uuid"},
    count=NUMBER,
    share={"type": "number"},
    ready={"type": "boolean"},
    port={"x-kubernetes-int-or-string": True, "anyOf": [NUMBER, TEXT]},
    level={"type": "string", "format": "int-or-string"},
    tags={"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
    bare={"type": "array"},
    quantities={"type": "array", "items": {}},
    labels={"type": "object", "additionalProperties": TEXT},
    limits={"type": "object", "additionalProperties": {}},
    loose={"type": "object", "additionalProperties": True},
    empty={"type": "object"},
    inner=struct(leaf=NUMBER, deeper=struct(leaf=TEXT)),
    parts={
        "type": "array",
        "items": struct(name=TEXT, image=TEXT),
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    },
    byName={"type": "object", "additionalProperties": struct(x=NUMBER)},
    size={"oneOf": [TEXT, {"type": "number"}]},
    anything={},
    free=OPEN,
    open={**struct(known=NUMBER), **OPEN},
)
TYPES = SchemaTypes({"thing": SCHEMA, "things": collection_of(SCHEMA)})
ROOT = "__type_thing"


@pytest.mark.parametrize(
    ("field", "type_"),
    [
        ("name", "string"),
        ("data", "bytes"),
        ("created", "google.protobuf.Timestamp"),
        ("day", "google.protobuf.Timestamp"),
        ("timeout", "google.protobuf.Duration"),
        ("other", "string"),
        ("count", "int"),
        ("share", "double"),
        ("ready", "bool"),
        ("port", "dyn"),
        ("level", "dyn"),
        ("tags", "list(string)"),
        ("labels", "map(string, string)"),
        ("limits", "map(string, dyn)"),
        ("loose", f"{ROOT}.loose"),
        ("empty", f"{ROOT}.empty"),
        ("inner", f"{ROOT}.inner"),
        ("parts", f"list({ROOT}.parts.@idx)"),
        ("byName", f"map(string, {ROOT}.byName.@elem)"),
        ("free", "dyn"),
        ("open", f"{ROOT}.open"),
    ],
)
def test_type_of_a_property(field: str, type_: str) -> None:
    assert str(TYPES.field(ROOT, field)) == type_


@pytest.mark.parametrize("field", ["bare", "quantities", "size", "anything", "nothing"])
def test_what_has_no_type_is_no_field(field: str) -> None:
    assert TYPES.field(ROOT, field) is None


def test_nested_types_are_resolved_by_name() -> None:
    assert TYPES.fields(f"{ROOT}.inner") == {"leaf": INT, "deeper": object_type(f"{ROOT}.inner.deeper")}
    assert TYPES.field(f"{ROOT}.inner", "leaf") == INT
    assert TYPES.field(f"{ROOT}.inner.deeper", "leaf") == STRING
    assert TYPES.field(f"{ROOT}.parts.@idx", "image") == STRING
    assert TYPES.field(f"{ROOT}.byName.@elem", "x") == INT


def test_names_are_resolved_whatever_was_asked_before() -> None:
    fresh = SchemaTypes({"thing": SCHEMA, "things": collection_of(SCHEMA)})
    assert fresh.field("__type_things.@idx.parts.@idx", "image") == STRING
    assert fresh.field(f"{ROOT}.inner.deeper", "leaf") == STRING
    assert fresh.field(f"{ROOT}.inner.nothing.at.all", "leaf") is None


def test_an_unknown_type_has_no_fields() -> None:
    assert TYPES.fields("__type_other") is None
    assert TYPES.field("__type_other", "name") is None
    assert not TYPES.is_open("__type_other")


def test_a_collection_is_a_list_of_objects() -> None:
    assert str(TYPES.type_for("things")) == "list(__type_things.@idx)"
    assert TYPES.field("__type_things.@idx", "name") == STRING


def test_an_open_object_has_every_field() -> None:
    assert TYPES.is_open(f"{ROOT}.open")
    assert TYPES.field(f"{ROOT}.open", "known") == INT
    assert TYPES.field(f"{ROOT}.open", "unknown") == DYN
    assert TYPES.fields(f"{ROOT}.open") == {"known": INT}


def test_list_kinds() -> None:
    assert TYPES.list_kind(ROOT, "tags") == ("set", ())
    assert TYPES.list_kind(ROOT, "parts") == ("map", ("name",))
    assert TYPES.list_kind(ROOT, "bare") == ("atomic", ())


def test_a_root_without_type_is_dyn() -> None:
    assert SchemaTypes({"x": {}}).variables() == {"x": DYN}


def test_an_undeclared_root_is_a_bug() -> None:
    with pytest.raises(KeyError):
        TYPES.type_for("nobody")


def test_a_dotted_property_does_not_pass_for_a_nested_one() -> None:
    types = SchemaTypes({"x": struct(**{"a": struct(b=struct(inner=TEXT)), "a.b": struct(dotted=TEXT)})})
    dotted = types.field("__type_x", "a__dot__b")
    nested_owner = types.field("__type_x", "a")
    assert dotted is not None
    assert nested_owner is not None
    nested = types.field(nested_owner.name, "b")
    assert nested is not None
    assert set(types.fields(dotted.name) or ()) == {"dotted"}
    assert set(types.fields(nested.name) or ()) == {"inner"}


def test_expressions_see_the_types() -> None:
    env = Env(variables=TYPES.variables(), types=TYPES)
    assert (
        str(env.check(env.parse("things.filter(t, t.ready).map(t, t.inner.deeper.leaf)")).result_type) == "list(string)"
    )


# Escaping

ESCAPES = [
    ("name", "name"),
    ("my-field", "my__dash__field"),
    ("a.b/c", "a__dot__b__slash__c"),
    ("a__b", "a__underscores__b"),
    ("___", "__underscores___"),
    ("namespace", "__namespace__"),
    ("in", "__in__"),
    ("_x", "_x"),
    ("namespaces", "namespaces"),
]


@pytest.mark.parametrize(("key", "identifier"), ESCAPES)
def test_escaping_both_ways(key: str, identifier: str) -> None:
    assert escape(key) == identifier
    assert unescape(identifier) == key


@pytest.mark.parametrize("key", ["", "1a", "a b", "ä", "$ref", "a\n"])
def test_some_names_have_no_identifier(key: str) -> None:
    assert escape(key) is None


@pytest.mark.parametrize("identifier", ["a__b", "__name__", "namespace", "a__nothing__b", "1", ""])
def test_some_identifiers_are_no_escaped_name(identifier: str) -> None:
    assert unescape(identifier) is None


@given(st.text("ab_-./1", max_size=12))
def test_no_two_names_share_an_identifier(key: str) -> None:
    escaped = escape(key)
    assert escaped is None or unescape(escaped) == key


def test_fields_are_found_by_identifier_and_lead_to_the_key() -> None:
    types = SchemaTypes({"x": struct(**{"my-field": TEXT, "namespace": TEXT, "1st": TEXT})})
    assert types.fields("__type_x") == {"my__dash__field": STRING, "__namespace__": STRING}
    assert types.key_of("__type_x", "my__dash__field") == "my-field"
    assert types.key_of("__type_x", "namespace") == "namespace"
    assert types.key_of("__type_x", "__namespace__") == "namespace"
    assert types.key_of("__type_x", "unknown") == "unknown"
    assert types.field("__type_x", "namespace") == STRING


# Expected types


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ((), ROOT),
        (("name",), "string"),
        (("inner", "deeper", "leaf"), "string"),
        (("inner",), f"{ROOT}.inner"),
        (("labels", "any.key"), "string"),
        (("byName", "k"), f"{ROOT}.byName.@elem"),
        (("byName", "k", "x"), "int"),
        (("tags",), "list(string)"),
        (("tags", 3), "string"),
        (("parts", 0), f"{ROOT}.parts.@idx"),
        (("parts", 0, "image"), "string"),
        (("parts", "image"), "string"),
        (("limits", "cpu"), "dyn"),
        (("size",), "dyn"),
        (("open", "unknown", "deep"), "dyn"),
        (("name", 0), "dyn"),
        (("nothing",), "dyn"),
    ],
)
def test_expected_type_at_a_path(path: tuple[str | int, ...], type_: str) -> None:
    assert str(TYPES.field_type("thing", path)) == type_


def test_the_type_expected_at_a_path_is_the_one_expressions_see() -> None:
    assert TYPES.field_type("thing", ("inner", "deeper")) == TYPES.field(f"{ROOT}.inner", "deeper")


def test_a_schema_of_its_own_can_be_declared() -> None:
    types = SchemaTypes()
    assert types.declared_type(struct(a=TEXT), "extra") == object_type("extra")
    assert types.field("extra", "a") == STRING
    assert types.declared_type({}, "untyped") == DYN


def test_what_could_not_be_read_has_the_type_error() -> None:
    types = SchemaTypes({"x": struct(lost=UNREADABLE, kept=TEXT, open={**UNREADABLE})})
    assert types.fields("__type_x") == {
        "lost": ERROR,
        "kept": STRING,
        "open": DYN,
    }


@pytest.mark.parametrize(
    ("key", "type_"),
    [
        ("name", STRING),
        ("anything", DYN),
        ("quantities", DYN),
        ("nope", None),
        ("inner", object_type("__type_thing.inner")),
    ],
)
def test_what_an_object_may_have_at_a_key(key: str, type_: Type | None) -> None:
    assert TYPES.value_type("__type_thing", key) == type_


def test_an_open_object_may_have_anything() -> None:
    assert TYPES.value_type("__type_thing.open", "known") == INT
    assert TYPES.value_type("__type_thing.open", "nope") == DYN
    assert TYPES.value_type("__type_thing.empty", "nope") == DYN
    assert TYPES.value_type("no such type", "nope") == DYN


def test_keys_are_those_of_the_data() -> None:
    types = SchemaTypes({"x": struct(**{"my-field": TEXT, "anything": {}})})
    assert types.keys("__type_x") == ("my-field", "anything")
    assert types.value_type("__type_x", "my-field") == STRING


# Schemas of structures

STRUCTS = SchemaTypes(
    {
        "ab": struct(a=NUMBER, b=NUMBER),
        "ab2": struct(a=NUMBER, b=NUMBER),
        "a": struct(a=NUMBER),
        "text": struct(a=TEXT),
        "extra": struct(a=NUMBER, zusatz=TEXT),
        "nested": struct(inner=struct(x=NUMBER, y=TEXT)),
        "nestedSubset": struct(inner=struct(x=NUMBER)),
        "nestedWrong": struct(inner=struct(x=TEXT)),
        "withMap": struct(m={"type": "object", "additionalProperties": NUMBER}),
        "empty": struct(),
        "open": {**struct(a=TEXT), **OPEN},
    }
)


def of(name: str) -> Type:
    return STRUCTS.type_for(name)


# Schemas of types


@pytest.mark.parametrize(
    ("type_", "schema"),
    [
        (BOOL, {"type": "boolean"}),
        (INT, NUMBER),
        (UINT, NUMBER),
        (DOUBLE, {"type": "number"}),
        (STRING, TEXT),
        (BYTES, {"type": "string", "format": "byte"}),
        (TIMESTAMP, {"type": "string", "format": "date-time"}),
        (DURATION, TEXT),
        (DYN, OPEN),
        (NULL, OPEN),
        (opaque("net.IP"), OPEN),
        (list_of(INT), {"type": "array", "items": NUMBER}),
        (list_of(DYN), {"type": "array", "items": OPEN}),
        (map_of(STRING, INT), {"type": "object", "additionalProperties": NUMBER}),
        (map_of(STRING, DYN), {"type": "object", "additionalProperties": OPEN}),
        (optional_of(INT), {"type": "integer", "nullable": True}),
        (optional_of(DYN), {**OPEN, "nullable": True}),
        (object_type("unknown"), {"type": "object", "additionalProperties": True}),
        (of("nested"), struct(inner=struct(x=NUMBER, y=TEXT))),
        (of("empty"), {"type": "object", "properties": {}, **OPEN}),
        (of("open"), {**struct(a=TEXT), **OPEN}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_schema_of_a_type(type_: Type, schema: dict[str, Any]) -> None:
    assert schema_of(type_, STRUCTS) == schema


def test_schemas_use_the_names_of_the_data() -> None:
    types = SchemaTypes({"x": struct(**{"my-field": TEXT, "namespace": TEXT})})
    assert set(schema_of(types.type_for("x"), types)["properties"]) == {"my-field", "namespace"}


def test_timestamps_inside_objects_may_be_null() -> None:
    types = SchemaTypes({"x": struct(created={"type": "string", "format": "date-time"})})
    assert schema_of(types.type_for("x"), types)["properties"]["created"] == {
        "type": "string",
        "format": "date-time",
        "nullable": True,
    }


class Cyclic(SchemaTypes):
    """A provider whose type contains itself, which no inlined schema can."""

    def fields(self, type_name: str) -> dict[str, Type]:
        return {"self": object_type("loop")}


def test_a_type_that_contains_itself_has_no_schema() -> None:
    provider: TypeProvider = Cyclic()
    with pytest.raises(CyclicTypeError, match="cyclic type reference detected: loop"):
        schema_of(object_type("loop"), provider)


def test_the_schema_of_a_schema_type_reads_back_as_that_type() -> None:
    schema = struct(n=NUMBER, tags={"type": "array", "items": TEXT}, m={"type": "object", "additionalProperties": TEXT})
    types = SchemaTypes({"x": schema})
    assert schema_of(types.type_for("x"), types) == schema


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("applied to '(__type_pod, string)'", "applied to '(object(pod), string)'"),
        ('returns "list(__type_pod.spec.containers.@idx)"', 'returns "list(object(pod.spec.containers[]))"'),
        ("map(string, __type_schema.spec.tags.@elem)", "map(string, object(schema.spec.tags[*]))"),
        ("unexpected type: float64", "unexpected type: number"),
        ("expected string type for path a, got []interface {}", "expected string type for path a, got list"),
        ("unknown type: float64", "unknown type: float64"),
        ("got floats: float64x", "got floats: float64x"),
    ],
)
def test_messages_have_no_internal_names(text: str, expected: str) -> None:
    assert readable(text) == expected
