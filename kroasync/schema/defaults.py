"""Checks that a default matches its own schema, as the API server does when a CRD is created.

Only the API server checks CEL rules. The caller must have checked that the patterns in the schema compile.
"""

import operator
from collections.abc import Callable, Iterator
from typing import Any, Final

import re2

from kroasync.model.objects import Obj

PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
# The keyword, the types that it applies to (by length for strings and lists), the comparison that must hold, and the
# words for a value that fails it.
_BOUNDS: Final[tuple[tuple[str, tuple[type, ...], Callable[[Any, Any], bool], str], ...]] = (
    ("minimum", (int, float), operator.ge, "less than"),
    ("maximum", (int, float), operator.le, "more than"),
    ("minLength", (str,), operator.ge, "shorter than"),
    ("maxLength", (str,), operator.le, "longer than"),
    ("minItems", (list,), operator.ge, "shorter than"),
    ("maxItems", (list,), operator.le, "longer than"),
)


def check(value: Any, schema: Obj, where: str = "default") -> Iterator[str]:
    """The text of every reason why a structural schema does not allow a value."""
    type_ = schema.get("type")
    if isinstance(type_, str) and not _is(value, type_):
        yield f"{where} is not of type {type_}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is not one of its enum values"
    if "pattern" in schema and isinstance(value, str) and not re2.search(schema["pattern"], value):
        yield f"{where} does not match its pattern"
    for keyword, types, holds, fault in _BOUNDS:
        bound = schema.get(keyword)
        if bound is None or not isinstance(value, types):
            continue
        if not holds(len(value) if isinstance(value, str | list) else value, bound):
            yield f"{where} is {fault} {keyword} {bound}"
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            yield from check(item, schema["items"], f"{where}[{index}]")
    if isinstance(value, dict):
        yield from _check_fields(value, schema, where)


def _is(value: Any, type_: str) -> bool:
    if isinstance(value, bool):
        return type_ == "boolean"
    if type_ == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(type_, (object,)))


def _check_fields(value: Obj, schema: Obj, where: str) -> Iterator[str]:
    properties: Obj = schema.get("properties", {})
    extra = schema.get("additionalProperties")
    for name, item in value.items():
        if name in properties:
            yield from check(item, properties[name], f"{where}.{name}")
        elif isinstance(extra, dict):
            yield from check(item, extra, f"{where}.{name}")
        elif not extra and not schema.get(PRESERVE):
            yield f"{where} has the unknown field {name}"
    for name in schema.get("required", ()):
        # A default of the missing field does not help: the API server checks before it applies defaults.
        if name not in value:
            yield f"{where} lacks the required field {name}"
