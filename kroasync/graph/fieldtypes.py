"""What types the places of expressions take: template fields, conditions, dimensions of a collection.

A field no schema describes takes anything (`dyn`): the API server has the last word there.
"""

from collections.abc import Sequence

from kroasync.cel.types import DYN, Type
from kroasync.schema.celtypes import SchemaTypes, assignable


def expected_type(types: SchemaTypes, id_: str, path: Sequence[str | int], *, in_collection: bool) -> Type:
    """The type a field of one object of a node takes; dyn for a node without a schema."""
    if not types.has(id_):
        return DYN
    return types.field_type(id_, (0, *path) if in_collection else path)


def mismatch(result: Type, expected: Type, types: SchemaTypes) -> str | None:
    """Why a result does not fit a field, None if it does."""
    return assignable(result, expected, types)


def takes_base64(expected: Type) -> bool:
    """True for a field whose text in JSON is base64 (OpenAPI format byte): a result of type bytes is
    encoded for it.
    """
    return expected.kind == "bytes"


def is_bool(result: Type) -> bool:
    """True for what a condition may return; a value only known at run time is not one."""
    return result.kind == "bool" or (result.kind == "optional" and result.element.kind == "bool")


def item_type(iterable: Type) -> Type | None:
    """The element of a list; None for everything else, `dyn` included."""
    return iterable.element if iterable.kind == "list" else None
