"""Structural schemas of the API server (OpenAPI v3, KEP-1979): their keywords, and the validation of values.

`Validator` finds every value that the API server would reject, and matches patterns with RE2, as the API server does.
It leaves rules in CEL and duplicates to `instance_rules`. The callers write the messages: about an author's default
(`defaults`), or a user's instance (`instance_checks`).
"""

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import re2

from kroasync.model.objects import Obj
from kroasync.model.paths import Path

PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
"""The keyword that lets an object have fields that its schema does not name."""
INT_OR_STRING: Final = "x-kubernetes-int-or-string"
LIST_TYPE: Final = "x-kubernetes-list-type"
LIST_MAP_KEYS: Final = "x-kubernetes-list-map-keys"
OPEN: Final[Obj] = {"type": "object", PRESERVE: True}
"""Any object."""
UNREADABLE: Final[Obj] = {PRESERVE: True}
"""This object, and no equal one, is the schema of a field with an error: uses of the field are not type-checked."""
UNKNOWN: Final = "unknown"
"""The `Misfit.keyword` of a field that the schema does not have."""

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
# The keyword, the types that it applies to (by length for strings and lists), and the comparison that must hold.
_BOUNDS: Final[tuple[tuple[str, tuple[type, ...], Callable[[Any, Any], bool]], ...]] = (
    ("minimum", (int, float), operator.ge),
    ("maximum", (int, float), operator.le),
    ("minLength", (str,), operator.ge),
    ("maxLength", (str,), operator.le),
    ("minItems", (list,), operator.ge),
    ("maxItems", (list,), operator.le),
)


@dataclass(frozen=True, slots=True)
class Misfit:
    """One violation of a schema by a value."""

    path: Path
    """The path of the value, or of the field if it is missing or unknown."""
    keyword: str
    """The violated keyword, or `UNKNOWN`."""
    expected: Any
    """The value of the keyword; for an unknown field, the known fields."""
    found: Any
    """The value that is compared, or its length or number of items."""


@dataclass(frozen=True, slots=True)
class Validator:
    """Validates values as they are, or, with `fills_in`, after defaults have replaced null or missing values.

    The API server validates an instance after it has applied defaults, but a default before that.
    """

    fills_in: bool

    def misfits(self, value: Any, schema: Obj, path: Path = ()) -> Iterator[Misfit]:
        """Every violation of the schema, in the order of the value."""
        if value is None and self.fills_in and (schema.get("nullable") or "default" in schema):
            return
        expected = schema.get("type")
        if isinstance(expected, str) and not _is(value, expected):
            yield Misfit(path, "type", expected, value)
            return
        yield from _own_misfits(value, schema, path)
        if isinstance(value, list) and isinstance(schema.get("items"), dict):
            for index, item in enumerate(value):
                yield from self.misfits(item, schema["items"], (*path, index))
        if isinstance(value, dict):
            yield from self._misfits_of_fields(value, schema, path)

    def _misfits_of_fields(self, value: Obj, schema: Obj, path: Path) -> Iterator[Misfit]:
        properties: Obj = schema.get("properties") or {}
        additional = schema.get("additionalProperties")
        required = schema.get("required") or ()
        for name in required:
            if self._is_missing(name, value, properties):
                yield Misfit((*path, name), "required", True, None)
        for name, item in value.items():
            if name in properties:
                if not (item is None and self.fills_in and name in required):
                    yield from self.misfits(item, properties[name], (*path, name))
            elif isinstance(additional, dict):
                yield from self.misfits(item, additional, (*path, name))
            elif not additional and not schema.get(PRESERVE):
                yield Misfit((*path, name), UNKNOWN, properties, item)

    def _is_missing(self, name: str, value: Obj, properties: Obj) -> bool:
        if not self.fills_in:
            return name not in value
        return value.get(name) is None and "default" not in properties.get(name, {})


def _is(value: Any, type_: str) -> bool:
    if isinstance(value, bool):
        return type_ == "boolean"
    if type_ == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(type_, (object,)))


def _own_misfits(value: Any, schema: Obj, path: Path) -> Iterator[Misfit]:
    """The violations of the value itself, not of its parts."""
    if "enum" in schema and value not in schema["enum"]:
        yield Misfit(path, "enum", schema["enum"], value)
    for keyword, types, holds in _BOUNDS:
        bound = schema.get(keyword)
        if bound is None or not isinstance(value, types):
            continue
        measured = len(value) if isinstance(value, str | list) else value
        if not holds(measured, bound):
            yield Misfit(path, keyword, bound, measured)
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and isinstance(value, str) and not _matches(pattern, value):
        yield Misfit(path, "pattern", pattern, value)


def _matches(pattern: str, text: str) -> bool:
    try:
        return re2.search(pattern, text) is not None
    except re2.error:
        # RE2 does not support the pattern: an error of the schema, not of the value.
        return True
