"""What may fill a field: kro's comparison of types, and the stricter one of the API server."""

import pytest

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
    Type,
    list_of,
    map_of,
    object_type,
    opaque,
    optional_of,
)
from kroasync.schema.assignability import Loose, Strict, described
from kroasync.schema.celtypes import SchemaTypes

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}
OPEN = {"x-kubernetes-preserve-unknown-fields": True}


def struct(**properties):
    return {"type": "object", "properties": properties}


TYPES = SchemaTypes(
    {
        "ab": struct(a=NUMBER, b=NUMBER),
        "ab2": struct(a=NUMBER, b=NUMBER),
        "a": struct(a=NUMBER),
        "text": struct(a=TEXT),
        "extra": struct(a=NUMBER, zusatz=TEXT),
        "nested": struct(inner=struct(x=NUMBER, y=TEXT)),
        "nestedSubset": struct(inner=struct(x=NUMBER)),
        "nestedWrong": struct(inner=struct(x=TEXT)),
        "nestedText": struct(inner=TEXT),
        "withMap": struct(m={"type": "object", "additionalProperties": NUMBER}),
        "env": struct(name=TEXT, value=TEXT, valueFrom=struct(key=TEXT)),
        "empty": struct(),
        "open": {**struct(a=TEXT), **OPEN},
        "untyped": struct(size={}, a=TEXT),
        "size": struct(size=TEXT),
    }
)


def of(name):
    return TYPES.type_for(name)


INT_MAP = map_of(STRING, INT)

ACCEPTED = [
    (INT, INT),
    (DYN, STRING),
    (STRING, DYN),
    (NULL, of("ab")),
    (NULL, TIMESTAMP),
    (list_of(STRING), list_of(STRING)),
    (list_of(DYN), list_of(STRING)),
    (list_of(list_of(INT)), list_of(list_of(INT))),
    (INT_MAP, map_of(STRING, INT)),
    (map_of(STRING, DYN), map_of(STRING, STRING)),
    (of("ab"), of("ab")),
    (of("ab"), of("ab2")),
    (of("a"), of("ab")),
    (of("nestedSubset"), of("nested")),
    (INT_MAP, of("ab")),
    (map_of(STRING, optional_of(INT)), map_of(STRING, optional_of(INT))),
    (map_of(STRING, DYN), of("nested")),
    (map_of(DYN, DYN), of("nested")),
    (of("ab"), INT_MAP),
    (of("ab"), map_of(STRING, DYN)),
    (optional_of(INT), INT),
    (optional_of(optional_of(INT)), INT),
    (list_of(optional_of(INT)), list_of(INT)),
    (optional_of(list_of(INT)), list_of(INT)),
    (map_of(STRING, optional_of(INT)), INT_MAP),
    (map_of(optional_of(STRING), INT), INT_MAP),
    (optional_of(of("a")), of("ab")),
    (optional_of(of("ab")), of("empty")),
    (optional_of(of("ab")), of("open")),
    (of("ab"), object_type("unknown")),
    (object_type("unknown"), of("ab")),
    (INT_MAP, object_type("unknown")),
    (object_type("unknown"), INT_MAP),
    (of("empty"), of("ab")),
    (STRING, BYTES),
    (STRING, TIMESTAMP),
    (STRING, DURATION),
    (ERROR, STRING),
    (optional_of(ERROR), STRING),
    (map_of(STRING, STRING), of("env")),
    (of("size"), of("untyped")),
]

