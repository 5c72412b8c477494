"""kro's `json.marshal` and `json.unmarshal`, which behave like Go's encoding/json.

Reading turns every number into a double. Writing makes compact text with sorted keys, and escapes `<`, `>` and `&` as
Go does for HTML.
"""

import base64
import json
import math
from collections.abc import Callable
from typing import Any, Final, NoReturn

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import ValueError_
from kroasync.cel.lib.texts import escaped_as_go, without_surrogates
from kroasync.cel.meter import Meter
from kroasync.cel.run.loops import in_order
from kroasync.cel.run.operations import type_name
from kroasync.cel.run.times import format_duration, format_timestamp
from kroasync.cel.values import Duration, Optional, Timestamp, UInt, from_key, size_of

_MAX_DEPTH: Final = 500
# The fixed cost of reading JSON, and how many characters are read in one step: two of them may be a list.
_DECODING: Final = 8
_DECODED_PER_STEP: Final = 4
# Types of values whose text costs more.
_DEAR: Final = frozenset((float, Timestamp, Duration))
# How many characters are escaped in one step.
_ENCODED_PER_STEP: Final = 16

_library = LibraryBuilder("json", doc="Conversion between values and JSON text.")


@_library.fn(
    "json.unmarshal(string) dyn",
    example="json.unmarshal('{\"a\": [1, true]}') == {'a': [1.0, true]}",
    doc="The value of a JSON text. All numbers are doubles.",
    metered=True,
)
def _unmarshal(text: str, *, budget: Meter) -> Any:
    budget.spend(_DECODING + len(text) // _DECODED_PER_STEP)
    try:
        value = json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise ValueError_(f"json.unmarshal failed to parse JSON: {_reason(error)}") from None
    except RecursionError:
        raise ValueError_("json.unmarshal failed to parse JSON: exceeded max depth") from None
    return _without_surrogates(value) if "\\u" in text else value


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError_(f"json.unmarshal failed to parse JSON: number {text[:40]} out of range")
    return value


def _constant(text: str) -> NoReturn:
    raise ValueError_(
        f"json.unmarshal failed to parse JSON: invalid character '{text[0]}' looking for beginning of value"
    )


def _reason(error: json.JSONDecodeError) -> str:
    if error.pos >= len(error.doc.rstrip()):
        return "unexpected end of JSON input"
    return f"invalid character {error.doc[error.pos]!r} at offset {error.pos}: {error.msg.lower()}"


def _without_surrogates(value: Any) -> Any:
    """The text with U+FFFD for half a surrogate pair, as Go reads it."""
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


@_library.fn(
    "json.marshal(dyn) string",
    example="json.marshal({'b': 1.0, 'a': [true, '<']}) == r'{\"a\":[true,\"\\u003c\"],\"b\":1}'",
    doc="The JSON text of a value. Bytes become base64; whole doubles have no fraction.",
    metered=True,
)
def _marshal(value: Any, *, budget: Meter) -> str:
    parts: list[str] = []
    _write(value, parts.append, budget, 0)
    return "".join(parts)


def _write(value: Any, write: Callable[[str], object], budget: Meter, depth: int) -> None:
    budget.spend(4)
    if depth > _MAX_DEPTH:
        raise ValueError_("json.marshal failed to encode value: nested too deeply")
    kind = type(value)
    if kind is dict:
        budget.spend(4)
        _write_map(value, write, budget, depth)
    elif kind is list:
        for index, item in enumerate(value):
            write("," if index else "[")
            _write(item, write, budget, depth + 1)
        write("]" if value else "[]")
    elif kind is Optional:
        _write(value.value, write, budget, depth)
    else:
        budget.spend((8 if kind in _DEAR else 0) + size_of(value) // _ENCODED_PER_STEP)
        write(_scalar(value))


def _write_map(value: dict[Any, Any], write: Callable[[str], object], budget: Meter, depth: int) -> None:
    for key in value:
        if type(key) is not str:
            kind = type_name(from_key(key))
            raise ValueError_(f"json.marshal failed to convert value: map key must be string, got {kind}")
    for index, key in enumerate(in_order(value, budget)):
        budget.spend(4 + len(key) // _ENCODED_PER_STEP)
        write("," if index else "{")
        write(_string(key))
        write(":")
        _write(value[key], write, budget, depth + 1)
    write("}" if value else "{}")


def _scalar(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case UInt() | int():
            return str(int(value))
        case float():
            return _double(value)
        case str():
            return _string(value)
        case bytes():
            return _string(base64.b64encode(value).decode())
        case Timestamp():
            return _string(format_timestamp(value, fraction=False))
        case Duration():
            return _string(format_duration(value))
    raise ValueError_(f"json.marshal failed to convert value: unsupported type: {type_name(value)}")


def _string(text: str) -> str:
    return escaped_as_go(json.dumps(without_surrogates(text), ensure_ascii=False))


def _double(value: float) -> str:
    """Go's shortest form: decimal between 1e-6 and 1e21, otherwise an exponent without a leading zero."""
    if not math.isfinite(value):
        raise ValueError_("json.marshal failed to encode value: json: unsupported value: " + _special(value))
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    mantissa, _, exponent = f"{value!r}".partition("e")
    if 1e-6 <= abs(value) < 1e21:
        return _plain(mantissa, int(exponent or 0))
    return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"


def _plain(mantissa: str, exponent: int) -> str:
    if not exponent:
        return mantissa.removesuffix(".0")
    sign, mantissa = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    whole, _, fraction = mantissa.partition(".")
    digits, point = whole + fraction, len(whole) + exponent
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits.ljust(point, '0')}" if point >= len(digits) else f"{sign}{digits[:point]}.{digits[point:]}"


def _special(value: float) -> str:
    return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")


LIBRARY: Final = _library.build()
