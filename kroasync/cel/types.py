"""CEL types: immutable values that print as in cel-go.

`kind` is the kind of a type. `name` is the name of an object type (from a schema), an opaque type (of a library) or a
type parameter. `params` has the element, key/value or inner types. A TypeProvider knows the fields of object types.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol


@dataclass(frozen=True, slots=True)
class Type:
    """One CEL type; compare with `==`, print with `str`."""

    kind: str
    name: str = ""
    params: tuple["Type", ...] = ()

    def __str__(self) -> str:
        if self.kind in ("object", "opaque", "param"):
            inner = ", ".join(map(str, self.params))
            return f"{self.name}({inner})" if inner else self.name
        if self.kind == "optional":
            return f"optional_type({self.params[0]})"
        if self.params:
            return f"{self.kind}({', '.join(map(str, self.params))})"
        return _PRINTED.get(self.kind, self.kind)

    @property
    def element(self) -> "Type":
        """Element type of a list, value type of a map, inner type of an optional or type; dyn when there is none."""
        return self.params[-1] if self.params else DYN


_PRINTED: Final = {
    "null": "null_type",
    "timestamp": "google.protobuf.Timestamp",
    "duration": "google.protobuf.Duration",
    "error": "!error!",
}

DYN: Final = Type("dyn")
ERROR: Final = Type("error")
NULL: Final = Type("null")
BOOL: Final = Type("bool")
INT: Final = Type("int")
UINT: Final = Type("uint")
DOUBLE: Final = Type("double")
STRING: Final = Type("string")
BYTES: Final = Type("bytes")
TIMESTAMP: Final = Type("timestamp")
DURATION: Final = Type("duration")


def list_of(element: Type = DYN) -> Type:
    return Type("list", params=(element,))


def map_of(key: Type = DYN, value: Type = DYN) -> Type:
    return Type("map", params=(key, value))


def optional_of(inner: Type = DYN) -> Type:
    return Type("optional", params=(inner,))


def type_of(inner: Type = DYN) -> Type:
    return Type("type", params=(inner,))


def object_type(name: str) -> Type:
    """A type whose fields a TypeProvider knows."""
    return Type("object", name=name)


def opaque(name: str, *params: Type) -> Type:
    """An abstract type of a library, such as `kubernetes.Quantity`."""
    return Type("opaque", name=name, params=params)


def param(name: str) -> Type:
    """A type parameter of an overload, a single capital letter."""
    return Type("param", name=name)


class TypeProvider(Protocol):
    """The checker's questions about object types; `kroasync.schema.celtypes` answers them from OpenAPI schemas."""

    def field(self, type_name: str, name: str) -> Type | None:
        """The type of a field by its (escaped) name; dyn for an unknown field of an open type; None if undefined."""

    def fields(self, type_name: str) -> Mapping[str, Type] | None:
        """All declared fields of the type; None if the type itself is unknown."""

    def is_open(self, type_name: str) -> bool:
        """True if the schema preserves unknown fields."""

    def key_of(self, type_name: str, name: str) -> str:
        """The key in the data of an escaped field name (`my__dash__field` -> `my-field`)."""

    def list_kind(self, type_name: str, name: str) -> tuple[str, tuple[str, ...]]:
        """`x-kubernetes-list-type` of a list field ("atomic", "set", "map") and its map keys."""
