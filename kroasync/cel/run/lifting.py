"""Converts JSON data to the values of its schema's types.

Observed objects stay plain dicts. If JSON has no form for the static type of a selection, index or loop variable, the
compiler applies a lift; a lift does not change values that have the right type. A lift never copies objects and maps;
it copies a list whose elements need lifting. A lift pays for what it parses and copies, each time.
"""

import base64
import binascii
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from kroasync.cel import types
from kroasync.cel.errors import ValueError_
from kroasync.cel.meter import CHARS_PER_STEP, Meter
from kroasync.cel.run import times
from kroasync.cel.types import Type
from kroasync.cel.values import Optional

Lift: TypeAlias = Callable[[Any, Meter], Any]

# The cost of parsing a time, apart from its length, and how much base64 is decoded in one step.
_PARSING: Final = 8


def to_timestamp(value: Any, budget: Meter) -> Any:
    if value.__class__ is not str:
        return value
    budget.spend(_PARSING + len(value) // CHARS_PER_STEP)
    return times.parse_date(value)


def to_duration(value: Any, budget: Meter) -> Any:
    if value.__class__ is not str:
        return value
    budget.spend(_PARSING + len(value))
    return times.parse_duration(value)


def to_bytes(value: Any, budget: Meter) -> Any:
    if value.__class__ is not str:
        return value
    budget.spend(2 + len(value) // CHARS_PER_STEP)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError_("invalid data, expected base64", value=value) from None


def to_double(value: Any, budget: Meter) -> Any:
    return float(value) if value.__class__ is int else value


def to_int(value: Any, budget: Meter) -> Any:
    if value.__class__ is not float:
        return value
    if not value.is_integer():
        raise ValueError_(f"invalid data, expected int, got non-integer float {value}", value=value)
    return int(value)


_SCALARS: Final = MappingProxyType(
    {
        types.TIMESTAMP: to_timestamp,
        types.DURATION: to_duration,
        types.BYTES: to_bytes,
        types.DOUBLE: to_double,
        types.INT: to_int,
    }
)


def lift_for(kind: Type | None) -> Lift | None:
    """The lift to a static type; None if values of this type need no lift."""
    if kind is None:
        return None
    if kind.kind == "list":
        return _list_lift(kind)
    if kind.kind == "optional":
        return _optional_lift(kind)
    return _SCALARS.get(kind)


def _list_lift(kind: Type) -> Lift | None:
    lift = lift_for(kind.element)
    if lift is None:
        return None

    def lift_list(value: Any, budget: Meter) -> Any:
        if value.__class__ is not list:
            return value
        budget.spend(1 + len(value))
        return [lift(item, budget) for item in value]

    return lift_list


def _optional_lift(kind: Type) -> Lift | None:
    lift = lift_for(kind.element)
    if lift is None:
        return None

    def lift_optional(value: Any, budget: Meter) -> Any:
        return Optional(lift(value.value, budget)) if value.__class__ is Optional and value.present else value

    return lift_optional
