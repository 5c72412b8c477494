"""Converts values to JSON for a resource or a status. A result shares nothing mutable with the value.

The rules are kro's: optionals are unwrapped, durations and timestamps become text, bytes and opaque values are errors.
The omit sentinel stays in the result; the caller removes the fields and elements that have it.
"""

import math
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any, Final

from kroasync.cel.errors import ConversionError
from kroasync.cel.meter import CHARS_PER_STEP, Meter
from kroasync.cel.run import times
from kroasync.cel.run.operations import type_name
from kroasync.cel.values import INT_MAX, OMIT, BoolKey, Duration, Optional, Timestamp, UInt

# Reject deeper values: the JSON parser of an API server stops at 10,000 levels, and Python's stack earlier.
MAX_NESTING: Final = 200
# Reject more elements: a list that contains one list many times, at many levels, is small only until it is copied.
# A Kubernetes object has at most 1.5 MB.
MAX_ELEMENTS: Final = 1_000_000
# Reject more text; text counts as often as the result contains it.
MAX_CHARS: Final = 8_000_000
# The cost of an element.
_ELEMENT_STEPS: Final = 2
_PLAIN: Final = frozenset((str, int, bool, type(None)))


class _Size:
    """The elements and characters of a result so far, and the budget that pays for them."""

    __slots__ = ("budget", "chars", "elements")

    def __init__(self, budget: Meter | None) -> None:
        self.budget = budget
        self.elements = 0
        self.chars = 0

    def add(self, elements: int, texts: Iterable[Any]) -> None:
        """Count a list or map with the texts in it; raises ConversionError or BudgetError before anything is copied."""
        chars = sum([len(text) for text in texts if text.__class__ is str])
        self.elements += elements
        self.chars += chars
        if self.budget is not None:
            self.budget.spend(1 + elements * _ELEMENT_STEPS + chars // CHARS_PER_STEP)
        if self.elements > MAX_ELEMENTS:
            raise ConversionError(f"unsupported value: more than {MAX_ELEMENTS} elements")
        if self.chars > MAX_CHARS:
            raise ConversionError(f"unsupported value: more than {MAX_CHARS} characters of text")


def to_json(value: Any, budget: Meter | None = None) -> Any:
    """A copy in plain JSON types; raises ConversionError, or BudgetError if there is a budget."""
    return value if value.__class__ in _PLAIN else _convert(value, 0, _Size(budget))


def _convert(value: Any, depth: int, size: _Size) -> Any:
    kind = value.__class__
    if kind in _PLAIN:
        return value
    if depth > MAX_NESTING:
        raise ConversionError("unsupported value: nested too deeply")
    if kind is dict:
        return _convert_map(value, depth, size)
    if kind is list:
        size.add(len(value), value)
        return [item if item.__class__ in _PLAIN else _convert(item, depth + 1, size) for item in value]
    if kind is Optional:
        size.add(1, (value.value,))
        return _convert(value.value, depth + 1, size) if value.present else None
    convert = _SCALARS.get(kind)
    if convert is None:
        raise ConversionError(f"unsupported type: {type_name(value)}", value=value)
    return convert(value)


def _convert_map(value: dict[Any, Any], depth: int, size: _Size) -> dict[str, Any]:
    size.add(len(value), value.values())
    size.add(0, value)
    result: dict[str, Any] = {}
    for key, item in value.items():
        if key.__class__ is not str:
            raise ConversionError(f"map key must be string, got {_key_type(key)}", value=key)
        result[key] = item if item.__class__ in _PLAIN else _convert(item, depth + 1, size)
    return result


def _key_type(key: Any) -> str:
    # Use Go's names, as kro does.
    if key.__class__ is BoolKey:
        return "bool"
    return {int: "int64", UInt: "uint64", float: "float64"}.get(key.__class__, type_name(key))


def _double(value: float) -> float:
    if not math.isfinite(value):
        raise ConversionError(f"unsupported value: {value} has no form in JSON", value=value)
    return value


def _uint(value: UInt) -> int:
    if value > INT_MAX:
        raise ConversionError(
            f"unsupported type: uint value {int(value)} overflows int64; convert it explicitly, e.g. string(...)",
            value=value,
        )
    return int(value)


def _bytes(value: bytes) -> Any:
    raise ConversionError(
        "unsupported type: bytes value cannot be used directly in a resource template or status field; "
        "encode it explicitly, e.g. base64.encode(...)"
    )


def _timestamp(value: Timestamp) -> str | None:
    # In Kubernetes, Go's zero time (the first moment of year 1) is null.
    return None if value.ns == times.MIN_NS else times.format_timestamp(value, fraction=False)


def _same(value: Any) -> Any:
    return value


_SCALARS: Final[MappingProxyType[type, Callable[[Any], Any]]] = MappingProxyType(
    {
        float: _double,
        UInt: _uint,
        bytes: _bytes,
        Duration: times.format_duration,
        Timestamp: _timestamp,
        OMIT.__class__: _same,
    }
)
