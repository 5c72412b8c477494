"""The types that places of expressions accept: template fields, conditions, dimensions of a collection.

A field without a schema accepts every type (`dyn`); the API server decides.
"""

from collections.abc import Sequence

from kroasync.cel.types import BOOL, DYN, ERROR, Type
from kroasync.schema.celtypes import SchemaTypes


def expected_type(types: SchemaTypes, id_: str, path: Sequence[str | int], *, in_collection: bool) -> Type:
    """The type that a field of a node's object accepts; dyn for a node without a schema."""
    if not types.has(id_):
        return DYN
    return types.field_type(id_, (0, *path) if in_collection else path)


def takes_base64(expected: Type) -> bool:
    """Whether the field is base64 in JSON (OpenAPI format byte): a result of type bytes is encoded for it."""
    return expected.kind == "bytes"


def is_bool(result: Type) -> bool:
    """Whether a condition may return this type; a type known only at run time is not a bool."""
    return (result.element if result.kind == "optional" else result) in (BOOL, ERROR)


def item_type(iterable: Type) -> Type | None:
    """The element type of a list; None for every other type, including `dyn`."""
    if iterable == ERROR:
        return ERROR
    return iterable.element if iterable.kind == "list" else None