REFUSED = [
    (STRING, INT, 'type kind mismatch: got "string", expected "int"'),
    (BOOL, STRING, 'type kind mismatch: got "bool", expected "string"'),
    (INT, DOUBLE, 'type kind mismatch: got "int", expected "double"'),
    (INT, STRING, "kind mismatch"),
    (INT, TIMESTAMP, "kind mismatch"),
    (BYTES, STRING, "kind mismatch"),
    (list_of(STRING), list_of(INT), "list element type incompatible: type kind mismatch"),
    (list_of(STRING), STRING, "kind mismatch"),
    (map_of(STRING, STRING), INT_MAP, "map value type incompatible"),
    (map_of(INT, INT), INT_MAP, "map key type incompatible"),
    (INT_MAP, STRING, "kind mismatch"),
    (of("ab"), list_of(INT), "kind mismatch"),
    (of("extra"), of("ab"), 'field "zusatz" exists in output but not in expected type'),
    (of("text"), of("ab"), 'field "a" has incompatible type: type kind mismatch: got "string", expected "int"'),
    (of("nestedWrong"), of("nested"), 'field "inner" has incompatible type: field "x" has incompatible type'),
    (map_of(INT, INT), of("ab"), "map keys must be strings to assign to struct"),
    (INT_MAP, of("text"), 'map value incompatible with struct field "a"'),
    (of("ab"), map_of(INT, STRING), "map key type must be string when assigning struct"),
    (of("text"), INT_MAP, 'struct field "a" incompatible with map value type'),
    (optional_of(STRING), INT, "kind mismatch"),
    (list_of(optional_of(STRING)), list_of(INT), "list element type incompatible"),
    (optional_of(of("text")), of("ab"), "has incompatible type"),
    (opaque("kubernetes.Quantity"), STRING, 'got "kubernetes.Quantity", expected "string"'),
]


# What kro accepts, although the API server will not.
DOUBTFUL = [
    (STRING, of("ab"), "expected object, found string"),
    (INT, of("ab"), "expected object, found integer"),
    (list_of(INT), of("ab"), "expected object, found list of integers"),
    (opaque("kubernetes.Quantity"), of("ab"), "expected object, found kubernetes.Quantity"),
    (opaque("net.IP"), of("ab"), "expected object, found net.IP"),
    (list_of(STRING), list_of(of("ab")), "list element type incompatible: expected object, found string"),
    (list_of(list_of(STRING)), list_of(of("ab")), "expected object, found list of strings"),
    (map_of(STRING, INT), list_of(STRING), "expected list of strings, found object"),
    (map_of(INT, STRING), list_of(of("ab")), "expected list of objects, found object"),
    (opaque("kubernetes.Quantity"), map_of(STRING, STRING), "expected object, found kubernetes.Quantity"),
    (of("nestedText"), of("nested"), 'field "inner" has incompatible type: expected object, found string'),
    (optional_of(STRING), of("ab"), "expected object, found string"),
]


@pytest.mark.parametrize(("output", "expected"), ACCEPTED, ids=str)
def test_may_fill_the_field(output: Type, expected: Type) -> None:
    assert Loose(TYPES).refusal(output, expected) is None
    assert Strict(TYPES).refusal(output, expected) is None


@pytest.mark.parametrize(("output", "expected", "cause"), REFUSED, ids=str)
def test_may_not_fill_the_field(output: Type, expected: Type, cause: str) -> None:
    assert cause in (Loose(TYPES).refusal(output, expected) or "")
    assert Strict(TYPES).refusal(output, expected)


@pytest.mark.parametrize(("output", "expected", "cause"), DOUBTFUL, ids=str)
def test_only_the_api_server_refuses(output: Type, expected: Type, cause: str) -> None:
    assert Loose(TYPES).refusal(output, expected) is None
    assert cause in (Strict(TYPES).refusal(output, expected) or "")


@pytest.mark.parametrize("output", [opaque("net.IP"), STRING, list_of(STRING)], ids=str)
def test_no_map_comes_of_what_is_none(output: Type) -> None:
    assert Loose(TYPES).refusal(output, map_of(STRING, STRING))


def test_the_work_is_counted() -> None:
    loose = Loose(TYPES)
    loose.refusal(map_of(STRING, STRING), of("env"))
    assert loose.work == 5


class Cyclic(SchemaTypes):
    """A provider whose type contains itself, which no inlined schema can."""

    def fields(self, type_name: str) -> dict[str, Type]:
        return {"self": object_type(type_name)}

    def value_type(self, type_name: str, key: str) -> Type:
        return object_type(type_name)


def test_types_that_contain_themselves_can_be_compared() -> None:
    assert Loose(Cyclic()).refusal(object_type("loop"), object_type("other")) is None


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        (list_of(DYN), "list"),
        (list_of(list_of(STRING)), "list of lists of strings"),
        (map_of(STRING, INT), "object"),
        (BOOL, "boolean"),
        (DOUBLE, "number"),
        (opaque("net.IP"), "net.IP"),
        (TIMESTAMP, "date-time"),
        (BYTES, "bytes"),
    ],
    ids=str,
)
def test_a_type_in_words(type_: Type, words: str) -> None:
    assert described(type_) == words
