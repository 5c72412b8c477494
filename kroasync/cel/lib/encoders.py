"""cel-go's encoders: base64 and JSON."""

import base64
import binascii
import json
import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import ValueError_
from kroasync.cel.lib.texts import escaped_as_go
from kroasync.cel.meter import CHARS_PER_STEP, Meter
from kroasync.cel.run import times
from kroasync.cel.run.conversions import positional, shortest
from kroasync.cel.run.json_form import MAX_NESTING
from kroasync.cel.run.loops import in_order
from kroasync.cel.run.operations import type_name
from kroasync.cel.values import Duration, Optional, Timestamp, UInt, from_key, size_of

# How many characters are escaped in one step.
_ENCODED_PER_STEP: Final = 16
# Types of values whose text costs more, and by how much.
_DEAR: Final = frozenset((float, Timestamp, Duration))
_DEAR_VALUE: Final = 8

_library = LibraryBuilder("encoders", doc="Base64 and JSON.")


@_library.fn("base64.encode(bytes) string", example="base64.encode(b'hello') == 'aGVsbG8='")
def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


@_library.fn(
    "base64.decode(string) bytes",
    example="base64.decode('aGVsbG8=') == b'hello' && base64.decode('aGVsbG8') == b'hello'",
    doc="Accepts text with and without padding.",
)
def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text if "=" in text else text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError_("illegal base64 data", value=text) from None


@_library.fn(
    "json.encode(dyn) string",
    example="json.encode({'a': [1.0, 'two', false]}) == '{\"a\":[1,\"two\",false]}'",
    doc="Compact JSON with sorted keys. Integers beyond 2^53 become strings; bytes become base64.",
    metered=True,
)
def _json_encode(value: Any, *, budget: Meter) -> str:
    return _json(value, budget, 0)


def _json(value: Any, budget: Meter, depth: int) -> str:
    budget.spend(4)
    if depth > MAX_NESTING:
        raise ValueError_("json.encode: value is nested too deeply")
    if value.__class__ is list:
        return _joined("[", [_json(item, budget, depth + 1) for item in value], "]", budget)
    if value.__class__ is dict:
        budget.spend(4)
        for key in value:
            if key.__class__ is not str:
                raise ValueError_(
                    f"json.encode: unsupported type conversion from '{type_name(from_key(key))}' to string"
                )
        entries = [f"{_key(key, budget)}:{_json(value[key], budget, depth + 1)}" for key in in_order(value, budget)]
        return _joined("{", entries, "}", budget)
    if value.__class__ is Optional:
        if not value.present:
            raise ValueError_("optional.none() dereference")
        return _json(value.value, budget, depth + 1)
    encode = _SCALARS.get(value.__class__)
    if value.__class__ in _DEAR:
        budget.spend(_DEAR_VALUE)
    if encode is None:
        raise ValueError_(f"json.encode: type conversion not supported for '{type_name(value)}'", value=value)
    budget.spend(size_of(value) // _ENCODED_PER_STEP)
    return encode(value)


def _joined(start: str, parts: list[str], end: str, budget: Meter) -> str:
    # Every level of nesting copies the text of the levels below it.
    budget.spend(sum(map(len, parts)) // CHARS_PER_STEP)
    return f"{start}{','.join(parts)}{end}"


def _key(key: str, budget: Meter) -> str:
    budget.spend(2 + len(key) // _ENCODED_PER_STEP)
    return _text(key)


def _text(text: str) -> str:
    return escaped_as_go(json.dumps(text.encode("utf-8", "replace").decode("utf-8"), ensure_ascii=False))


def _int(value: int) -> str:
    # As google.protobuf.Value does: a number that a double cannot hold becomes a string.
    return str(int(value)) if abs(value) < 2**53 else f'"{int(value)}"'


def _double(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError_(f"json.encode: invalid value {value}", value=value)
    sign, digits, exponent = shortest(value)
    if -7 < exponent < 21:
        return sign + positional(digits, exponent)
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{sign}{mantissa}e{exponent:+d}"


_SCALARS: Final[MappingProxyType[type, Callable[[Any], str]]] = MappingProxyType(
    {
        type(None): lambda value: "null",
        bool: lambda value: "true" if value else "false",
        int: _int,
        UInt: _int,
        float: _double,
        str: _text,
        bytes: lambda value: f'"{base64.b64encode(value).decode("ascii")}"',
        Timestamp: lambda value: f'"{times.format_timestamp(value)}"',
        Duration: lambda value: f'"{times.format_seconds(value)}"',
    }
)
LIBRARY: Final = _library.build()
