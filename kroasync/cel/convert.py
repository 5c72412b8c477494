"""Values -> JSON, for what is written into a resource or a status. Results share nothing mutable with the value.

The rules are kro's: optionals dissolve, durations and timestamps become text, bytes and opaque values are refused.
The omit sentinel passes through; the caller removes what holds it.
"""

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

from kroasync.cel import times
from kroasync.cel.budget import Meter
from kroasync.cel.errors import ConversionError
from kroasync.cel.operations import type_name
from kroasync.cel.values import INT_MAX, OMIT, BoolKey, Duration, Optional, Timestamp, UInt

# Deeper values are refused: the JSON reader of an API server stops at 10,000, Python's stack earlier.
MAX_NESTING: Final = 200
# More elements are refused: a list that holds one list many times, many levels deep, is small only until it is copied.
# A Kubernetes object has 1.5 MB at most.
MAX_ELEMENTS: Final = 1_000_000
_PLAIN: Final = frozenset((str, int, bool, type(None)))


def to_json(value: Any) -> Any:
    """A copy in plain JSON types; raises ConversionError."""
    return _convert(value, 0, Meter(MAX_ELEMENTS))


def _convert(value: Any, depth: int, meter: Meter) -> Any:
    kind = value.__class__
    if kind in _PLAIN:
        return value
    if kind is dict:
        return _convert_map(value, depth, meter)
    if kind is list:
        _limit(len(value), depth, meter)
        return [item if item.__class__ in _PLAIN else _convert(item, depth + 1, meter) for item in value]
    if kind is Optional:
        _limit(1, depth, meter)
        return _convert(value.value, depth + 1, meter) if value.present else None
    convert = _SCALARS.get(kind)
    if convert is None:
        raise ConversionError(f"unsupported type: {type_name(value)}", value=value)
    return convert(value)


def _limit(elements: int, depth: int, meter: Meter) -> None:
    meter.left -= elements
    if depth > MAX_NESTING:
        raise ConversionError("unsupported value: nested too deeply")
    if meter.left < 0:
        raise ConversionError(f"unsupported value: more than {MAX_ELEMENTS} elements")


def _convert_map(value: dict[Any, Any], depth: int, meter: Meter) -> dict[str, Any]:
    _limit(len(value), depth, meter)
    result: dict[str, Any] = {}
    for key, item in value.items():
        if key.__class__ is not str:
            raise ConversionError(f"map key must be string, got {_key_type(key)}", value=key)
        result[key] = item if item.__class__ in _PLAIN else _convert(item, depth + 1, meter)
    return result


def _key_type(key: Any) -> str:
    # Go's names, which kro prints.
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
    # Go's zero time, the first moment of year 1, is null in Kubernetes.
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
