"""`string.format`: the verbs of cel-go's string extension (version 4)."""

import math
import re
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeAlias

from kroasync.cel.errors import ValueError_
from kroasync.cel.meter import CHARS_PER_STEP, Meter
from kroasync.cel.run import times
from kroasync.cel.run.conversions import positional, shortest
from kroasync.cel.run.loops import sorted_positions
from kroasync.cel.run.operations import type_name
from kroasync.cel.types import Type
from kroasync.cel.values import BoolKey, Duration, Timestamp, TypeValue, UInt

_VERB: Final = re.compile(r"%(?:%|(?:\.(\d*))?(.)?)", re.DOTALL)
MAX_PRECISION: Final = 100
_DEFAULT_PRECISION: Final = 6
# Reject lists that are nested deeper, before they overflow the stack.
_MAX_NESTING: Final = 100

# The cost of a clause, of a value or element, and of all digits of a double.
_CLAUSE: Final = 2
_VALUE: Final = 4
_EXACT: Final = 32
# Types of values whose text costs more.
_DEAR: Final = frozenset((float, Timestamp, Duration))
_DEAR_VALUE: Final = 8

_Verb: TypeAlias = Callable[[Any, int, Meter], str]


def format_text(template: str, values: list[Any], *, budget: Meter) -> str:
    """The template with every verb replaced by the next value; raises ValueError_ if a value does not fit its verb."""
    parts: list[str] = []
    done = used = 0
    budget.spend(1 + len(template) // CHARS_PER_STEP)
    for match in _VERB.finditer(template):
        budget.spend(_CLAUSE)
        parts.append(template[done : match.start()])
        done = match.end()
        if match.group() == "%%":
            parts.append("%")
            continue
        verb = _VERBS.get(match[2] or "")
        if verb is None:
            found = match[2]
            raise ValueError_(
                f'could not parse formatting clause: unrecognized formatting clause "{found}"'
                if found
                else "could not parse formatting clause: unexpected end of format string"
            )
        if used >= len(values):
            raise ValueError_(f"index {used} out of range")
        text = verb(values[used], _precision(match[1]), budget)
        budget.spend(len(text) // CHARS_PER_STEP)
        parts.append(text)
        used += 1
    return "".join((*parts, template[done:]))


def _precision(digits: str | None) -> int:
    if digits is None:
        return _DEFAULT_PRECISION
    if not digits or not digits.isascii():
        raise ValueError_("could not parse formatting clause: unable to parse precision")
    if len(digits) > 3 or int(digits) > MAX_PRECISION:
        raise ValueError_(f"could not parse formatting clause: precision {digits:.20} exceeds {MAX_PRECISION}")
    return int(digits)


def _wrong(wanted: str, value: Any) -> NoReturn:
    raise ValueError_(f"error during formatting: {wanted}, was given {type_name(value)}", value=value)


def _special(value: float) -> str:
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _is_int(value: Any) -> bool:
    return value.__class__ is int or value.__class__ is UInt


def _decimal(value: Any, precision: int, budget: Meter) -> str:
    if _is_int(value):
        return str(int(value))
    if value.__class__ is float:
        return _double(value)
    _wrong("decimal clause can only be used on numbers", value)


def _double(value: float) -> str:
    """The fewest digits that parse to the same value, without an exponent."""
    if not math.isfinite(value):
        return _special(value)
    sign, digits, exponent = shortest(value)
    return sign + positional(digits, exponent)


def _as_double(value: Any, clause: str) -> float:
    if _is_int(value):
        return float(value)
    if value.__class__ is not float:
        _wrong(f"{clause} clause can only be used on numbers", value)
    return float(value)


def _fixed(value: Any, precision: int, budget: Meter) -> str:
    number = _as_double(value, "fixed-point")
    budget.spend(_EXACT)
    return f"{_exact(number, precision)}" if math.isfinite(number) else _special(number)


def _exact(number: float, precision: int) -> str:
    # The exact binary value, rounded half to even, like Go.
    context = Context(prec=1200, rounding=ROUND_HALF_EVEN)
    return f"{Decimal(number).quantize(Decimal(1).scaleb(-precision), context=context):f}"


def _scientific(value: Any, precision: int, budget: Meter) -> str:
    number = _as_double(value, "scientific")
    budget.spend(_EXACT // 2)
    return f"{number:.{precision}e}" if math.isfinite(number) else _special(number)


def _binary(value: Any, precision: int, budget: Meter) -> str:
    if value.__class__ is bool:
        return "1" if value else "0"
    if _is_int(value):
        return f"{int(value):b}"
    _wrong("only integers and bools can be formatted as binary", value)


def _octal(value: Any, precision: int, budget: Meter) -> str:
    if _is_int(value):
        return f"{int(value):o}"
    _wrong("octal clause can only be used on integers", value)


def _hexadecimal(value: Any, precision: int, budget: Meter) -> str:
    if _is_int(value):
        return f"{int(value):x}"
    if value.__class__ is str:
        return str(value.encode("utf-8", "surrogatepass").hex())
    if value.__class__ is bytes:
        return str(value.hex())
    _wrong("only integers, byte buffers, and strings can be formatted as hex", value)


def _upper_hexadecimal(value: Any, precision: int, budget: Meter) -> str:
    return _hexadecimal(value, precision, budget).upper()


def _string(value: Any, precision: int, budget: Meter) -> str:
    return _text(value, budget, 0)


def _text(value: Any, budget: Meter, depth: int) -> str:
    budget.spend(_VALUE)
    write = _TEXTS.get(value.__class__)
    if value.__class__ in _DEAR:
        budget.spend(_DEAR_VALUE)
    if write is not None:
        return write(value)
    if depth > _MAX_NESTING:
        raise ValueError_("error during formatting: value is nested too deeply")
    if value.__class__ is list:
        return _joined("[", [_text(item, budget, depth + 1) for item in value], "]", budget)
    if value.__class__ is dict:
        entries = [(_text(key, budget, depth), _text(item, budget, depth + 1)) for key, item in value.items()]
        places = sorted_positions([key for key, _ in entries], budget)
        return _joined("{", [": ".join(entries[place]) for place in places], "}", budget)
    _wrong(
        "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, "
        "and timestamps",
        value,
    )


def _joined(start: str, parts: list[str], end: str, budget: Meter) -> str:
    # Every level of nesting copies the text of the levels below it.
    budget.spend(sum(map(len, parts)) // CHARS_PER_STEP)
    return f"{start}{', '.join(parts)}{end}"


def _type_name(kind: Type) -> str:
    """The name of a type without its parameters."""
    return str(kind).partition("(")[0]


_TEXTS: Final[MappingProxyType[type, Callable[[Any], str]]] = MappingProxyType(
    {
        str: str,
        bool: lambda value: "true" if value else "false",
        BoolKey: lambda key: "true" if key.value else "false",
        int: str,
        UInt: lambda value: str(int(value)),
        float: _double,
        bytes: lambda value: value.decode("utf-8", "replace"),
        type(None): lambda value: "null",
        Timestamp: times.format_timestamp,
        Duration: times.format_seconds,
        TypeValue: lambda value: _type_name(value.type),
    }
)
_VERBS: Final[MappingProxyType[str, _Verb]] = MappingProxyType(
    {
        "s": _string,
        "d": _decimal,
        "f": _fixed,
        "e": _scientific,
        "b": _binary,
        "o": _octal,
        "x": _hexadecimal,
        "X": _upper_hexadecimal,
    }
)
